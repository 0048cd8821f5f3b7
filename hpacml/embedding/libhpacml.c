/* libhpacml: what C functions of built libraries call. Python is started when something first needs it.
 *
 * This file is compiled with functions that hpacml.embedding.host_library writes, which hand over to Python, and
 * linked with hpacml's native runtime (hpacml/runtime/shim.ll) and with gpu.c. Nothing of Python is needed to compile
 * it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libhpacml.h"
#include "settings.h"

/* Of the native runtime. */
int32_t hpacml_init(void);
int32_t hpacml_enter_on(void *code, void *slots, void *words);
void hpacml_use_openmp(void *parallel, void *inside, void *most, void *number);

/* What hpacml.embedding.embedded fills; its structure `Table` is the same. */
static struct {
    void *halves[HPACML_HALVES];              /* the Python functions behind symbols, in the order of the table */
    void (*take_error)(char *text, int64_t size); /* what the last failed call of this thread has raised */
    int32_t (*flush)(void);                   /* 1, or 0 for an error that `take_error` tells */
    void (*end)(void);                        /* what Python does at the end of a program */
    void *(*current)(void);                   /* the innermost call of this thread */
    int (*at_exit)(void);                     /* have `end` called before what was registered until now */
    int32_t (*begin_on_gpu)(struct call *);   /* 1, or 0 for an error that `take_error` tells */
    void (*end_on_gpu)(struct call *);
} table;

/* -- messages ------------------------------------------------------------------------------------------------------ */

/* Libraries that stand alone have one of this name and size: those of a program, and this one, share it. */
EXPORT __attribute__((weak)) _Thread_local char hpacml_message[8192];
static _Thread_local int32_t told; /* the status of the call under way, if the message is its */

void hpacml_tell(int32_t status, const char *format, ...) {
    va_list given;
    va_start(given, format);
    vsnprintf(hpacml_message, sizeof hpacml_message, format, given);
    va_end(given);
    told = status;
}

int32_t hpacml_told(void) { return told; }

#define tell(...) hpacml_tell(HPACML_NO_RUNTIME, __VA_ARGS__)

EXPORT const char *hpacml_last_error(void) { return hpacml_message; }

static size_t put(size_t used, const char *text, size_t length) {
    size_t room = sizeof hpacml_message - 1 - used;
    length = length < room ? length : room;
    memcpy(hpacml_message + used, text, length);
    return used + length;
}

EXPORT int32_t hpacml_refuse_call(int32_t status, const char *text, int64_t given, int64_t wanted) {
    static const char *const names[] = {"{given}", "{wanted}"};
    const int64_t values[] = {given, wanted};
    size_t used = 0;
    while (*text != '\0') {
        int found = -1;
        for (int k = 0; k < 2; k++)
            if (strncmp(text, names[k], strlen(names[k])) == 0) found = k;
        if (found < 0) {
            used = put(used, text++, 1);
            continue;
        }
        char digits[24];
        snprintf(digits, sizeof digits, "%" PRId64, values[found]);
        used = put(used, digits, strlen(digits));
        text += strlen(names[found]);
    }
    hpacml_message[used] = '\0';
    return status;
}

/* -- Python -------------------------------------------------------------------------------------------------------- */

/* As Python's C API declares them, which is stable: PEP 587. */
typedef struct {
    int type; /* 0: done */
    const char *function, *message;
    int exit_code;
} Status;

typedef struct {
    int init, parse_argv, isolated, use_environment, configure_locale, coerce_c_locale, coerce_c_locale_warn;
    int utf8_mode, dev_mode, allocator;
    int room[16];
} PreConfig;

static struct {
    int (*is_initialized)(void);
    const char *(*version)(void);
    void (*isolated_preconfig)(PreConfig *);
    Status (*preinitialize)(const PreConfig *);
    void (*isolated_config)(void *);
    Status (*set_argv)(void *, int64_t, char *const *);
    Status (*initialize)(const void *);
    void (*clear_config)(void *);
    int (*run)(const char *);
    int (*ensure)(void);
    void (*release)(int);
    void *(*this_state)(void);
    void *(*save)(void);
} python;

