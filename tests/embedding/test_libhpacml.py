"""libhpacml: programs in C collect, infer, and are told what is wrong, on any of their threads."""

import ctypes
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Float32

import hpacml
from hpacml import approx
from hpacml.embedding import host_library
from tests.compilers import needs_cc, run

pytestmark = needs_cc

Field = Float32[np.ndarray, "N M"]


@hpacml.kernel
def heat(t: Field, new: Field, use_model: bool, model: str | None, database: str | None):
    N, M = t.shape
    approx("tensor functor(five: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2]))")
    approx("tensor functor(one: [i, j, 0:1] = ([i, j]))")
    approx("tensor map(to: five(t[1:N-1, 1:M-1]))")
    approx("tensor map(from: one(new[1:N-1, 1:M-1]))")
    with approx("ml(predicated: use_model) in(t) out(new) model(model) database(database) label('heat')"):
        for i in hpacml.prange(1, N - 1):
            for j in range(1, M - 1):
                new[i, j] = t[i, j] + 0.1 * (t[i - 1, j] + t[i + 1, j] + t[i, j - 1] + t[i, j + 1] - 4.0 * t[i, j])


@hpacml.kernel
def messages(x: Float32[np.ndarray, "N"], n: int):
    if n < 0:
        raise ValueError(f"n is {n}, and x has {x.shape[0]} elements")
    if n == 0:
        print(x.shape[0], "elements, größer")
        return
    large = np.zeros((n, 1 << 40))
    large[0, 0] = 1
    x[0] = large[0, 0]


HEAD = """
#define _GNU_SOURCE
#include "heat.h"
#include <dlfcn.h>
#include <hpacml.h>
#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
enum { N = 34, CALLS = 32 };
static const int64_t sizes[2] = {N, N};
static void fill(float *t, int call) { for (int i = 0; i < N * N; i++) t[i] = (float)((i * 7 + call) % 13); }
static int32_t step(int call, float *new_, bool use_model, const char *model, const char *database) {
    float t[N * N];
    fill(t, call);
    return heat(t, sizes, NULL, new_, sizes, NULL, use_model, model, database);
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the library and its header."""
    folder = tmp_path_factory.mktemp("libhpacml")
    hpacml.build([heat, messages], folder / "libheat.so", header=folder / "heat.h")
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)).eval()
    hpacml.save_model(network, folder / "net.safetensors", example=torch.zeros(4, 5))
    return folder


def program(folder: Path, name: str, body: str) -> Path:
    (folder / f"{name}.c").write_text(HEAD + body)
    flags = [f"-Wl,-rpath,{folder}", "-L.", "-lheat", *host_library.linker_flags(), "-lpthread", "-ldl", "-lm"]
    warnings = "-Wall", "-Wextra", "-Werror"
    run(
        *("cc", "-std=gnu11", "-fopenmp", *warnings, *host_library.compiler_flags(), "-o", name, f"{name}.c", *flags),
        cwd=folder,
    )
    return folder / name


def field(call: int) -> np.ndarray:
    return ((np.arange(34 * 34) * 7 + call) % 13).astype(np.float32).reshape(34, 34)


COLLECT = """
int main(void) {
    int failed = 0;
#pragma omp parallel for num_threads(8) schedule(static, 1) reduction(+ : failed)
    for (int call = 0; call < CALLS; call++) {
        float new_[N * N] = {0};
        failed += step(call, new_, false, NULL, "heat.h5") != 0;
    }
    printf("%d\\n", failed);
    return 0; /* without hpacml_stop: what is collected is written at the end */
}
"""


def test_eight_threads_collect(folder: Path) -> None:
    path = program(folder, "collect", COLLECT)
    (folder / "heat.h5").unlink(missing_ok=True)
    assert run(path, cwd=folder).stdout == "0\n"
    region = hpacml.open_database(folder / "heat.h5")["heat"]
    found = {np.asarray(region.outputs[0][k]).tobytes() for k in range(len(region))}
    expected = set()
    for call in range(32):
        new = np.zeros((34, 34), np.float32)
        heat.py_func(field(call), new, False, None, None)
        expected.add(new[1:-1, 1:-1, None].tobytes())
    assert (len(region), found) == (32, expected)


