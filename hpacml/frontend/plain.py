"""Directives of a kernel that runs as plain Python, where they do nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from hpacml.clauses import OnError


def approx(directive: str, *, unchecked: bool = False, on_error: OnError | None = None) -> AbstractContextManager[None]:
    """A directive in a kernel (paper, section III-C): a statement, or `with approx("ml(...)"):` around its region.

    Compiled code does what the directive says; compiling raises `DirectiveError` if it cannot be parsed. In plain
    Python nothing happens, and the region's body runs.

    A map uses the values that its names have where the map stands. With `unchecked`, the indices of indirect targets
    (`x[idx[0:n]]`) in this directive are trusted: a wrong index reads or writes memory outside of the array, and any
    of the values may remain where indices of an output repeat. `on_error` says what a region does if its model fails:
    "raise" raises an error; "accurate" runs the body instead, counts the failure (`hpacml.fallbacks()`), and logs a
    warning the first time. Without it the environment variable HPACML_ON_ERROR decides, else it is "raise".

    The clauses of `ml`:

    - `in`, `out`, `inout`: the model takes the tensors of `in`, then those of `inout`, and returns those of `out`, then
      those of `inout`. The database has them in the same order. An item is a functor in place, a named map, or an
      array that has a `tensor map`. A map of several arrays is one tensor; one or all of the arrays name it. A name
      that could mean several maps is an error, and so is a name that is given twice.
    - `model`, `database`: a path in quotes, or a parameter. Without the clause, or if the parameter is None, the
      environment variable SURROGATE_MODEL or HPAC_DB_FILE gives the path. Every mode allows both clauses, although
      `infer` ignores the database and `collect` the model, so that a change of the mode changes one word.
    - `if`: allowed in any mode. If it is false, the condition of `predicated` is not evaluated, and maps that stand
      before the region for it alone need not fit.
    - `label`: the group of the database, by default the name of the function; only one region of a function can
      collect under the default. Regions with the same label share the group, which refuses maps that differ, and of
      regions without a label those of other functions.
    - `batch`, `batch(k)`: allowed in any mode. Rows (dimension 0) are independent, so the model may run on some of
      them at a time, or on k.
    - `sample`: which calls collect. sample(every: 10, fraction: 0.5, seed: 42, most: 1000) takes the first call and
      each 10th after it; of these a half, by random numbers from the seed (0 by default); of these the first 1000.
      Each key may be left out. Other calls only run the body. Each process counts its own calls, for each label and
      database, in all threads together. Ranks and child processes pick other calls from the same seed. Regions
      without the clause take the text in the parentheses from the environment variable HPACML_SAMPLE when they are
      compiled.
    - `units`: the units of arrays, as in units(t: "K", v: "m/s"), allowed in any mode. The database records them, and
      refuses calls with other units.
    - `meta`: numbers of each call, as in meta(step: n, t: n * dt), allowed in any mode. The database has them as
      float64, as they are before the body runs.
    - `truth`: what is collected in place of the outputs, a map for each and of as many dimensions, allowed in any mode.
      It is gathered after the body.
    - `guard`: at which points the model may be used, by its domain (range, margin: m, distance: d), by a condition
      (where: t > 5), or by its last output (below: u); the original code makes the others. `pointwise` says that it
      makes any points alone.
    - `verify`: verify(every: 100, tolerance: 0.01) compares the model with the original code in each 100th inference.
    - `clip`, `project`: bounds of outputs, as in clip(y: 0:1), and a function of the program that changes them. For
      all four see docs/guards.md.
    """
    return nullcontext()


def prange(*bounds: int) -> range:
    """A `range` whose iterations do not depend on each other. Compiled code may run them in any order."""
    return range(*bounds)
