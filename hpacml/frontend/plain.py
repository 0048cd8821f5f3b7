"""The directives of a kernel that runs as plain Python: they do nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from hpacml.clauses import OnError


def approx(directive: str, *, unchecked: bool = False, on_error: OnError | None = None) -> AbstractContextManager[None]:
    """A directive in a kernel: a statement, or `with approx("ml(...)"):` around the region it is about.

    Compiled code does what the directive says. In plain Python nothing happens, and the region's body runs.

    A map takes the numbers and arrays that its names stand for where the map stands. With `unchecked`, the indices of
    indirect targets (`x[idx[0:n]]`) in this directive are trusted: a wrong one reads or writes memory that is not the
    array's, and where they repeat in an output it is open which value stays. `on_error` of a region says what follows
    a model that fails: "raise" an error, or "accurate", which runs the region's body instead, counts that
    (`hpacml.fallbacks()`), and logs a warning the first time; without it the environment variable HPACML_ON_ERROR
    says so, else it is "raise". The clauses of `ml`:

    - `in`, `out`, `inout`: the model gets the tensors of `in`, then those of `inout`, and returns those of `out`, then
      those of `inout`; so they are recorded, too. An item is a functor in place, a named map, or an array that has a
      `tensor map`. If that is of several arrays it is still one tensor, which one or all of them name. A name that
      could mean several maps is an error, and so is one that is given twice.
    - `model`, `database`: a path in quotes, or a parameter; without the clause, or if the parameter is None, the
      environment variable SURROGATE_MODEL or HPAC_DB_FILE. Both may be given in every mode: `infer` only uses the
      one, `collect` only the other, so that going from one mode to another changes one word.
    - `if`: of any mode. Where it is false, neither the condition of `predicated` nor a map that stands before the
      region for it alone needs to make sense.
    - `label`: else the function's name, under which only one region of a function can collect. Regions that share
      a label share a group of the database, which refuses maps that differ.
    - `batch`: of any mode; it only tells how the model may be run.
    - `sample`: which of the calls that would collect are collected, as in sample(every: 10, fraction: 0.5, seed: 42,
      most: 1000): the first and each 10th after it; of these a half, which random numbers from the seed pick (without
      `seed` from 0); of these the first 1000. Any of the keys may be left out. In all other calls only the body runs.
      Each process counts for itself, for each label and database, in all threads together. Ranks and child processes
      pick other calls from the same seed. Regions without the clause take it from the environment variable
      HPACML_SAMPLE, which holds what would stand in the parentheses, when they are compiled.
    - `units`: those of arrays, as in units(t: "K", v: "m/s"), of any mode; they are recorded in the database, which
      refuses calls with other units.
    """
    return nullcontext()


def prange(*bounds: int) -> range:
    """`range` whose iterations do not depend on each other: compiled code may run them in any order."""
    return range(*bounds)
