/* The symbols that code compiled by hpacml calls. docs/runtime-abi.md tells what they do.
 *
 * Written by `python docs/generate.py` from the table in hpacml/abi/symbols.py.
 */
#ifndef HPACML_ABI_H
#define HPACML_ABI_H

#include <stdint.h>
#include <string.h>

/* What hpacml_abi_version() of a runtime returns that is built with this header. */
#define HPACML_ABI_VERSION 1

#ifdef __cplusplus
extern "C" {
#endif

/* A tensor or an array comes as the address of MLIR's descriptor of a ranked memref; that of rank 0 has no arrays:
 *
 *   struct { T *allocated; T *aligned; int64_t offset; int64_t sizes[rank]; int64_t strides[rank]; };
 */

int32_t hpacml_abi_version(void);
int32_t hpacml_infer(const char *site, void **tensors);
int32_t hpacml_infer_on_views(const char *site, const char *views, void **memory);
int32_t hpacml_sample(const char *site);
void    hpacml_collect(const char *site, void **tensors, double milliseconds);
int32_t hpacml_domain(const char *site, void **tensors);
void    hpacml_count_points(const char *site, void **tensors, int64_t *found);
void    hpacml_count_inference(const char *site, int64_t *found);
int32_t hpacml_verify(const char *site, void **tensors);
int32_t hpacml_is_compared(const char *site, void **tensors);
void    hpacml_compare_points(const char *site, void **tensors);
void    hpacml_check_map(const char *site, const int64_t *values, void **arrays);
void    hpacml_call_body(int64_t index);
void    hpacml_keep_random(int64_t restores);
void    hpacml_call_body_on(int64_t index, void **arrays, const int64_t *numbers);
void    hpacml_refuse_size(int64_t size, int64_t more);
void    hpacml_refuse_sizes(const char *site, int64_t given, int64_t wanted);
void    hpacml_number(int64_t bits);
void    hpacml_fail(const char *site);
void    hpacml_print(const char *site);
double  hpacml_time_ms(void);
int64_t hpacml_time_ns(void);
void    hpacml_record(const char *site, void **counters, int64_t stages, const int64_t *times, const int64_t *bytes);
void    hpacml_refuse(const char *site);
void    hpacml_parallel(void *function, void *values, int64_t count, double work);
void   *_mlir_memref_to_llvm_alloc(int64_t bytes);
void   *_mlir_memref_to_llvm_aligned_alloc(int64_t alignment, int64_t bytes);
void    _mlir_memref_to_llvm_free(void *memory);
void    memrefCopy(int64_t element_size, void *source, void *target);

/* What code that launches kernels on GPUs calls besides, or in place of the symbols that are named. */

void    hpacml_device_flag(const char *site, int64_t *found);
int32_t hpacml_device_flag_down(void);
void    hpacml_launch(const void *kernels, int64_t number, int64_t grid, int64_t block, int64_t narrow, void **parameters);
void   *hpacml_device_alloc(int64_t bytes);                              /* for _mlir_memref_to_llvm_alloc */
void   *hpacml_device_aligned_alloc(int64_t alignment, int64_t bytes);   /* for _mlir_memref_to_llvm_aligned_alloc */
void    hpacml_device_free(void *memory);                                /* for _mlir_memref_to_llvm_free */
double  hpacml_device_time_ms(void);                                     /* for hpacml_time_ms */
int64_t hpacml_device_time_ns(void);                                     /* for hpacml_time_ns */
void    hpacml_device_record(const char *site, void **counters, int64_t stages, const int64_t *times, const int64_t *bytes); /* for hpacml_record */

/* What the functions of built objects call besides, and programs: hpacml_last_error(). */

int32_t hpacml_enter_native(void *code, void *slots, const char *call, const char *const *texts);
int32_t hpacml_enter_device(void *program, void *slots, const char *call, const char *const *texts, void *stream, const void *arrays, int64_t number);
int32_t hpacml_refuse_call(int32_t status, const char *text, int64_t given, int64_t wanted);
const char *hpacml_last_error(void);

/* What a record says of `key`, or NULL. Only records that are strings (plain=true) are for this function: keys and
 * values, each with a NUL behind it, then an empty key. */
static inline const char *hpacml_site(const char *site, const char *key)
{
    while (*site != 0) {
        const char *value = site + strlen(site) + 1;
        if (strcmp(site, key) == 0)
            return value;
        site = value + strlen(value) + 1;
    }
    return 0;
}

#ifdef __cplusplus
}
#endif

#endif
