/* A driver that has no device: it checks what it is called with, and writes it to the standard output. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
typedef int CUdevice;
typedef void *CUcontext, *CUmodule, *CUfunction, *CUstream;

static char context, module, kernel;
static int capture_mode;

CUresult cuInit(unsigned flags) { printf("init %u\n", flags); return getenv("STUB_NO_DEVICE") ? 100 : 0; }
CUresult cuDriverGetVersion(int *version) { *version = 13000; return 0; }
CUresult cuDeviceGet(CUdevice *device, int ordinal) { *device = ordinal; return ordinal < 2 ? 0 : 101; }
CUresult cuDevicePrimaryCtxRetain(CUcontext *found, CUdevice device)
{
    printf("retain %d\n", device);
    *found = &context;
    return 0;
}
CUresult cuCtxSetCurrent(CUcontext given) { printf("current %d\n", given == &context); return 0; }

CUresult cuModuleLoadDataEx(CUmodule *found, const void *image, unsigned count, int *options, void **values)
{
    /* CU_JIT_ERROR_LOG_BUFFER and CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, whose value is the size itself */
    printf("load %s, options", (const char *)image);
    for (unsigned i = 0; i < count; i++)
        printf(" %d", options[i]);
    printf(", %u bytes\n", (unsigned)(uintptr_t)values[1]);
    if (strstr(image, "wrong")) {
        snprintf(values[0], (unsigned)(uintptr_t)values[1], "line 3: there is an error");
        return 218;
    }
    *found = &module;
    return 0;
}

CUresult cuStreamCreate(CUstream *found, unsigned flags)
{
    printf("stream, flags %u\n", flags);
    *found = (CUstream)0xabc0;
    return 0;
}
CUresult cuThreadExchangeStreamCaptureMode(int *mode)
{
    int before = capture_mode;
    printf("capture mode %d\n", *mode);
    capture_mode = *mode;
    *mode = before;
    return 0;
}

CUresult cuModuleGetFunction(CUfunction *found, CUmodule given, const char *name)
{
    printf("function %d %s\n", given == &module, name);
    *found = &kernel;
    return strcmp(name, "missing") ? 0 : 500;
}

CUresult cuLaunchKernel(CUfunction given, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                        unsigned shared, CUstream stream, void **parameters, void **extra)
{
    printf("launch %d grid %u %u %u block %u %u %u shared %u stream %p extra %d parameters %ld %g\n", given == &kernel,
           gx, gy, gz, bx, by, bz, shared, stream, extra != NULL, (long)*(int64_t *)parameters[0],
           *(double *)parameters[1]);
    return gx == 666 ? 700 : 0;
}

CUresult cuPointerGetAttribute(void *data, int attribute, uintptr_t pointer)
{
    printf("attribute %d of %#lx\n", attribute, (unsigned long)pointer);
    if (pointer < 4096)
        return 1;
    *(int *)data = 1;
    return 0;
}

CUresult cuGetErrorName(CUresult error, const char **text)
{
    *text = error == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : error == 218 ? "CUDA_ERROR_INVALID_PTX" : "CUDA_ERROR";
    return 0;
}
CUresult cuGetErrorString(CUresult error, const char **text) { *text = "as the driver says"; return 0; }

CUresult cuGetProcAddress_v2(const char *symbol, void **found, int version, uint64_t flags, int *status)
{
    static const struct { const char *name; void *address; } known[] = {
        {"cuInit", cuInit}, {"cuDriverGetVersion", cuDriverGetVersion}, {"cuDeviceGet", cuDeviceGet},
        {"cuDevicePrimaryCtxRetain", cuDevicePrimaryCtxRetain}, {"cuCtxSetCurrent", cuCtxSetCurrent},
        {"cuModuleLoadDataEx", cuModuleLoadDataEx}, {"cuModuleGetFunction", cuModuleGetFunction},
        {"cuStreamCreate", cuStreamCreate}, {"cuThreadExchangeStreamCaptureMode", cuThreadExchangeStreamCaptureMode},
        {"cuLaunchKernel", cuLaunchKernel}, {"cuPointerGetAttribute", cuPointerGetAttribute},
        {"cuGetErrorName", cuGetErrorName}, {"cuGetErrorString", cuGetErrorString},
        {"cuGetProcAddress", cuGetProcAddress_v2},
    };
    *found = NULL;
    if (status)
        *status = 1;
    for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(symbol, known[i].name)) {
            *found = known[i].address;
            if (status)
                *status = 0;
        }
    return *found ? 0 : 500;
}
CUresult cuGetProcAddress(const char *symbol, void **found, int version, uint64_t flags)
{
    return cuGetProcAddress_v2(symbol, found, version, flags, NULL);
}