DEPLOY = """
static float outputs[CALLS][N * N];
int main(void) {
    int failed = 0;
#pragma omp parallel for num_threads(8) schedule(static, 1) reduction(+ : failed)
    for (int call = 0; call < CALLS; call++) failed += step(call, outputs[call], true, "net.safetensors", NULL) != 0;
    fwrite(outputs, sizeof outputs, 1, fopen("outputs", "wb"));
    printf("%d\\n", failed);
    float new_[N * N] = {7};
    printf("%d %s\\n", step(0, new_, true, "none.safetensors", NULL), hpacml_last_error());
    printf("%d %s\\n", step(0, new_, true, NULL, NULL), hpacml_last_error());
    printf("%d %s\\n", step(0, new_, false, NULL, "nowhere/heat.h5"), hpacml_last_error());
    printf("%d %s\\n", messages(new_, sizes, NULL, -3), hpacml_last_error());
    printf("%d %s\\n", messages(new_, sizes, NULL, 1 << 20), hpacml_last_error());
    printf("%d %d\\n", hpacml_stop(), new_[0] == 7);
    printf("%d %d\\n", step(0, new_, true, "net.safetensors", NULL), hpacml_abi_version());
    return 0;
}
"""


def test_models_and_errors(folder: Path) -> None:
    path = program(folder, "deploy", DEPLOY)
    failed, none, unset, nowhere, raised, large, stopped, again = run(path, cwd=folder).stdout.splitlines()
    assert failed == "0"
    outputs = np.fromfile(folder / "outputs", np.float32).reshape(32, 34, 34)
    for call in range(32):
        new = np.zeros((34, 34), np.float32)
        heat(field(call), new, True, str(folder / "net.safetensors"), None)
        np.testing.assert_array_equal(outputs[call], new)
    assert re.match(r"1 \S+:\d+:\d+: in the region 'heat': the model '", none)
    assert "none.safetensors' does not exist" in none
    assert unset.startswith("1 ")
    assert "SURROGATE_MODEL is not set" in unset
    assert nowhere.startswith("1 ")
    assert "nowhere/heat.h5" in nowhere
    assert raised == "1 ValueError: n is -3, and x has 34 elements"
    assert large.startswith("1 a kernel cannot make an array of the shape [1048576, 1099511627776]")
    assert (stopped, again) == ("0 1", "0 1")


FULL = """
#include <signal.h>
#include <sys/resource.h>
int main(void) {
    float new_[N * N] = {0};
    printf("%d\\n", step(0, new_, false, NULL, "full.h5"));
    printf("%d\\n", hpacml_stop());
    struct rlimit limit = {64 << 10, 64 << 10};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    int failed = 0;
    for (int call = 0; call < CALLS && failed == 0; call++) failed = step(call, new_, false, NULL, "full.h5");
    if (failed == 0) failed = hpacml_stop();
    printf("%d %s\\n", failed, hpacml_last_error());
    return 0;
}
"""


def test_what_cannot_be_written_is_a_status(folder: Path) -> None:
    (folder / "full.h5").unlink(missing_ok=True)
    first, stopped, failed = run(program(folder, "full", FULL), cwd=folder).stdout.splitlines()[:3]
    assert (first, stopped) == ("0", "0")
    assert failed.startswith("1 ")
    assert "full.h5" in failed
    assert len(hpacml.open_database(folder / "full.h5")["heat"]) >= 1


OWN = """
#include <signal.h>
#include <sys/wait.h>
int main(void) {
    float new_[N * N] = {0};
    printf("first\\n");
    if (messages(new_, sizes, NULL, 0) != 0 || step(0, new_, true, "net.safetensors", NULL) != 0) return 1;
    if (step(0, new_, false, NULL, "own.h5") != 0 || hpacml_stop() != 0) return 2;
    printf("last\\n");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        raise(SIGINT);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    printf("%d\\n", WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    return 0;
}
"""


def test_signals_and_streams_stay_the_programs(folder: Path) -> None:
    """Ctrl-C ends the program, and what a kernel prints stands where the program has called it, also in a file."""
    path = program(folder, "own", OWN)
    assert run(path, cwd=folder).stdout == "first\n34 elements, größer\nlast\n1\n"


