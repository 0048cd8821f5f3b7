/* A CUDA driver whose two GPUs are memory of the host. What it is to run goes to functions that a program gives it, or is
 * printed. Where it is called as no driver may be, it ends the program.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s: %s\n", __func__, #condition); \
            abort(); \
        } \
    } while (0)

typedef struct context { int device; } context;
typedef struct module { int number; context *of; char start[9]; } module;
typedef struct kernel { module *of; char name[200]; } kernel;
typedef struct block { struct block *next; char *start; size_t size; context *of; int managed; void *stream; } block;

static context primary[2] = {{0}, {1}}, other = {0};
static _Thread_local context *current[9]; /* a stack, whose first is NULL */
static _Thread_local int depth, capture_mode;
static block *blocks;
static int modules, ready;

static int (*load_hook)(int module, const char *ptx);
static int (*launch_hook)(int module, const char *name, unsigned grid, unsigned block, void *stream, void **parameters);
static void (*memory_hook)(uintptr_t address, size_t size);

void fake_hooks(void *load, void *launch, void *memory) { load_hook = load, launch_hook = launch, memory_hook = memory; }
int fake_blocks(void) { int n = 0; for (block *b = blocks; b; b = b->next) n++; return n; }
int fake_depth(void) { return depth; }
void *fake_stream(int device) { static context *streams[2]; streams[device] = &primary[device]; return &streams[device]; }

static int is_set(const char *name) { return getenv(name) != NULL; }

int cuInit(unsigned flags) { REQUIRE(flags == 0); ready = 1; return is_set("FAKE_NO_GPU") ? 100 : 0; }
int cuGetErrorName(int error, const char **text)
{
    *text = error == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : error == 218 ? "CUDA_ERROR_INVALID_PTX" : "CUDA_ERROR";
    return 0;
}
int cuGetErrorString(int error, const char **text) { *text = "as the driver says"; return 0; }
int cuDeviceGet(int *device, int number) { REQUIRE(ready); *device = number; return number < 2 ? 0 : 101; }
int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    int capability = is_set("FAKE_CAPABILITY") ? atoi(getenv("FAKE_CAPABILITY")) : 90;
    switch (attribute) {
    case 75: *value = capability / 10; return 0;
    case 76: *value = capability % 10; return 0;
    case 115: *value = !is_set("FAKE_NO_POOLS"); return 0;
    default: return 1;
    }
}
int cuDevicePrimaryCtxRetain(void **found, int device) { *found = &primary[device]; return 0; }
int cuCtxGetCurrent(void **found) { *found = current[depth]; return 0; }
int cuCtxGetDevice(int *device) { REQUIRE(current[depth]); *device = current[depth]->device; return 0; }
int cuCtxSetCurrent(void *context) { current[depth] = context; return 0; }
int cuCtxPushCurrent_v2(void *context) { REQUIRE(depth < 8); current[++depth] = context; return 0; }
int cuCtxPopCurrent_v2(void **context) { REQUIRE(depth > 0); *context = current[depth--]; return 0; }
void *fake_other_context(void) { return &other; }
int cuStreamGetCtx(void *stream, void **context)
{
    if (stream == (void *)0xbad0) return 400;
    *context = stream == (void *)0xabc0 ? &other : *(struct context **)stream;
    return 0;
}
int cuThreadExchangeStreamCaptureMode(int *mode) { int before = capture_mode; capture_mode = *mode; *mode = before; return 0; }

