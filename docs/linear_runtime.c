/* A second runtime: every model is y = 0.5 x[0] + 0.5 x[1], and databases are files with a line for each point. */
#include "hpacml_abi.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct { double *allocated, *aligned; int64_t offset, sizes[]; } tensor; /* strides follow the sizes */
typedef struct block { struct block *next, **link; char room[48]; } block;       /* in front of memory */

static _Thread_local jmp_buf *entry; /* where calls that fail return to */
static _Thread_local block *blocks;  /* the memory of the calls under way */
static _Thread_local char message[512];

static void fail(const char *format, ...) {
    va_list values;
    va_start(values, format);
    vsnprintf(message, sizeof message, format, values);
    va_end(values);
    if (entry == NULL) abort();
    longjmp(*entry, 1);
}

/* The functions of objects run their code by this. */
int32_t hpacml_enter_native(void *code, void *slots, const char *call, const char *const *texts) {
    jmp_buf here, *const outer = entry;
    block *const own = blocks;
    int32_t status = setjmp(here) != 0;
    (void)call, (void)texts;
    entry = &here;
    if (status == 0) ((void (*)(void *))code)(slots);
    while (blocks != own) _mlir_memref_to_llvm_free(blocks + 1);
    entry = outer;
    return status;
}

int32_t hpacml_refuse_call(int32_t status, const char *text, int64_t given, int64_t wanted) {
    snprintf(message, sizeof message, "%s (given: %lld, wanted: %lld)", text, (long long)given, (long long)wanted);
    return status;
}

const char *hpacml_last_error(void) { return message; }
int32_t hpacml_abi_version(void) { return HPACML_ABI_VERSION; }

/* The points of a tensor, each of so many features, one behind the other. */
static double *data(const char *site, const char *rank, const char *dtype, tensor *x, int64_t *points,
                    int64_t *features) {
    int last = atoi(hpacml_site(site, rank)) - 1;
    if (last < 0 || strcmp(hpacml_site(site, dtype), "f64"))
        fail("the region '%s' has other tensors than of float64", hpacml_site(site, "label"));
    *features = x->sizes[last], *points = 1;
    while (last > 0) *points *= x->sizes[--last];
    return x->aligned + x->offset;
}

int32_t hpacml_infer(const char *site, void **tensors) {
    int64_t points, inputs, outputs;
    double *x = data(site, "inputs.0.rank", "inputs.0.dtype", tensors[0], &points, &inputs);
    double *y = data(site, "outputs.0.rank", "outputs.0.dtype", tensors[1], &points, &outputs);
    if (inputs != 2 || outputs != 1) fail("the region '%s' does not make 1 of 2", hpacml_site(site, "label"));
    for (int64_t p = 0; p < points; p++) y[p] = 0.5 * x[2 * p] + 0.5 * x[2 * p + 1];
    return 1;
}

void hpacml_collect(const char *site, void **tensors, double milliseconds) {
    int64_t points, inputs, outputs;
    double *x = data(site, "inputs.0.rank", "inputs.0.dtype", tensors[0], &points, &inputs);
    double *y = data(site, "outputs.0.rank", "outputs.0.dtype", tensors[1], &points, &outputs);
    const char *path = hpacml_site(site, "database.path");
    FILE *file = path == NULL ? NULL : fopen(path, "a");
    if (file == NULL) fail("the region '%s' has no database", hpacml_site(site, "label"));
    for (int64_t p = 0; p < points; p++) {
        for (int64_t k = 0; k < inputs; k++) fprintf(file, "%.17g ", x[p * inputs + k]);
        for (int64_t k = 0; k < outputs; k++) fprintf(file, "%.17g ", y[p * outputs + k]);
        fprintf(file, "%g\n", milliseconds);
    }
    if (fclose(file) != 0) fail("the database '%s' cannot be written", path);
}

void hpacml_refuse(const char *site) { fail("%s", hpacml_site(site, "text")); }
double hpacml_time_ms(void) { return 1e3 * (double)clock() / CLOCKS_PER_SEC; }

void *_mlir_memref_to_llvm_alloc(int64_t bytes) {
    block *made = bytes < 0 ? NULL : aligned_alloc(64, sizeof *made + (size_t)bytes / 64 * 64 + 64);
    if (made == NULL) fail("there is no memory for %lld bytes", (long long)bytes);
    *made = (block){blocks, &blocks, {0}};
    if (blocks != NULL) blocks->link = &made->next;
    return (blocks = made) + 1;
}

void _mlir_memref_to_llvm_free(void *memory) {
    block *own = memory == NULL ? NULL : (block *)memory - 1;
    if (own != NULL && own->next != NULL) own->next->link = own->link;
    if (own != NULL) *own->link = own->next;
    free(own);
}
