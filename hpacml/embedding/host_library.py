"""libhpacml: made of C and of the native runtime when it is first needed, for the Python that hpacml runs in."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import sysconfig
from importlib import resources
from pathlib import Path

import platformdirs

from hpacml.abi.header import header
from hpacml.abi.symbols import PYTHON_HALVES, VERSION, WITHOUT_FRAME
from hpacml.backend.llvm import Part, emit_parts
from hpacml.embedding import old_folders, processors
from hpacml.embedding.linking import run_compiler
from hpacml.errors import CompileError
from hpacml.runtime import shim
from hpacml.version import version

_BOOTSTRAP = """
import ctypes, sys
try:
    if {root!r} not in sys.path:
        sys.path.insert(0, {root!r})
    from hpacml.abi.symbols import VERSION
    if VERSION != {version}:
        raise ImportError(f"the library has version {version} of the ABI, and hpacml {{VERSION}}: build it again")
    from hpacml.embedding.embedded import start
    start(TABLE)
except BaseException as error:
    text = f"{{type(error).__name__}}: {{error}}".encode(errors="replace")[:SIZE - 1]
    ctypes.memmove(WHY, text, len(text))
"""
"""Runs in Python when it has been started, or found."""


def folder() -> Path:
    """The folder that has libhpacml and what programs need to use it, which is made if it is not there.

    It lies in the environment of this Python, or else among the user's data. Raises `CompileError` where it cannot be
    made: without a C compiler, or for a Python without a shared library.
    """
    sources = _sources()
    digest = hashlib.sha256(json.dumps([sources, shim.text(), version()]).encode()).hexdigest()[:16]
    bases = Path(sys.prefix) / "lib" / "hpacml", platformdirs.user_data_path("hpacml", appauthor=False) / "lib"
    for base in bases:
        if (base / digest).is_dir():
            old_folders.note_use(base / digest)
            return base / digest
    reason = ""
    for base in bases:
        try:
            base.mkdir(parents=True, exist_ok=True)
            with old_folders.unfinished(base) as made:
                _make(Path(made) / "made", sources, base / digest)
            old_folders.remove_old(base)
            return base / digest
        except OSError as error:
            reason = error.strerror
    raise CompileError(f"there is no place for libhpacml, neither {bases[0]} nor {bases[1]}: {reason}")


def compiler_flags() -> list[str]:
    """What a C compiler needs for programs that use libhpacml."""
    return [f"-I{folder() / 'include'}"]


def linker_flags() -> list[str]:
    """What a linker needs for programs and libraries that use libhpacml."""
    place = folder() / "lib"
    return [f"-L{place}", f"-Wl,-rpath,{place}", "-lhpacml"]


def _make(folder: Path, sources: dict[str, str], target: Path) -> None:
    """Make a folder with everything, and move it to its place."""
    for name in ("src", "include", "lib/pkgconfig", "lib/cmake/hpacml"):
        (folder / name).mkdir(parents=True)
    for name, text in sources.items():
        (folder / "src" / name).write_text(text, encoding="utf-8")
    code = shim.text()
    exports = shim.exports(code)
    baseline = processors.processor(processors.names()[0])
    (folder / "src" / "shim.o").write_bytes(emit_parts([Part(code, exports)], exports, baseline))
    run_compiler(
        [
            *("-std=gnu11", "-O2", "-fPIC", "-fvisibility=hidden", "-shared", "-Wl,-soname,libhpacml.so"),
            *("-Wl,-Bsymbolic-functions", "-o", str(folder / "lib" / "libhpacml.so")),
            *(str(folder / "src" / name) for name in ("libhpacml.c", "gpu.c", "shim.o")),
            *("-lpthread", "-ldl", "-lm"),
        ],
        "make libhpacml",
    )
    for name in ("hpacml.h", "hpacml_abi.h"):
        shutil.copy(folder / "src" / name, folder / "include")
    values = {"PREFIX": str(target), "VERSION": version(), "PYTHON": sys.executable}
    for name, place in (("hpacml.pc", "lib/pkgconfig"), ("hpacml-config.cmake", "lib/cmake/hpacml")):
        text = re.sub("@([A-Z]+)@", lambda found: values[found[1]], sources[name])
        (folder / place / name).write_text(text, encoding="utf-8")
    shutil.rmtree(folder / "src")
    try:
        folder.rename(target)
    except OSError:
        if not target.is_dir():  # else another process has made it meanwhile
            raise


def _sources() -> dict[str, str]:
    """The files from which everything is made, by name."""
    here = resources.files("hpacml.embedding")
    names = "hpacml.h", "libhpacml.h", "libhpacml.c", "gpu.c", "hpacml.pc", "hpacml-config.cmake"
    texts = {name: (here / name).read_text(encoding="utf-8") for name in names}
    return {
        **texts,
        "hpacml_abi.h": header(),
        "settings.h": _settings(),
        "halves.h": "\n".join(_half(name, k) for k, name in enumerate(PYTHON_HALVES) if name not in _NATIVE),
    }


def _settings() -> str:
    root = str(Path(__file__).resolve().parents[2])
    code = _BOOTSTRAP.format(root=root, version=VERSION)
    code = code.replace("%", "%%")
    for name, format in (("TABLE", "%ju"), ("WHY", "%ju"), ("SIZE", "%zu")):
        code = code.replace(name, format)
    settings = {
        "LIBPYTHON": str(_libpython()),
        "PROGRAM": sys.executable,
        "PYTHON_VERSION": f"{sys.version_info.major}.{sys.version_info.minor}",
        "BOOTSTRAP": f"exec({code!r}, {{}})",
    }
    lines = [f"#define HPACML_{name} {_literal(value)}" for name, value in settings.items()]
    return "\n".join(
        [*lines, f"#define HPACML_ABI_VERSION {VERSION}", f"#define HPACML_HALVES {len(PYTHON_HALVES)}", ""]
    )


def _literal(text: str) -> str:
    """A text as C has it."""
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}" for byte in os.fsencode(text)
    )
    return f'"{plain}"'


def _libpython() -> Path:
    """The shared library of this Python. Raises `CompileError` if it has none."""
    name, place = sysconfig.get_config_var("INSTSONAME"), sysconfig.get_config_var("LIBDIR")
    places = [Path(place)] if isinstance(place, str) else []
    places += [Path(sys.base_prefix) / "lib"]
    for each in places:
        if isinstance(name, str) and ".so" in name and (each / name).is_file():
            return each / name
    raise CompileError(
        f"this Python ({sys.executable}) has no shared library that programs in C could load: install one that has "
        "(Debian's libpython3, or build Python with --enable-shared)"
    )


_NATIVE = frozenset({"launch", "device_alloc", "device_free"})
"""The halves that gpu.c has in place of Python."""


def _half(name: str, number: int) -> str:
    """The C function of a Python half, which asks Python."""
    half = PYTHON_HALVES[name]
    needs_gpu = int(name != "no_memory" and f"hpacml_{name}" not in WITHOUT_FRAME)
    given = [each.strip() for each in half.prototype.partition("(")[2].removesuffix(")").split(",")]
    types = ", ".join(given)
    names = ", ".join(half.parameters)
    return (
        f"int32_t hpacml_py_{name}({types}) {{\n"
        f"    int32_t (*function)({types}) = half({number}, {needs_gpu});\n"
        f"    return function == NULL ? 0 : function({names});\n"
        "}"
    )
