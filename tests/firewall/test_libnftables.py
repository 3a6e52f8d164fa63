"""The choice of libnftables: the distribution's Python bindings if they are installed, else our loader."""

from pathlib import Path

import pytest

from upnp_gw.firewall import libnftables as library
from upnp_gw.model.errors import FirewallError

PACKAGE = "from .nftables import *\n"
BINDINGS = """
class Nftables:
    def cmd(self, cmdline):
        return 0, cmdline.upper(), ""

    def set_json_output(self, val):
        pass
"""


def placed(directory: Path, text: str) -> str:
    package = directory / "nftables"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PACKAGE)
    (package / "nftables.py").write_text(text)
    return str(directory)


def test_the_bindings_are_found_where_the_distribution_puts_them(tmp_path: Path) -> None:
    found = library.find_bindings([str(tmp_path / "none"), placed(tmp_path / "dist-packages", BINDINGS)])
    assert found is not None
    assert found.Nftables().cmd("list tables") == (0, "LIST TABLES", "")


def test_bindings_that_cannot_be_loaded_are_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = placed(tmp_path / "broken", "raise RuntimeError('of another Python')\n")
    assert library.find_bindings([broken]) is None
    assert f"the nftables Python bindings in {broken} cannot be used: RuntimeError" in caplog.text
    assert library.find_bindings([broken, placed(tmp_path / "good", BINDINGS)]) is not None


def test_without_bindings_our_loader_is_used_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_bindings", lambda: None)
    assert isinstance(library.load_library(), library.LoadedLibrary)
    assert library.describe_library() == library.LOADER


class Odd:
    """A library whose answer is no JSON, or no UTF-8 (Python's bindings decode it)."""

    def cmd(self, cmdline: str) -> tuple[int, str, str]:
        return 0, b"\xff".decode() if "utf8" in cmdline else '{"nftables": [', ""

    def set_json_output(self, val: bool) -> None:
        pass


@pytest.mark.parametrize("table", ["utf8", "json"])
def test_a_listing_that_cannot_be_read_is_refused(table: str) -> None:
    """A comment of another program can be any bytes."""
    session = library.Session(Odd())
    for ask in (session.query, session.text) if table == "utf8" else (session.query,):
        with pytest.raises(FirewallError, match="cannot be read"):
            ask(f"list table ip {table}")


@pytest.mark.lab
def test_on_this_machine_the_distributions_are_used() -> None:
    assert "/nftables/__init__.py" in library.describe_library()
    assert not isinstance(library.load_library(), library.LoadedLibrary)
