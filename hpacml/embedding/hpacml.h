/* The runtime of libraries that `hpacml build` makes: it runs their models and collects their data, with Python. */
#ifndef HPACML_H
#define HPACML_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum hpacml_status {
    HPACML_OK = 0,            /* done */
    HPACML_FAILED = 1,        /* the call failed: a map, a model, a database, or memory */
    HPACML_BAD_ARGUMENT = 2,  /* an argument does not fit; nothing has run */
    HPACML_BAD_PROCESSOR = 3, /* the code is for processors with more instructions, or another GPU; nothing has run */
    HPACML_NO_RUNTIME = 4     /* Python or hpacml cannot be started, or there is no CUDA driver */
};

/* The version of the functions that built libraries call: an older library needs a runtime of the same one. */
int32_t hpacml_abi_version(void);

/* Start Python, unless it runs in this process. The first call that needs it does that, too. Returns a status. */
int32_t hpacml_start(void);

/* Write what has been collected to its databases. The end of the program does that, too, but cannot tell whether it
 * worked; _exit and a crash do not. Python stays, and the next call needs no start. Returns a status. */
int32_t hpacml_stop(void);

/* What is wrong, if the last call of this thread has returned another status than 0. The text stays until the next. */
const char *hpacml_last_error(void);

#ifdef __cplusplus
}
#endif

#endif
