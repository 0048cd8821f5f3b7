"""A thread that changes indices while they are used: right rows or a MapError, never memory outside of an array."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = '''
"""Each call gets indices that another thread makes huge and mends, again and again. All elements are 1."""
import threading, time
import numpy as np, hpacml
from hpacml import approx
from jaxtyping import Float64, Int32, Int64, UInt8

ROWS = hpacml.functor("rows: [i, 0:3] = ([i, 0:3])")
PAIR = hpacml.functor("pair: [i, 0:2] = ([i], [i])")
N = 4000

@hpacml.region("""
    tensor functor(rows: [i, 0:3] = ([i, 0:3]))
    tensor functor(one: [i] = ([i]))
    ml(infer) in(rows(pos[idx[0:n], 0:3])) out(one(new[idx[0:n]]), one(other[jdx[idx[0:n]]])) model(net)
""")
def region(pos, new, other, idx, jdx, n, net):
    pass

@hpacml.kernel
def kernel(pos: Float64[np.ndarray, "N 3"], new: Float64[np.ndarray, "N"], idx: INTEGERS[np.ndarray, "K"]):
    K = idx.shape[0]
    approx("tensor functor(rows: [i, 0:3] = ([i, 0:3]))")
    approx("tensor functor(one: [i] = ([i]))")
    with approx("""ml(collect) in(rows(pos[idx[0:K], 0:3])) out(one(new[idx[0:K]])) database('d.h5')"""):
        pass

pos, x, flat, other = np.ones((N, 3)), np.ones((N, 3)), np.ones(N), np.ones(N)
idx, jdx = np.arange(N).astype(DTYPE), np.arange(N).astype(DTYPE)
net = lambda rows: (rows[:, 0].clone(), rows[:, 1].clone())
if DTYPE == np.uint8:
    rows = np.ones((256 - 40, 3))
    idx %= 200
    CALLS = [lambda: ROWS.gather("pos[idx[0:n], 0:3]", pos=rows, idx=idx, n=N)]
else:
    CALLS = [
        lambda: ROWS.gather("pos[idx[0:n], 0:3]", pos=pos, idx=idx, n=N),
        lambda: PAIR.gather("a[idx[jdx[0:n]]], a[jdx[0:n]]", a=flat, idx=idx, jdx=jdx, n=N),
        lambda: ROWS.scatter(x, "pos[idx[0:n], 0:3]", pos=pos, idx=idx, n=N),
        lambda: PAIR.scatter(x[:, :2], "a[idx[jdx[0:n]]], b[0:n]", a=flat, b=other, idx=idx, jdx=jdx, n=N),
        lambda: region(pos, flat, other, idx, jdx, N, net),
        lambda: kernel(pos, flat, idx),
    ]
for call in CALLS:
    call()
stop = threading.Event()

def disturb():
    good = idx.copy(), jdx.copy()
    while not stop.is_set():
        for array, right in zip((idx, jdx), good):
            array[:] = np.iinfo(DTYPE).max
            array[::2] = np.iinfo(DTYPE).min
            array[:] = right

disturber = threading.Thread(target=disturb)
disturber.start()
errors, right, end = 0, 0, time.monotonic() + 1.5
while time.monotonic() < end:
    for call in CALLS:
        try:
            result = call()
        except hpacml.MapError:
            errors += 1
        else:
            right += 1
            assert result is None or (np.asarray(result) == 1).all()
stop.set()
disturber.join()
print(errors, right)
'''


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "annotation"), [("int32", "Int32"), ("int64", "Int64"), ("uint8", "UInt8")])
def test_the_index_that_is_checked_is_the_one_that_is_used(dtype: str, annotation: str, tmp_path) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM.replace("DTYPE", f"np.{dtype}").replace("INTEGERS", annotation))
    done = subprocess.run(
        [sys.executable, path], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    errors, right = map(int, done.stdout.split())
    assert errors
    assert right
