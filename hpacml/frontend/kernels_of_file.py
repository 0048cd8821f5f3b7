"""The kernels that a file of Python defines."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import partial
from pathlib import Path
from typing import TypeGuard, cast

from hpacml.errors import CompileError
from hpacml.frontend.kernel import Kernel


def kernels_of_file(path: Path) -> list[Kernel[..., object]]:
    """The kernels that a file defines, in its order, without those that it imports. The file is run, as a module.

    Raises `CompileError` if it cannot be run, or defines none.
    """
    if not path.is_file():
        raise CompileError(f"there is no file {path}")
    path = path.resolve()
    root, name = _name(path)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))  # as for a program: files beside it can be imported, also later
    kernels = [*filter(partial(_is_defined_in, name), vars(_module(path, name)).values())]
    if not kernels:
        raise CompileError(f"{path} defines no kernels: put @hpacml.kernel above the functions to build")
    return [*dict.fromkeys(kernels)]


def _is_defined_in(module: str, found: object) -> TypeGuard[Kernel[..., object]]:
    return isinstance(found, Kernel) and cast("Kernel[..., object]", found).function.__module__ == module


def _name(path: Path) -> tuple[Path, str]:
    """The folder from which a file is imported, and by which name."""
    root, parts = path.parent, [path.stem]
    while (root / "__init__.py").is_file():
        root, parts = root.parent, [root.name, *parts]
    return root, ".".join(parts)


def _module(path: Path, name: str) -> object:
    """The module that a file is. The program's own of that name stays what others import."""
    if package := name.rpartition(".")[0]:
        try:
            importlib.import_module(package)
        except Exception as error:
            raise _failed(path, error) from error
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CompileError(f"{path} is no file of Python")
    before = sys.modules.get(name)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except CompileError:
        raise
    except Exception as error:
        raise _failed(path, error) from error
    finally:
        if before is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = before
    return module


def _failed(path: Path, error: Exception) -> CompileError:
    return CompileError(f"{path} cannot be run: {type(error).__name__}: {error}")
