"""Ranges of NVTX by the package of that name, as a tool sees them that NVTX loads, as it loads those of NVIDIA."""

import os
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

TOOL = r"""
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As NVTX's headers have them: the numbers of modules and of functions in them, and the place of an event's message. */
enum { CALLBACKS = 1, OF_DOMAINS = 5, PUSH = 4, POP = 5, REGISTER = 10, MESSAGE = 40 };
typedef struct { size_t size; int (*functions)(int module, void*** table, unsigned* size); } Table;

static void say(const char* what) {
    char line[300];
    int size = snprintf(line, sizeof line, "%ld %s\n", (long)syscall(SYS_gettid), what);
    if (write(atoi(getenv("RANGES")), line, size) != size) abort();
}
static void* name(void* domain, const char* text) { return strdup(text); }
static int push(void* domain, const char* event) { say(*(const char**)(event + MESSAGE)); return 0; }
static int pop(void* domain) { say("pop"); return 0; }

int InitializeInjectionNvtx2(const void* (*exported)(uint32_t)) {
    const Table* callbacks = exported(CALLBACKS);
    void** table;
    unsigned size;
    if (!callbacks || !callbacks->functions(OF_DOMAINS, &table, &size)) return 0;
    *(void**)table[REGISTER] = (void*)name;
    *(void**)table[PUSH] = (void*)push;
    *(void**)table[POP] = (void*)pop;
    return 1;
}
"""

PROGRAM = """
import threading
import numpy as np, hpacml
from hpacml import approx
from jaxtyping import Float64

@hpacml.region('''
    tensor functor(f: [i, 0:1] = ([i]))
    ml(predicated: infer) in(f(x[0:n])) out(f(y[0:n])) model(net) database("d.h5")
''')
def region(x, y, n, infer, net):
    double(x, y, n, net is twice, twice)
    if net is failing:
        raise ValueError("the body")

@hpacml.kernel
def double(x: Float64[np.ndarray, "N"], y: Float64[np.ndarray, "M"], n: int, infer: bool, net: object):
    approx("tensor functor(f: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(f(x[0:n])) out(f(y[0:n])) model(net) if(infer) label('inner')"):
        for i in range(n):
            y[i] = 2.0 * x[i]

def twice(x):
    return 2 * x

def failing(x):
    raise ValueError("the model")

functor = hpacml.functor("f: [i, 0:2] = ([i], [i + 1])")
wrong = []

def use():
    x, y = np.arange(5.0), np.zeros(5)
    for infer, net in ((True, twice), (False, twice), (True, failing), (False, failing)):
        y[:] = 0
        try:
            region(x, y, 5, infer, net)
        except (ValueError, hpacml.ModelError) as error:
            if net is not failing:
                wrong.append(error)
        if not np.array_equal(y, 2 * x * (net is twice or not infer)):
            wrong.append((infer, net, y))
    if functor.gather("x[0:n]", x=x, n=4).tolist() != [[k, k + 1] for k in range(4)]:
        wrong.append("gather")

threads = [threading.Thread(target=use) for _ in range(4)]
use()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not wrong, wrong
"""

INFERRED = ["hpacml.region region", "hpacml.infer region", "hpacml.forward region", "pop", "pop", "pop"]
KERNEL = ["hpacml.kernel double", "hpacml.infer inner", "hpacml.forward inner", "pop", "pop", "pop"]
COLLECTED = ["hpacml.region region", "hpacml.body", *KERNEL, "pop", "hpacml.collect region", "pop", "pop"]
RAISED = ["hpacml.region region", "hpacml.body", "hpacml.kernel double", "pop", "pop", "pop"]


def run(folder: Path, **variables: str) -> None:
    pytest.importorskip("nvtx")
    (folder / "program.py").write_text(PROGRAM)  # kernels read their source
    ended = subprocess.run(
        [sys.executable, "-W", "error", "program.py"],
        cwd=folder, env={**os.environ, "HPACML_RANGES": "nvtx", **variables},
        capture_output=True, text=True, timeout=120, pass_fds=[int(variables.get("RANGES", 2))],
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")


def test_without_a_tool(tmp_path: Path) -> None:
    run(tmp_path)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_tool_sees_them(tmp_path: Path) -> None:
    """They nest, close where errors pass, and are those of the threads that make the calls."""
    (tmp_path / "tool.c").write_text(TOOL)
    tool = tmp_path / "tool.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tool, tmp_path / "tool.c"], check=True)
    with open(tmp_path / "ranges", "a+") as file:
        run(tmp_path, NVTX_INJECTION64_PATH=str(tool), RANGES=str(file.fileno()))
        file.seek(0)
        by_thread = defaultdict(list)
        for line in file:
            thread, name = line.rstrip("\n").split(" ", 1)
            by_thread[thread].append(name)
    assert len(by_thread) == 5
    for names in by_thread.values():
        assert names == [*INFERRED, *COLLECTED, *INFERRED, *RAISED]
