"""A notebook about the example: `marimo edit examples/stencil_dsl/notebook.py`."""

import marimo

app = marimo.App()


@app.cell
def _():
    import contextlib
    import tempfile
    from pathlib import Path

    import marimo as mo
    import matplotlib.pyplot as plt
    import numpy as np

    import hpacml
    from examples.stencil_dsl import compiler, reference

    folder = Path(tempfile.mkdtemp())
    return Path, compiler, contextlib, folder, hpacml, mo, np, plt, reference


@app.cell
def _(mo):
    mo.md("""
    # A compiler with surrogates

    The user of this language writes what a step does at each point. The compiler makes operations of xDSL's `stencil`
    of it, and a region of hpacml around them: then each step can be collected, and a model can take its place.
    """)


@app.cell
def _(Path, compiler, mo):
    path = Path(compiler.__file__).with_name("gray_scott.stencil")
    simulate = compiler.Simulation(path)
    mo.md(f"```\n{path.read_text()}```")
    return path, simulate


@app.cell
def _(mo):
    mo.md("""
    What a step reads is in the program, and so are the features of a surrogate: fields with the offsets of neighbours,
    and parameters. The compiler gives both to `map_to` of `hpacml.ir`, and what the step writes to `map_from`.
    """)


@app.cell
def _(simulate):
    features = [f"{field}{list(offset)}" for field, offset in simulate.program.accesses] + simulate.program.params
    features


@app.cell
def _(compiler, mo, simulate):
    ir = str(compiler.module(simulate.program, (8, 8)))
    bridge = "\n".join(line.strip() for line in ir.splitlines() if "hpacml." in line)
    mo.md(f"These operations of hpacml are in the module for 8 x 8 points:\n\n```mlir\n{bridge}\n```")
    return (bridge,)


@app.cell
def _(mo):
    mo.md("The original code has the results of NumPy to the last bit:")


@app.cell
def _(np, reference, simulate):
    start = reference.spots(40, seed=100)
    params = {"feed": 0.04, "kill": 0.06}
    accurate = simulate(*start, steps=60, **params)
    equals_numpy = all(map(np.array_equal, accurate, reference.gray_scott(*start, 60, **params)))
    equals_numpy
    return accurate, equals_numpy, params, start


@app.cell
def _(mo):
    mo.md("Now each step goes to a database, of which a network is trained, and then the network makes the steps:")


@app.cell
def _(contextlib, folder, hpacml, path, reference, simulate):
    with contextlib.chdir(folder):
        for seed in range(8):
            fields, seen = reference.spots(40, seed), {"feed": 0.03 + 0.002 * seed, "kill": 0.058 + 0.002 * (seed % 3)}
            for _ in range(4):
                simulate(*fields, steps=2, mode="collect", **seen)
                fields = simulate(*fields, steps=15, **seen)
        hpacml.flush()
        trained = hpacml.train("gray_scott.h5", config=path.with_name("train.yaml"), out="gray_scott.pt2")
    return (trained,)


@app.cell
def _(accurate, contextlib, folder, params, plt, simulate, start, trained):
    assert trained is not None
    with contextlib.chdir(folder):
        surrogate = simulate(*start, steps=60, mode="infer", **params)
    figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
    shown = {"start": start, "accurate": accurate, "surrogate": surrogate}
    for axis, (title, (_, v)) in zip(axes, shown.items(), strict=True):
        axis.imshow(v, vmin=0, vmax=0.5)
        axis.set(title=title, xticks=[], yticks=[])
    figure
    return (surrogate,)


@app.cell
def _(mo):
    mo.md("A program that is wrong is told of at its place, as all operations have one:")


@app.cell
def _(compiler, folder, hpacml, mo, path):
    wrong = folder / "wrong.stencil"
    wrong.write_text(path.read_text().replace("u[1, 0]", "w[1, 0]"))
    try:
        compiler.Simulation(wrong)
    except hpacml.HpacmlError as error:
        message = str(error)
    mo.md(f"```\n{message}\n```")
    return (message,)


if __name__ == "__main__":
    app.run()
