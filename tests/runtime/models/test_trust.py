"""The list of trusted models."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

from hpacml.errors import ModelError
from hpacml.runtime.models import trust


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.pt2"
    path.write_bytes(b"content")
    return path


def test_trust_is_of_the_content(model: Path, tmp_path: Path):
    assert not trust.is_trusted(model)
    assert trust.trust(model) == hashlib.sha256(b"content").hexdigest()
    assert trust.is_trusted(model)
    copy = tmp_path / "elsewhere.pt2"
    copy.write_bytes(b"content")
    assert trust.is_trusted(copy)
    model.write_bytes(b"other content")
    assert not trust.is_trusted(model)


def test_the_file_has_a_line_per_content_and_is_private(model: Path):
    trust.trust(model)
    trust.trust(model)
    file = trust.trust_file()
    assert file.read_text() == f"{trust.digest(b'content')}  {model}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert trust.entries() == [trust.TrustedFile(trust.digest(b"content"), str(model))]


def test_reading_is_tolerant(model: Path):
    known = trust.digest(b"content")
    trust.trust_file().write_bytes(b"\n# a comment\nabc m.pt2\n\xff\xfe\n" + known.upper().encode())
    assert trust.entries() == [trust.TrustedFile(known, "")]
    assert trust.is_trusted(model)


def test_appending_mends_a_torn_last_line(model: Path):
    trust.trust_file().write_text("a torn line")
    trust.trust(model)
    assert trust.trust_file().read_text().splitlines()[0] == "a torn line"
    assert trust.is_trusted(model)


def test_a_name_is_one_line(tmp_path: Path):
    path = tmp_path / "a\nb.pt2"
    path.write_bytes(b"content")
    trust.trust(path)
    assert [entry.name for entry in trust.entries()] == [str(tmp_path / "a b.pt2")]


def test_the_place_of_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert trust.trust_file() == tmp_path / "trusted"
    monkeypatch.delenv("HPACML_TRUST_FILE")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert trust.trust_file() == tmp_path / "config" / "hpacml" / "trusted"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert trust.trust_file() == tmp_path / ".config" / "hpacml" / "trusted"


@pytest.mark.parametrize("configuration", ["", "relative", "~/configuration"])
def test_a_folder_of_configurations_that_is_no_absolute_path_is_passed_over(
    configuration: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("HPACML_TRUST_FILE")
    monkeypatch.setenv("XDG_CONFIG_HOME", configuration)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert trust.trust_file() == tmp_path / ".config" / "hpacml" / "trusted"


def test_a_user_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def nobody(user: int) -> None:
        raise KeyError(user)

    for name in ("HOME", "HPACML_TRUST_FILE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(
        ModelError, match=r"there is no place for the list of trusted models \(.*\): set HPACML_TRUST_FILE"
    ):
        trust.trust_file()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert trust.trust_file() == tmp_path / "hpacml" / "trusted"


def test_the_directory_of_the_list_is_made(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HPACML_TRUST_FILE", str(tmp_path / "a" / "b" / "trusted"))
    trust.trust(model)
    assert trust.is_trusted(model)


def test_all_may_be_trusted(model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HPACML_TRUST_MODELS", "1")
    assert not trust.is_trusted(model)
    monkeypatch.setenv("HPACML_TRUST_MODELS", "all")
    assert trust.is_trusted(model)


def test_a_list_that_cannot_be_used(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HPACML_TRUST_FILE", str(tmp_path))
    with pytest.raises(ModelError, match=f"cannot read the list of trusted models, {tmp_path}: Is a directory"):
        trust.is_trusted(model)
    monkeypatch.setenv("HPACML_TRUST_FILE", str(model / "trusted"))
    with pytest.raises(ModelError, match=r"cannot read the list of trusted models, .*: Not a directory"):
        trust.trust(model)
    monkeypatch.setenv("HPACML_TRUST_FILE", "/proc/hpacml/trusted")
    with pytest.raises(ModelError, match=r"cannot add to .*/proc/hpacml/trusted: .*; set HPACML_TRUST_FILE to"):
        trust.trust(model)


def test_a_model_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(ModelError, match=rf"the model '{tmp_path}/none.pt2' does not exist: .*hpacml\.save_model"):
        trust.trust(tmp_path / "none.pt2")
    with pytest.raises(ModelError, match=f"cannot read the model '{tmp_path}': Is a directory"):
        trust.is_trusted(tmp_path)


def test_require_tells_digest_and_command(model: Path):
    with pytest.raises(ModelError) as error:
        trust.require(b"content", str(model), "TorchScript")
    assert str(error.value) == (
        f"the model '{model}' is not trusted on this machine: TorchScript can run any code when it is loaded. "
        f"Its SHA-256 is {trust.digest(b'content')}. If you know where it comes from, run\n"
        f"    hpacml model trust {model}"
    )


def test_the_command_can_be_pasted():
    with pytest.raises(ModelError, match=r"hpacml model trust '/a b/m\.pt2'$"):
        trust.require(b"content", "/a b/m.pt2", "TorchScript")