static const struct {
    const char *name;
    size_t place;
} functions[] = {
    {"Py_IsInitialized", offsetof(__typeof__(python), is_initialized)},
    {"Py_GetVersion", offsetof(__typeof__(python), version)},
    {"PyPreConfig_InitIsolatedConfig", offsetof(__typeof__(python), isolated_preconfig)},
    {"Py_PreInitialize", offsetof(__typeof__(python), preinitialize)},
    {"PyConfig_InitIsolatedConfig", offsetof(__typeof__(python), isolated_config)},
    {"PyConfig_SetBytesArgv", offsetof(__typeof__(python), set_argv)},
    {"Py_InitializeFromConfig", offsetof(__typeof__(python), initialize)},
    {"PyConfig_Clear", offsetof(__typeof__(python), clear_config)},
    {"PyRun_SimpleString", offsetof(__typeof__(python), run)},
    {"PyGILState_Ensure", offsetof(__typeof__(python), ensure)},
    {"PyGILState_Release", offsetof(__typeof__(python), release)},
    {"PyGILState_GetThisThreadState", offsetof(__typeof__(python), this_state)},
    {"PyEval_SaveThread", offsetof(__typeof__(python), save)},
};

static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;
static int running; /* 1: Python is there and `table` is filled */
_Thread_local struct call *hpacml_current;

static void *current_call(void) { return hpacml_current; }

/* The process's own Python, if it is one, else the library of the Python that hpacml is installed for. */
static int find_python(void) {
    void *library = RTLD_DEFAULT;
    if (dlsym(RTLD_DEFAULT, "Py_IsInitialized") == NULL) {
        library = dlopen(HPACML_LIBPYTHON, RTLD_NOW | RTLD_GLOBAL); /* global for extension modules, which need it */
        if (library == NULL) {
            tell("Python cannot be started: %s", dlerror());
            return 0;
        }
    }
    for (size_t k = 0; k < sizeof functions / sizeof *functions; k++) {
        void *found = dlsym(library, functions[k].name);
        if (found == NULL) {
            tell("Python cannot be started: %s has no function %s", HPACML_LIBPYTHON, functions[k].name);
            return 0;
        }
        memcpy((char *)&python + functions[k].place, &found, sizeof found);
    }
    size_t length = strlen(HPACML_PYTHON_VERSION);
    const char *version = python.version();
    if (strncmp(version, HPACML_PYTHON_VERSION, length) != 0 || (version[length] >= '0' && version[length] <= '9')) {
        tell("this process has Python %.40s, and hpacml is installed for %s", version, HPACML_PYTHON_VERSION);
        return 0;
    }
    return 1;
}

/* Python takes Ctrl-C over when its module `signal` is loaded, unless the program has a handler. */
static void leave_signals(void) {
    struct sigaction own;
    sigaction(SIGINT, NULL, &own);
    python.run("import signal");
    sigaction(SIGINT, &own, NULL);
}

/* The variables of the environment that belong to the program's own Python do not matter here. */
static int initialize_python(void) {
    static char config[1 << 14]; /* more than any PyConfig */
    char *const argv[] = {(char *)HPACML_PROGRAM, NULL};
    PreConfig before = {0};
    python.isolated_preconfig(&before);
    before.utf8_mode = 1; /* the locale of a C program is "C" unless it says otherwise */
    Status status = python.preinitialize(&before);
    if (status.type == 0) {
        python.isolated_config(config); /* leaves signals and streams to the program */
        status = python.set_argv(config, 1, argv);
        if (status.type == 0) status = python.initialize(config);
        python.clear_config(config);
    }
    if (status.type != 0) tell("Python cannot be started: %s", status.message ? status.message : "no reason is known");
    return status.type == 0;
}

static void end(void) {
    static int ended;
    if (running && !ended && python.is_initialized()) {
        ended = 1;
        int state = python.ensure();
        table.end();
        python.release(state);
    }
}

static int at_exit(void) { return atexit(end); }

/* Of the C library: calls a function when a thread ends, before what is specific to the thread is gone. */
extern int __cxa_thread_atexit_impl(void (*function)(void *), void *object, void *library);
extern void *__dso_handle;

static void detach(void *unused) {
    (void)unused;
    if (!python.is_initialized()) return;
    int state = python.ensure();
    python.release(0); /* what `attach` has ensured; the thread still has the interpreter's lock */
    python.release(state);
}

/* Keep the state that Python has of this thread until the thread ends: errors are told after the call that raises them.
 */
static void attach(void) {
    if (python.this_state() != NULL) return;
    python.ensure();
    python.save();
    __cxa_thread_atexit_impl(detach, NULL, &__dso_handle);
}

static int import_hpacml(void) {
    static char why[4096];
    char code[8192];
    snprintf(code, sizeof code, HPACML_BOOTSTRAP, (uintmax_t)(uintptr_t)&table, sizeof why,
             (uintmax_t)(uintptr_t)why);
    why[0] = '\0';
    if (python.run(code) == 0 && why[0] == '\0') return 1;
    tell("hpacml cannot be started: %s", why[0] ? why : "standard error has the reason");
    return 0;
}

