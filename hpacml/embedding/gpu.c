/* Calls on GPUs of NVIDIA, by the CUDA driver, which is loaded by the first of them. Kernels without regions need nothing
 * else. All is in the primary context of a GPU, in which CUDA's runtime and Torch work, too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <inttypes.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libhpacml.h"

enum { GPUS = 16 }; /* as in the native runtime */

/* Code of a function for some layouts; hpacml.embedding.device_code writes it. */
struct program {
    void **kernels[GPUS]; /* by GPU, two for each kernel: as it is, and with 32-bit indices; NULL until they are loaded */
    void (*code)(void *slots);
    const char *chip;
    const void *cubin; /* NULL if there is none */
    const char *ptx;
    int64_t number;           /* of kernels */
    const char *const *names; /* two for each kernel */
};

/* An array that is passed. */
struct array {
    const int64_t *descriptor; /* the address twice, 0, sizes, strides in elements; NULL if it has no elements */
    const char *what;          /* in messages */
    int64_t rank;
    int64_t bytes; /* of an element */
};

/* Memory of a call. */
struct block {
    struct block *next;
    uint64_t address;
};

static struct gpu {
    void *context; /* NULL until it is used */
    int pools;     /* whether memory may be allocated in the order of a stream */
    int capability;
} gpus[GPUS];

static pthread_mutex_t preparing = PTHREAD_MUTEX_INITIALIZER; /* guards the driver, the GPUs, and what is loaded */

/* -- the driver ---------------------------------------------------------------------------------------------------- */

enum { INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_CONTEXT = 201, NO_BINARY_FOR_GPU = 209 };
enum { CONTEXT = 1, MEMORY_TYPE = 2, IS_MANAGED = 8, DEVICE_ORDINAL = 9, MEMORY_OF_GPU = 2 };
enum { RANGE_START_ADDR = 11, RANGE_SIZE = 12 };
enum { CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76, HAS_POOLS = 115 };
enum { ERROR_LOG = 5, SIZE_OF_ERROR_LOG = 6, RELAXED = 2 };

static struct {
    int (*init)(unsigned flags);
    int (*error_name)(int error, const char **text);
    int (*error_text)(int error, const char **text);
    int (*device)(int *device, int number);
    int (*device_attribute)(int *value, int attribute, int device);
    int (*retain)(void **context, int device);
    int (*current_context)(void **context);
    int (*current_device)(int *device);
    int (*push)(void *context);
    int (*pop)(void **context);
    int (*stream_context)(void *stream, void **context);
    int (*capture_mode)(int *mode);
    int (*attribute)(void *value, int attribute, uint64_t address);
    int (*load)(void **module, const void *image, unsigned number, int *options, void **values);
    int (*kernel)(void **kernel, void *module, const char *name);
    int (*launch)(void *kernel, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned shared, void *stream,
                  void **parameters, void **extra);
    int (*alloc)(uint64_t *address, size_t bytes);
    int (*free)(uint64_t address);
    int (*alloc_on_stream)(uint64_t *address, size_t bytes, void *stream);
    int (*free_on_stream)(uint64_t address, void *stream);
} cuda;

static const struct {
    const char *name;
    size_t place;
} functions[] = {
    {"cuInit", offsetof(__typeof__(cuda), init)},
    {"cuGetErrorName", offsetof(__typeof__(cuda), error_name)},
    {"cuGetErrorString", offsetof(__typeof__(cuda), error_text)},
    {"cuDeviceGet", offsetof(__typeof__(cuda), device)},
    {"cuDeviceGetAttribute", offsetof(__typeof__(cuda), device_attribute)},
    {"cuDevicePrimaryCtxRetain", offsetof(__typeof__(cuda), retain)},
    {"cuCtxGetCurrent", offsetof(__typeof__(cuda), current_context)},
    {"cuCtxGetDevice", offsetof(__typeof__(cuda), current_device)},
    {"cuCtxPushCurrent_v2", offsetof(__typeof__(cuda), push)},
    {"cuCtxPopCurrent_v2", offsetof(__typeof__(cuda), pop)},
    {"cuStreamGetCtx", offsetof(__typeof__(cuda), stream_context)},
    {"cuThreadExchangeStreamCaptureMode", offsetof(__typeof__(cuda), capture_mode)},
    {"cuPointerGetAttribute", offsetof(__typeof__(cuda), attribute)},
    {"cuModuleLoadDataEx", offsetof(__typeof__(cuda), load)},
    {"cuModuleGetFunction", offsetof(__typeof__(cuda), kernel)},
    {"cuLaunchKernel", offsetof(__typeof__(cuda), launch)},
    {"cuMemAlloc_v2", offsetof(__typeof__(cuda), alloc)},
    {"cuMemFree_v2", offsetof(__typeof__(cuda), free)},
    {"cuMemAllocAsync", offsetof(__typeof__(cuda), alloc_on_stream)},
    {"cuMemFreeAsync", offsetof(__typeof__(cuda), free_on_stream)},
};

