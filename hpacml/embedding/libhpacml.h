/* What the files of libhpacml share. */
#ifndef LIBHPACML_H
#define LIBHPACML_H

#include <stdint.h>

#include "hpacml.h"

#define EXPORT __attribute__((visibility("default")))

struct block;

/* A call on a GPU; `GpuCall` of hpacml.embedding.embedded is the same up to the stream. */
struct gpu_call {
    int64_t device;
    void *stream;
    int begun;            /* whether Python knows of it */
    struct block *blocks; /* its memory on the GPU */
};

/* A call of a C function; `Call` of hpacml.embedding.embedded is the same. */
struct call {
    const char *record;
    const char *const *texts;
    struct call *outer;
    struct gpu_call *gpu; /* NULL for one on the host */
};

/* The innermost call of this thread. */
extern _Thread_local struct call *hpacml_current;

/* Forget the message of this thread's last call. Returns a status. */
int32_t hpacml_begin(void);

/* Set the message of this thread, and the status of the call under way. */
__attribute__((format(printf, 2, 3))) void hpacml_tell(int32_t status, const char *format, ...);

/* The status that was set. */
int32_t hpacml_told(void);

/* Run code for a call that has begun, with the words that the native runtime keeps for one on a GPU, or NULL. */
int32_t hpacml_run(struct call *call, void *code, void *slots, void *words);

/* Have Python forget a call on a GPU. */
void hpacml_end_on_gpu(struct call *call);

#endif