static int start_once(void) {
    static int is_own; /* whether this library has initialised Python: at an earlier try, if hpacml was not imported */
    if (!find_python()) return 0;
    if (!python.is_initialized()) {
        if (!initialize_python()) return 0;
        is_own = 1;
        leave_signals();
        python.save();
    }
    int state = python.ensure();
    table.current = current_call;
    table.at_exit = is_own ? at_exit : NULL;
    int done = import_hpacml();
    python.release(state);
    return done;
}

static int start(void) {
    if (__atomic_load_n(&running, __ATOMIC_ACQUIRE) == 0) {
        pthread_mutex_lock(&starting);
        if (running == 0) __atomic_store_n(&running, start_once(), __ATOMIC_RELEASE);
        pthread_mutex_unlock(&starting);
        if (running == 0) return 0;
    }
    attach();
    return 1;
}

/* Tell Python of a call on a GPU, of which it sets up its own. */
static int begin_on_gpu(struct call *call) {
    if (call == NULL || call->gpu == NULL || call->gpu->begun) return 1;
    call->gpu->begun = table.begin_on_gpu(call) == 1;
    return call->gpu->begun;
}

void hpacml_end_on_gpu(struct call *call) {
    if (call->gpu->begun && python.is_initialized()) table.end_on_gpu(call);
}

/* The Python function behind a symbol, which may need the GPU; NULL if there is none, as after an error of the start. */
static void *half(int number, int needs_gpu) {
    if (!start() || (needs_gpu && !begin_on_gpu(hpacml_current))) return NULL;
    return table.halves[number];
}

EXPORT int32_t hpacml_start(void) {
    hpacml_message[0] = '\0';
    return start() ? HPACML_OK : HPACML_NO_RUNTIME;
}

EXPORT int32_t hpacml_stop(void) {
    hpacml_message[0] = '\0';
    if (__atomic_load_n(&running, __ATOMIC_ACQUIRE) == 0) return HPACML_OK;
    attach();
    if (table.flush() == 1) return HPACML_OK;
    table.take_error(hpacml_message, sizeof hpacml_message);
    return HPACML_FAILED;
}

/* -- calls --------------------------------------------------------------------------------------------------------- */

/* Parallel loops run on the threads of the program's OpenMP, else on those of libgomp, if it is there. */
static void find_openmp(void) {
    static const char *const names[] = {"GOMP_parallel", "omp_in_parallel", "omp_get_max_threads",
                                        "omp_get_thread_num"};
    void *found[4], *library = RTLD_DEFAULT;
    if (dlsym(RTLD_DEFAULT, names[0]) == NULL) library = dlopen("libgomp.so.1", RTLD_NOW);
    if (library == NULL && dlsym(RTLD_DEFAULT, names[0]) == NULL) return;
    for (int k = 0; k < 4; k++)
        if ((found[k] = dlsym(library, names[k])) == NULL) return;
    hpacml_use_openmp(found[0], found[1], found[2], found[3]);
}

static int ready;

static void prepare(void) {
    ready = hpacml_init() == 0;
    if (ready) find_openmp();
}

int32_t hpacml_begin(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare);
    told = 0;
    hpacml_message[0] = '\0';
    if (ready) return HPACML_OK;
    tell("this process has no thread-specific key left");
    return HPACML_NO_RUNTIME;
}

int32_t hpacml_run(struct call *call, void *code, void *slots, void *words) {
    call->outer = hpacml_current;
    hpacml_current = call;
    int32_t status = hpacml_enter_on(code, slots, words);
    hpacml_current = call->outer;
    if (status == 0) return HPACML_OK;
    if (told) return told;
    if (status == 3)
        hpacml_tell(HPACML_FAILED, "the stack of this thread has less than 32 KiB left, or 64 in another call: start it "
                                   "with a larger one");
    else if (running)
        table.take_error(hpacml_message, sizeof hpacml_message);
    else
        hpacml_tell(HPACML_FAILED, "the call has failed, and no reason is known");
    return HPACML_FAILED;
}

EXPORT int32_t hpacml_enter_native(void *code, void *slots, const char *record, const char *const *texts) {
    struct call here = {record, texts, NULL, NULL};
    int32_t status = hpacml_begin();
    return status == HPACML_OK ? hpacml_run(&here, code, slots, NULL) : status;
}

#include "halves.h"