/* What an error of the driver is called. Returns the text. */
static const char *named(int error) {
    static _Thread_local char text[512];
    const char *name = NULL, *meaning = NULL;
    cuda.error_name(error, &name);
    cuda.error_text(error, &meaning);
    snprintf(text, sizeof text, "%s: %s", name ? name : "an error", meaning ? meaning : "no reason is known");
    return text;
}

/* Tell that the driver cannot do something. Returns 0. */
static int cannot(const char *to, int error) {
    hpacml_tell(HPACML_FAILED, "the CUDA driver cannot %s: %s", to, named(error));
    return 0;
}

static int load_driver(void) {
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    if (library == NULL) {
        hpacml_tell(HPACML_NO_RUNTIME, "this machine has no CUDA driver: %s", dlerror());
        return 0;
    }
    for (size_t k = 0; k < sizeof functions / sizeof *functions; k++) {
        void *found = dlsym(library, functions[k].name);
        if (found == NULL) {
            hpacml_tell(HPACML_NO_RUNTIME, "the CUDA driver of this machine is older than CUDA 11.2: it has no function %s",
                        functions[k].name);
            return 0;
        }
        memcpy((char *)&cuda + functions[k].place, &found, sizeof found);
    }
    int error = cuda.init(0);
    if (error == NO_DEVICE) {
        hpacml_tell(HPACML_NO_RUNTIME, "the CUDA driver finds no GPU: %s", named(error));
        return 0;
    }
    if (error) {
        hpacml_tell(HPACML_NO_RUNTIME, "the CUDA driver cannot be started: %s", named(error));
        return 0;
    }
    return 1;
}

static int find_driver(void) {
    static int found;
    pthread_mutex_lock(&preparing);
    if (!found) found = load_driver();
    int done = found;
    pthread_mutex_unlock(&preparing);
    return done;
}

/* -- GPUs ---------------------------------------------------------------------------------------------------------- */

static int prepare(int number) {
    struct gpu *gpu = &gpus[number];
    int device, major, minor, error;
    if ((error = cuda.device(&device, number)) != 0) return cannot("find the GPU", error);
    if ((error = cuda.device_attribute(&major, CAPABILITY_MAJOR, device)) != 0 ||
        (error = cuda.device_attribute(&minor, CAPABILITY_MINOR, device)) != 0)
        return cannot("tell the GPU's compute capability", error);
    if (cuda.device_attribute(&gpu->pools, HAS_POOLS, device) != 0) gpu->pools = 0;
    gpu->capability = 10 * major + minor;
    if ((error = cuda.retain(&gpu->context, device)) != 0) {
        gpu->context = NULL;
        return cannot("use the GPU", error);
    }
    return 1;
}

/* The GPU with a number; NULL if it cannot be used, which is told. */
static struct gpu *find_gpu(int number) {
    if (number >= GPUS) {
        hpacml_tell(HPACML_FAILED, "the GPU %d cannot be used: functions run on the first %d", number, GPUS);
        return NULL;
    }
    pthread_mutex_lock(&preparing);
    int done = gpus[number].context != NULL || prepare(number);
    pthread_mutex_unlock(&preparing);
    return done ? &gpus[number] : NULL;
}

