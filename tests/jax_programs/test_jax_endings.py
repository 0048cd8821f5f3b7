"""Processes that end while programs of JAX are under way."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEGINNING = """
import time
import jax, jax.numpy as jnp, torch, hpacml, hpacml.jax

@hpacml.jax.region('''tensor functor(s: [i, 0:2] = ([i-1], [i+1]))
                      tensor functor(p: [i, 0:1] = ([i]))
                      ml(predicated: use) in(s(t[1:99])) out(p(new[1:99])) model(net) database("d.h5")''')
def smooth(t, new, use, net):
    return {"new": new.at[1:-1].set(0.5 * (t[:-2] + t[2:]))}

class Slow(torch.nn.Module):
    def forward(self, x):
        time.sleep(0.01)
        return x.sum(-1, keepdim=True)

def steps(use, net, length):
    return jax.jit(lambda t: jax.lax.scan(lambda t, _: (smooth(t, t, use, net)["new"], None), t, length=length)[0])

before = jax.jit(lambda t: jax.lax.fori_loop(0, 200, lambda _, x: jnp.tanh(x @ x), jnp.ones((400, 400)) * t[0])[0, :100])
"""
ENDINGS = {
    "a model of Torch": ("steps(True, Slow(), 1000)", ""),
    "an error of the program": ("steps(True, Slow(), 1000)", "raise ValueError('the program')"),
    "a compiled network": ("steps(True, 'm.safetensors', 100_000)", ""),
    "a collection": ("steps(False, None, 100)", ""),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_process_ends_and_what_is_collected_is_there(ending: str, tmp_path) -> None:
    run, end = ENDINGS[ending]
    text = f"""{BEGINNING}
hpacml.save_model(torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Linear(4, 1)), "m.safetensors", example=torch.zeros(3, 2))
run = {run}
run.lower(jnp.ones(100)).compile()
made = run(before(jnp.ones(100)))  # which waits for another program
print("on its way", flush=True)
{end}
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert "on its way" in done.stdout, done.stderr
    assert (done.returncode, "ValueError: the program" in done.stderr) == ((1, True) if end else (0, False))
    if ending == "a collection":
        counted = "import hpacml; print(len(hpacml.open_database('d.h5')['smooth']))"
        found = subprocess.run(
            [sys.executable, "-c", counted], capture_output=True, text=True, cwd=tmp_path, timeout=60
        )
        assert found.stdout == "100\n"
