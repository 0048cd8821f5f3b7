"""The kernels that a file of Python defines, for tools that are given the file."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard, cast

from hpacml.errors import CompileError, HpacmlError
from hpacml.frontend.kernel import Kernel


def kernels_of_file(path: Path) -> dict[str, Kernel[..., object]]:
    """The kernels that a file defines by their names in it, in its order, without those that it imports.

    The file is run as a module, of its package if it is in one. Raises `CompileError` if it cannot be run or defines
    no kernels.
    """
    if not path.is_file():
        raise CompileError(f"there is no file {path}")
    module = _imported(path)
    kernels: dict[str, Kernel[..., object]] = {}
    for name, found in vars(module).items():
        if _is_kernel_of(found, module) and found not in kernels.values():
            kernels[name] = found
    if not kernels:
        raise CompileError(f"{path} defines no kernels: put @hpacml.kernel above the functions to compile")
    return kernels


def _is_kernel_of(found: object, module: ModuleType) -> TypeGuard[Kernel[..., object]]:
    return isinstance(found, Kernel) and cast("Kernel[..., object]", found).function.__module__ == module.__name__


def _imported(path: Path) -> ModuleType:
    """The module of a file. Raises `CompileError` for all that is no error of hpacml, with its line in the file."""
    try:
        return _module(path.resolve())
    except HpacmlError:
        raise
    except (Exception, SystemExit) as error:  # a script may end, which must not end a tool as if all were done
        raise CompileError(f"cannot import {path}: {_place(path, error)}{type(error).__name__}: {error}") from error


def _module(path: Path) -> ModuleType:
    """Run a file. The program's own module of its name stays what others import."""
    root, name = _name(path)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))  # as for a program: files beside it can be imported, also later
    if package := name.rpartition(".")[0]:
        importlib.import_module(package)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CompileError(f"cannot import {path}: its name does not end in .py")
    before = sys.modules.get(name)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    finally:
        if before is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = before
    return module


def _name(path: Path) -> tuple[Path, str]:
    """The folder from which a file is imported, and by which name."""
    root, parts = path.parent, [path.stem]
    while (root / "__init__.py").is_file():
        root, parts = root.parent, [root.name, *parts]
    return root, ".".join(parts)


def _place(path: Path, error: BaseException) -> str:
    """The line of a file that raised an error, such as `heat.py:3: `, or nothing."""
    frames: Any = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path.resolve())]
    return f"{path.name}:{lines[-1]}: " if lines else ""