static uint64_t address_of(const struct array *array) { return (uint64_t)array->descriptor[0]; }

/* What the driver knows of an address, also in a thread without a context. Returns its error. */
static int look_up(void *value, int attribute, uint64_t address) {
    int error = cuda.attribute(value, attribute, address);
    if (error != INVALID_CONTEXT) return error;
    const struct gpu *any = find_gpu(0);
    void *context;
    if (any == NULL || cuda.push(any->context) != 0) return error;
    error = cuda.attribute(value, attribute, address);
    cuda.pop(&context);
    return error;
}

/* Whether an array is where kernels can reach it; what is wrong is told. `number` is that of its GPU, -1 for any. */
static int is_there(const struct array *array, int *number) {
    int managed = 0;
    unsigned type = 0;
    *number = -1;
    int error = look_up(&type, MEMORY_TYPE, address_of(array));
    if (error && error != INVALID_VALUE) return cannot("tell where arrays are", error);
    if (!error) look_up(&managed, IS_MANAGED, address_of(array));
    if (error || (type != MEMORY_OF_GPU && !managed)) {
        hpacml_tell(HPACML_BAD_ARGUMENT,
                    "%s lies in memory of the host, and this function runs on a GPU: pass an address in memory of a GPU, as "
                    "cudaMalloc gives it, or build the function without a target for the host",
                    array->what);
        return 0;
    }
    error = look_up(number, DEVICE_ORDINAL, address_of(array));
    if (error && !managed) return cannot("tell on which GPU arrays are", error);
    if (error || *number < 0) *number = -1;
    return 1;
}

/* The number of the GPU with all arrays, without any the current one; -1 if there is none, which is told. */
static int gpu_of(const struct array *arrays, int64_t number) {
    const struct array *first = NULL;
    int found = -1, each;
    for (const struct array *array = arrays; array < arrays + number; array++) {
        if (array->descriptor == NULL) continue;
        if (!is_there(array, &each)) return -1;
        if (each < 0) continue;
        if (first != NULL && each != found) {
            hpacml_tell(HPACML_BAD_ARGUMENT, "%s is on the GPU %d, and %s on the GPU %d: pass arrays that are on one GPU",
                        first->what, found, array->what, each);
            return -1;
        }
        first = array, found = each;
    }
    void *context = NULL;
    if (found >= 0) return found;
    if (cuda.current_context(&context) == 0 && context != NULL && cuda.current_device(&each) == 0) return each;
    return 0;
}

/* Whether all elements of an array are in the memory that was allocated at its address; what is wrong is told. */
static int is_inside(const struct array *array) {
    const int64_t *sizes = array->descriptor + 3, *strides = sizes + array->rank;
    uint64_t start, size, address = address_of(array);
    __int128 below = 0, above = 1; /* the elements in front of the address, and from it on */
    if (look_up(&start, RANGE_START_ADDR, address) != 0 || look_up(&size, RANGE_SIZE, address) != 0) return 1;
    for (int64_t d = 0; d < array->rank; d++) {
        __int128 span = (__int128)(sizes[d] - 1) * strides[d];
        if (span < 0)
            below -= span;
        else
            above += span;
    }
    int64_t room_below = (int64_t)(address - start) / array->bytes;
    int64_t room_above = (int64_t)(start + size - address) / array->bytes;
    if (below <= room_below && above <= room_above) return 1;
    int is_behind = above > room_above;
    __int128 needed = is_behind ? above : below;
    hpacml_tell(HPACML_BAD_ARGUMENT, "%s reaches beyond its memory: with its sizes and strides it has %" PRId64
                " elements %s its address, and %" PRId64 " were allocated there", array->what,
                (int64_t)(needed < INT64_MAX ? needed : INT64_MAX), is_behind ? "from" : "in front of",
                is_behind ? room_above : room_below);
    return 0;
}

/* Whether an array is of the context in which the call is to run, and inside of its memory; what is wrong is told. Of
 * memory of pools, and of what a program has mapped itself, the driver knows no context, and perhaps a part alone.
 */