int cuModuleLoadDataEx(void **found, const void *image, unsigned count, int *options, void **values)
{
    REQUIRE(current[depth] && capture_mode == 2 && count == 2 && options[0] == 5 && options[1] == 6);
    int is_ptx = memcmp(image, "\177ELF", 4) != 0;
    if (!is_ptx && (load_hook || is_set("FAKE_NO_CUBIN"))) return 209;
    if (is_set("FAKE_BAD_PTX")) {
        snprintf(values[0], (size_t)values[1], "line 3: there is an error");
        return 218;
    }
    REQUIRE(!is_ptx || strstr(image, ".visible .entry"));
    module *made = calloc(1, sizeof *made);
    made->number = modules++, made->of = current[depth];
    if (!load_hook) printf("load %s\n", is_ptx ? "PTX" : "cubin");
    *found = made;
    return load_hook ? load_hook(made->number, image) : 0;
}
int cuModuleGetFunction(void **found, void *of, const char *name)
{
    kernel *made = calloc(1, sizeof *made);
    made->of = of;
    snprintf(made->name, sizeof made->name, "%s", name);
    *found = made;
    return 0;
}
int cuLaunchKernel(void *given, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **parameters, void **extra)
{
    kernel *run = given;
    REQUIRE(current[depth] == run->of->of && gx > 0 && gx <= INT32_MAX && bx > 0 && bx <= 1024);
    REQUIRE(gy == 1 && gz == 1 && by == 1 && bz == 1 && shared == 0 && extra == NULL && stream != (void *)1);
    if (is_set("FAKE_ILLEGAL_ADDRESS")) return 700;
    if (launch_hook) return launch_hook(run->of->number, run->name, gx, bx, stream, parameters);
    printf("launch %s grid %u block %u stream %s\n", run->name, gx, bx, stream ? "given" : "default");
    return 0;
}

static int allocate(uintptr_t *address, size_t size, void *stream, int managed)
{
    REQUIRE(current[depth] && size > 0);
    if (is_set("FAKE_NO_MEMORY") || size > (size_t)1 << 40) return 2;
    block *made = calloc(1, sizeof *made);
    *made = (block){blocks, aligned_alloc(256, (size + 255) / 256 * 256), size, current[depth], managed, stream};
    memset(made->start, 0x7f, size);
    *address = (uintptr_t)(blocks = made)->start;
    if (memory_hook) memory_hook(*address, size);
    return 0;
}
static int release(uintptr_t address, int on_stream, void *stream)
{
    for (block **place = &blocks; *place; place = &(*place)->next)
        if ((uintptr_t)(*place)->start == address) {
            block *gone = *place;
            REQUIRE(!on_stream || gone->stream == stream);
            *place = gone->next;
            if (memory_hook) memory_hook(address, 0);
            free(gone->start);
            free(gone);
            return 0;
        }
    REQUIRE(!"memory that is none is freed");
}
int cuMemAlloc_v2(uintptr_t *address, size_t size) { return allocate(address, size, NULL, 0); }
int cuMemAllocManaged(uintptr_t *address, size_t size, unsigned flags) { return allocate(address, size, NULL, 1); }
int cuMemAllocAsync(uintptr_t *address, size_t size, void *stream)
{
    REQUIRE(!is_set("FAKE_NO_POOLS"));
    return allocate(address, size, stream, 0);
}
int cuMemFree_v2(uintptr_t address) { return release(address, 0, NULL); }
int cuMemFreeAsync(uintptr_t address, void *stream) { return release(address, 1, stream); }

int cuPointerGetAttribute(void *data, int attribute, uintptr_t address)
{
    if (is_set("FAKE_NEEDS_CONTEXT") && !current[depth]) return 201;
    block *found = blocks;
    while (found && (address < (uintptr_t)found->start || address >= (uintptr_t)found->start + found->size)) found = found->next;
    if (!found) return 1;
    switch (attribute) {
    case 1: *(void **)data = found->stream ? NULL : found->of; return 0; /* memory of a pool is of no context */
    case 2: *(unsigned *)data = found->managed ? 1 : 2; return 0;
    case 8: *(int *)data = found->managed; return 0;
    case 11: *(uintptr_t *)data = (uintptr_t)found->start; return 0;
    case 12: *(size_t *)data = found->size; return 0;
    case 9: *(int *)data = found->of->device; return 0;
    default: return 1;
    }
}
