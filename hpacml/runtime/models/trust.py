"""The list of the model files that this user has declared safe to run, by the SHA-256 of their content.

Files of most formats can run any code when they are loaded. So they are loaded only if `save_model` wrote them, if
`hpacml model trust FILE` added them, or with HPACML_TRUST_MODELS=all. A list that other users own or may write is not
used, nor is one in a folder of theirs.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import string
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from hpacml import environment, private_files
from hpacml.errors import ModelError
from hpacml.private_files import NotPrivateError, private_folder

_MOST = 1 << 26
"""The bytes of a list that is read, those of nearly a million entries."""


@dataclass(frozen=True, slots=True)
class TrustedFile:
    """The SHA-256 of a content that is trusted, and the name that its file had when it was added to the list."""

    digest: str
    name: str


def trust_file() -> Path:
    """Find the list: `$HPACML_TRUST_FILE`, else `$XDG_CONFIG_HOME/hpacml/trusted`, else `~/.config/hpacml/trusted`.

    Raises ModelError for a user without a home directory.
    """
    if chosen := environment.TRUST_FILE.text():
        return Path(chosen)
    try:
        return platformdirs.user_config_path("hpacml", appauthor=False) / "trusted"
    except RuntimeError as error:
        raise ModelError(
            f"there is no place for the list of trusted models ({error}): set HPACML_TRUST_FILE"
        ) from error


def digest(content: bytes) -> str:
    """Compute the SHA-256 by which `content` is trusted, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def entries() -> list[TrustedFile]:
    """Read the list of trusted files, oldest first, without lines that are no entries. Raises ModelError."""
    file = trust_file()
    try:
        with private_folder(file.parent) as folder:
            text = private_files.read(file.name, folder, private=True, most=_MOST).decode(errors="replace")
    except FileNotFoundError:
        return []
    except NotPrivateError as error:
        whose = "" if error.filename == file.name else f" of its folder {file.parent}"
        raise ModelError(f"the list of trusted models, {file}, is not used because{whose} {error.strerror}") from error
    except OSError as error:
        raise ModelError(f"cannot read the list of trusted models, {file}: {error.strerror}") from error
    parts = [line.split(maxsplit=1) for line in text.splitlines()]
    found = (TrustedFile(part[0].lower(), part[1] if len(part) > 1 else "") for part in parts if part)
    return [e for e in found if len(e.digest) == 64 and set(e.digest) <= set(string.hexdigits)]


def is_trusted_content(content: bytes) -> bool:
    """Tell whether a model of this content may be loaded. Raises ModelError."""
    return environment.TRUST_MODELS.is_on() or digest(content) in {e.digest for e in entries()}


def is_trusted(path: str | os.PathLike[str]) -> bool:
    """Tell whether the model file at `path`, as it is now, may be loaded. Raises ModelError."""
    return is_trusted_content(read(path))


def trust(path: str | os.PathLike[str]) -> str:
    """Trust the present content of the model file at `path`, and give its digest. Raises ModelError."""
    content = read(path)
    trust_content(content, Path(path).absolute())
    return digest(content)


def trust_content(content: bytes, path: Path) -> None:
    """Trust `content`, which is or will be that of `path`. Raises ModelError."""
    known = digest(content)
    if known in {entry.digest for entry in entries()}:
        return
    name = " ".join(str(path).split())
    file = trust_file()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            whole = size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
            line = f"{known}  {name}\n" if whole else f"\n{known}  {name}\n"
            # One write to the end of the file: the lines of several processes do not mix.
            os.write(descriptor, line.encode(errors="replace"))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ModelError(
            f"cannot add to the list of trusted models, {file}: {error.strerror}; "
            "set HPACML_TRUST_FILE to a file that can be written"
        ) from error


def require(content: bytes, path: str, kind: str) -> None:
    """Raise ModelError unless `content`, read from `path`, is trusted; `kind` says what it is."""
    if not is_trusted_content(content):
        raise ModelError(
            f"the model '{path}' is not trusted on this machine: {kind} can run any code when it is loaded. "
            f"Its SHA-256 is {digest(content)}. If you know where it comes from, run\n"
            f"    hpacml model trust {shlex.quote(path)}"
        )


def read(path: str | os.PathLike[str]) -> bytes:
    """Read the content of a model file. Raises ModelError, which says what would mend it."""
    try:
        return private_files.read(path)
    except FileNotFoundError:
        raise ModelError(
            f"the model '{Path(path).absolute()}' does not exist: train one and write it there with "
            "hpacml.save_model, or correct the path, which is relative to the current directory"
        ) from None
    except OSError as error:
        raise ModelError(f"cannot read the model '{Path(path).absolute()}': {error.strerror}") from error
