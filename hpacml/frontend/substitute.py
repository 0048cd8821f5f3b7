"""The Python body of a region on other arrays than those of the call: on copies, or on those of some points."""

from __future__ import annotations

import ctypes
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hpacml.errors import DirectiveError, MapError
from hpacml.frontend.body import Outputs
from hpacml.frontend.region_plan import Plan
from hpacml.runtime.arrays.changes import require_in_place
from hpacml.runtime.arrays.copies import copies_of, copy_of, keep, sharing, write
from hpacml.runtime.arrays.views import ArrayView


class Substitute:
    """The body of a call, in which arrays and sizes stand for those that were given."""

    def __init__(
        self,
        body: Callable[..., object],
        given: Callable[[], inspect.BoundArguments],
        outputs: Outputs,
        plan: Plan,
        values: Mapping[str, object],
        views: Sequence[ArrayView],
    ):
        self._body, self._given, self._outputs, self._values = body, given, outputs, values
        self._names, self._written, self._views = plan.arrays, plan.written, views
        self._sizes = [str(each) for each in plan.sizes]
        self._attributes = {name: values[name] for name in plan.arrays if "." in name and name not in plan.single}

    def __call__(self, views: Sequence[ArrayView], sizes: int) -> None:
        """Run the body on arrays of its own, which it may keep, and write to `views` what it makes of outputs.

        Where the views have the sizes of the arrays of the call, the body gets copies of these; else it gets what is in
        the views, and copies of arrays of no map. Copies are of the kinds of the arrays (`copy_of`). What is
        the call's own memory, as a number is, stays the object that was given. Arrays that are attributes stay, too,
        and become again what they were. `sizes` is the address of the sizes, 64-bit integers. Raises `DirectiveError`
        for attributes of some points, and `MapError` for outputs that are given other memory or sizes.
        """
        views = [replace(view, device=given.device) for view, given in zip(views, self._views, strict=True)]
        arguments = self._given()
        others = _collected(arguments)
        arrays = self._arrays(views, {where: collection[key] for where, (collection, key) in others.items()})
        numbers = (ctypes.c_int64 * len(self._sizes)).from_address(sizes) if self._sizes else ()
        for where in others.keys() & arrays.keys():
            collection, key = others[where]
            collection[key] = arrays[where]
        own = {name: array for name, array in arrays.items() if name not in others}
        arguments.arguments.update({**own, **dict(zip(self._sizes, numbers, strict=True))})
        restore = keep(self._attributes)
        try:
            self._run(arguments, arrays)
            made = {**self._attributes, **arrays}
            for position in self._written:
                name = self._names[position]
                self._take(views[position], name, made[name])
        finally:
            restore()

    def _arrays(self, views: Sequence[ArrayView], collected: Mapping[str, object]) -> dict[str, Any]:
        """The arrays that stand for arguments, and for those `collected` by `*` and `**`."""
        arguments = {name: value for name, value in self._values.items() if "." not in name} | {**collected}
        pairs = list(zip(self._names, views, self._views, strict=True))
        if all(view.shape == given.shape for _, view, given in pairs):
            return copies_of(arguments)
        if self._attributes:
            raise DirectiveError(
                f"a guard has the body of {self._outputs.region} make some points, and it cannot be given another "
                f"array in the place of '{next(iter(self._attributes))}', which is an attribute: make it a parameter "
                "of the function"
            )
        self._require_apart(arguments)
        copies = copies_of({name: value for name, value in arguments.items() if name not in self._names})
        own = {name: copy_of(self._values[name], view) for name, view, given in pairs if not _is_same(view, given)}
        return copies | own

    def _require_apart(self, arguments: Mapping[str, object]) -> None:
        """Raise `MapError` for arrays of no map that share memory with outputs, whose place others take."""
        outputs = {self._names[k] for k in self._written}
        for group in sharing(arguments):
            others = [name for name in group if name not in self._names]
            if others and (written := sorted(outputs.intersection(group))):
                raise MapError(
                    f"argument '{others[0]}' shares memory with '{written[0]}', an output of {self._outputs.region}, "
                    "whose body is given arrays of some points: leave the clause 'pointwise' out, and it runs on all"
                )

    def _run(self, arguments: inspect.BoundArguments, arrays: Mapping[str, Any]) -> None:
        try:
            given = {name: self._values[name] for k in self._written if (name := self._names[k]) in arrays}
            with self._outputs.watched({**self._attributes, **arrays}, given):
                self._body(*arguments.args, **arguments.kwargs)
        except Exception as error:
            shapes = ", ".join(f"'{name}' of shape {tuple(array.shape)}" for name, array in arrays.items())
            error.add_note(
                f"A guard or a check had the body of {self._outputs.region} run, with other arrays: {shapes}."
            )
            raise
        if self._attributes:
            self._outputs.require_same(self._values)
            own = [(n, v) for n, v in zip(self._names, self._views, strict=True) if n in self._attributes]
            require_in_place([n for n, _ in own], [v for _, v in own], f"the original code of {self._outputs.region}")

    def _take(self, view: ArrayView, name: str, made: Any) -> None:
        if tuple(made.shape) != view.shape:
            raise MapError(
                f"the original code of {self._outputs.region} has given the array '{name}' the shape "
                f"{list(made.shape)} in the place of {list(view.shape)}: write into it, such as {name}[...] = ..."
            )
        write(view, made)


def _is_same(view: ArrayView, other: ArrayView) -> bool:
    return (view.address, view.shape) == (other.address, other.shape)


def _collected(arguments: inspect.BoundArguments) -> dict[str, tuple[Any, Any]]:
    """What parameters with `*` and `**` have: for messages `more[0]`, and its collection, which is a copy, and key."""
    found: dict[str, tuple[Any, Any]] = {}
    for name, value in arguments.arguments.items():
        kind = arguments.signature.parameters[name].kind
        if kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            continue
        is_tuple = kind is inspect.Parameter.VAR_POSITIONAL
        collection = arguments.arguments[name] = [*value] if is_tuple else {**value}
        found |= {f"{name}[{key!r}]": (collection, key) for key in (range(len(value)) if is_tuple else value)}
    return found