static int is_usable(const struct gpu *gpu, const struct array *array) {
    void *context = NULL;
    if (array->descriptor == NULL || look_up(&context, CONTEXT, address_of(array)) != 0 || context == NULL) return 1;
    if (context == gpu->context) return is_inside(array);
    hpacml_tell(HPACML_BAD_ARGUMENT,
                "%s is memory of another context than the GPU's primary one, in which CUDA's runtime and this function "
                "work: allocate it there (cuDevicePrimaryCtxRetain)",
                array->what);
    return 0;
}

/* Whether a stream is of the context in which the call is to run; what is wrong is told. */
static int is_of_context(const struct gpu *gpu, void *stream) {
    if ((uintptr_t)stream <= 2) return 1; /* the default streams, which each context has */
    void *context = NULL;
    int error = cuda.stream_context(stream, &context);
    if (error == 0 && context == gpu->context) return 1;
    if (error)
        hpacml_tell(HPACML_BAD_ARGUMENT, "what is passed as the stream is none: %s", named(error));
    else
        hpacml_tell(HPACML_BAD_ARGUMENT, "the stream is not one of the GPU and its primary context that have the arrays");
    return 0;
}

/* -- kernels ------------------------------------------------------------------------------------------------------- */

/* Whether a GPU runs code for a chip such as sm_90, which newer ones do, sm_100f (those of its family) or sm_90a. */
static int runs(int capability, const char *chip) {
    char *end;
    int wanted = (int)strtol(chip + 3, &end, 10);
    if (*end == 'a') return capability == wanted;
    if (*end == 'f') return capability / 10 == wanted / 10 && capability >= wanted;
    return capability >= wanted;
}

/* Machine code runs on chips of its own kind; for newer ones the driver compiles PTX. */
static int load_module(void **module, const struct program *program) {
    static char log[16 << 10]; /* guarded by `preparing` */
    int options[] = {ERROR_LOG, SIZE_OF_ERROR_LOG};
    void *values[] = {log, (void *)sizeof log};
    int error = NO_BINARY_FOR_GPU;
    if (program->cubin != NULL) error = cuda.load(module, program->cubin, 2, options, values);
    log[0] = '\0';
    if (error == NO_BINARY_FOR_GPU) error = cuda.load(module, program->ptx, 2, options, values);
    if (error)
        hpacml_tell(HPACML_FAILED, "the CUDA driver cannot load the kernels%s%.4000s%s: %s", log[0] ? " (" : "", log,
                    log[0] ? ")" : "", named(error));
    return error;
}

static int load(struct program *program, int number) {
    void *module, **kernels = calloc(2 * (size_t)program->number, sizeof *kernels);
    if (kernels == NULL) {
        hpacml_tell(HPACML_FAILED, "there is no memory for the kernels");
        return 0;
    }
    int error = load_module(&module, program);
    for (int64_t k = 0; !error && k < 2 * program->number; k++)
        if ((error = cuda.kernel(&kernels[k], module, program->names[k])) != 0) cannot("find a kernel", error);
    if (error)
        free(kernels);
    else
        __atomic_store_n(&program->kernels[number], kernels, __ATOMIC_RELEASE);
    return !error;
}

/* Load the kernels of a program, in the current context; what goes wrong is told. */
static int find_kernels(struct program *program, int number) {
    if (program->number == 0 || __atomic_load_n(&program->kernels[number], __ATOMIC_ACQUIRE) != NULL) return 1;
    if (!runs(gpus[number].capability, program->chip)) {
        hpacml_tell(HPACML_BAD_PROCESSOR, "this function was built for %s, and the GPU %d is of compute capability %d.%d: "
                    "build it with --target sm_%d", program->chip, number, gpus[number].capability / 10,
                    gpus[number].capability % 10, gpus[number].capability);
        return 0;
    }
    int mode = RELAXED; /* another thread may capture a graph */
    cuda.capture_mode(&mode);
    pthread_mutex_lock(&preparing);
    int done = program->kernels[number] != NULL || load(program, number);
    pthread_mutex_unlock(&preparing);
    cuda.capture_mode(&mode);
    return done;
}