THREADS = """
static void *work(void *result) {
    float new_[N * N] = {0};
    *(int32_t *)result = step(0, new_, true, "none.safetensors", NULL);
    return strstr(hpacml_last_error(), "none.safetensors") ? NULL : result;
}
int main(void) {
    if (hpacml_start() != 0) return 1;
    int told = 0;
    for (int k = 0; k < 50; k++) {
        pthread_t thread;
        int32_t status = 0;
        void *wrong;
        pthread_create(&thread, NULL, work, &status);
        pthread_join(thread, &wrong);
        told += status == 1 && wrong == NULL;
    }
    int (*ensure)(void) = dlsym(RTLD_DEFAULT, "PyGILState_Ensure");
    void (*release)(int) = dlsym(RTLD_DEFAULT, "PyGILState_Release");
    int (*execute)(const char *) = dlsym(RTLD_DEFAULT, "PyRun_SimpleString");
    int state = ensure();
    printf("%d\\n", told);
    fflush(stdout);
    execute("import sys; print(len(sys._current_frames()), sys.prefix, __name__, flush=True)");
    release(state);
    return 0;
}
"""


def test_threads_leave_nothing_behind(folder: Path) -> None:
    """Each thread gets its own error, and Python forgets threads that have ended."""
    path = program(folder, "threads", THREADS)
    assert run(path, cwd=folder, PYTHONHOME="/nowhere").stdout == f"50\n1 {sys.prefix} __main__\n"


def test_the_python_of_the_process_is_taken(folder: Path, tmp_path: Path) -> None:
    library = ctypes.CDLL(str(folder / "libheat.so"))
    t, new, sizes = field(3), np.zeros((34, 34), np.float32), (ctypes.c_int64 * 2)(34, 34)
    pointers = ctypes.c_void_p(t.ctypes.data), sizes, None, ctypes.c_void_p(new.ctypes.data), sizes, None
    database = str(tmp_path / "here.h5").encode()
    assert library.heat(*pointers, ctypes.c_bool(False), None, database) == 0
    hpacml.flush()
    assert len(hpacml.open_database(tmp_path / "here.h5")["heat"]) == 1
    assert library.heat(*pointers, ctypes.c_bool(True), str(folder / "net.safetensors").encode(), None) == 0
    expected = np.zeros((34, 34), np.float32)
    heat(t, expected, True, str(folder / "net.safetensors"), None)
    np.testing.assert_array_equal(new, expected)


def test_without_python_a_call_is_a_status(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(host_library, "_libpython", lambda: tmp_path / "libpython-that-is-gone.so")
    hpacml.build(heat, tmp_path / "libheat.so", header=tmp_path / "heat.h")
    body = """
int main(void) {
    float new_[N * N] = {0};
    printf("%d %s\\n", step(0, new_, false, NULL, "heat.h5"), hpacml_last_error());
    printf("%d\\n", hpacml_start());
}
"""
    first, second = run(program(tmp_path, "alone", body), cwd=tmp_path).stdout.splitlines()
    assert first.startswith("4 Python cannot be started: ")
    assert "libpython-that-is-gone.so" in first
    assert second == "4"


AGAIN = """
int main(void) {
    float new_[N * N] = {0};
    printf("%d %s\\n", step(0, new_, false, NULL, "again.h5"), hpacml_last_error());
    fclose(fopen("there", "w"));
    printf("%d\\n", step(0, new_, false, NULL, "again.h5"));
    return 0; /* without hpacml_stop */
}
"""


def test_a_second_start_still_ends_the_python_it_has_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python is initialised by the first call, whose import fails, and what follows the second happens at the end."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    import_later = host_library._BOOTSTRAP.replace("try:\n", "try:\n    open('there').close()\n", 1)
    monkeypatch.setattr(host_library, "_BOOTSTRAP", import_later)
    hpacml.build(heat, tmp_path / "libheat.so", header=tmp_path / "heat.h")
    path = program(tmp_path, "again", AGAIN)
    first, second = run(path, cwd=tmp_path, HPACML_REPORT="report.json").stdout.splitlines()[:2]
    assert first.startswith("4 hpacml cannot be started: FileNotFoundError")
    assert second == "0"
    assert len(hpacml.open_database(tmp_path / "again.h5")["heat"]) == 1
    assert (tmp_path / "report.json").exists()