int32_t hpacml_py_launch(const void *kernels, int64_t number, int64_t grid, int64_t block, int64_t narrow,
                         void **parameters) {
    const struct program *program = kernels;
    const struct gpu_call *call = hpacml_current->gpu;
    if (grid < 0 || grid > INT32_MAX) {
        hpacml_tell(HPACML_FAILED, "a kernel would take %" PRId64 " blocks, and a GPU runs fewer than 2**31", grid);
        return 0;
    }
    void *kernel = program->kernels[call->device][2 * number + narrow];
    int error = cuda.launch(kernel, (unsigned)grid, 1, 1, (unsigned)block, 1, 1, 0, call->stream, parameters, NULL);
    return error ? cannot("launch a kernel", error) : 1;
}

/* -- memory -------------------------------------------------------------------------------------------------------- */

int32_t hpacml_py_device_alloc(int64_t bytes, void **found) {
    struct gpu_call *call = hpacml_current->gpu;
    if (bytes < 0) {
        hpacml_tell(HPACML_FAILED, "a temporary tensor would have a negative size: %" PRId64 " bytes", bytes);
        return 0;
    }
    struct block *block = malloc(sizeof *block);
    size_t size = bytes < 256 ? 256 : (size_t)bytes;
    int error = OUT_OF_MEMORY;
    if (block != NULL)
        error = gpus[call->device].pools ? cuda.alloc_on_stream(&block->address, size, call->stream)
                                         : cuda.alloc(&block->address, size);
    if (error) {
        free(block);
        hpacml_tell(HPACML_FAILED, "the GPU %" PRId64 " has no memory for a temporary tensor of %" PRId64 " bytes: %s",
                    call->device, bytes, named(error));
        return 0;
    }
    block->next = call->blocks;
    call->blocks = block;
    *found = (void *)(uintptr_t)block->address;
    return 1;
}

/* Free the first block of a list. What comes later on the stream may use its memory again. */
static void release(struct gpu_call *call, struct block **place) {
    struct block *block = *place;
    *place = block->next;
    if (gpus[call->device].pools)
        cuda.free_on_stream(block->address, call->stream);
    else
        cuda.free(block->address); /* waits for the GPU */
    free(block);
}

int32_t hpacml_py_device_free(void *memory) {
    struct gpu_call *call = hpacml_current->gpu;
    for (struct block **place = &call->blocks; *place != NULL; place = &(*place)->next)
        if ((*place)->address == (uintptr_t)memory) {
            release(call, place);
            break;
        }
    return 1;
}

/* -- calls --------------------------------------------------------------------------------------------------------- */

/* A call in the current context of its GPU. */
static int32_t run(struct program *program, void *slots, struct call *call) {
    int64_t words[7] = {0}; /* of the native runtime: with them it leaves launches and memory to this file */
    int32_t status = hpacml_run(call, (void *)program->code, slots, words);
    while (call->gpu->blocks != NULL) release(call->gpu, &call->gpu->blocks);
    hpacml_end_on_gpu(call);
    return status;
}

EXPORT int32_t hpacml_enter_device(void *program, void *slots, const char *record, const char *const *texts,
                                   void *stream, const void *arrays, int64_t number) {
    int32_t status = hpacml_begin();
    if (status != HPACML_OK) return status;
    if (stream == (void *)1) stream = NULL; /* two names of one stream */
    struct gpu_call on = {0, stream, 0, NULL};
    struct call here = {record, texts, NULL, &on};
    int found = find_driver() ? gpu_of(arrays, number) : -1;
    const struct gpu *gpu = found < 0 ? NULL : find_gpu(found);
    if (gpu == NULL || !is_of_context(gpu, stream)) return hpacml_told();
    for (const struct array *array = arrays; array < (const struct array *)arrays + number; array++)
        if (!is_usable(gpu, array)) return hpacml_told();
    on.device = found;
    int error = cuda.push(gpu->context);
    if (error) {
        cannot("use the GPU", error);
        return HPACML_FAILED;
    }
    status = find_kernels(program, found) ? run(program, slots, &here) : hpacml_told();
    void *context;
    cuda.pop(&context);
    return status;
}
