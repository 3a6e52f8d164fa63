"""The catalogue of texts is whole: every text that is used is there, and every one that is there is used."""

import ast
import re
from importlib.resources import files
from pathlib import Path

from tests import ROOT
from upnp_gw.page.rendering import Texts, toml_lines

PACKAGE = ROOT / "upnp_gw" / "page"
TEMPLATES = sorted((PACKAGE / "templates").glob("*.html"))
MODULES = sorted(PACKAGE.glob("*.py"))
USED = re.compile(r"""\bt(?:\.count)?\(\s*"([\w.-]+)"(\s*~)?""")
CHOSEN = re.compile(r"""\bt\("([\w.-]+)" if [\w.]+ else "([\w.-]+)"\)""")
"""One of two texts."""
PLURAL = re.compile(r"(.*)\.(one|other)")


def used() -> tuple[set[str], set[str]]:
    """Whole keys, and beginnings of keys that a value completes."""
    whole: set[str] = set()
    begun: set[str] = set()
    for path in TEMPLATES:
        for key, more in USED.findall(path.read_text("utf-8")):
            (begun if more else whole).add(key)
        for pair in CHOSEN.findall(path.read_text("utf-8")):
            whole.update(pair)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func).startswith(("self._texts", "texts"))
                and node.args
            ):
                match node.args[0]:
                    case ast.Constant(value=str(key)):
                        whole.add(key)
                    case ast.JoinedStr(values=[ast.Constant(value=str(key)), *_]):
                        begun.add(key)
                    case ast.Name(id="key"):
                        begun.add("done.")
    return whole, begun


def test_every_text_that_is_used_is_in_the_catalogue_and_every_other_way() -> None:
    whole, begun = used()
    keys = {match[1] if (match := PLURAL.fullmatch(key)) else key for key in Texts().by_key}
    assert whole <= keys, whole - keys
    assert len(whole) > 150
    unused = {key for key in keys - whole if not key.startswith(tuple(begun))}
    assert unused == set()
    for beginning in begun:
        assert any(key.startswith(beginning) for key in keys), beginning


def test_every_plural_has_both_forms() -> None:
    keys = set(Texts().by_key)
    plurals = {match[1] for key in keys if (match := PLURAL.fullmatch(key))}
    assert all({f"{key}.one", f"{key}.other"} <= keys for key in plurals)
    assert Texts().count("nav.waiting", 1) == "1 question waits"
    assert Texts().count("nav.waiting", 1234) == "1,234 questions wait"


def test_no_template_has_words_of_its_own() -> None:
    """Only names of this program, of protocols and of commands stand in a template."""
    known = {
        "lan",
        "alone",
        "upnp-gw",
        "upnp-gw open",
        "upnp-gw policy suggest",
        "TOML",
        "×",
        "→",
        "·",
        "–",
        "≠",
        "+",
        "/",
    }
    for path in TEMPLATES:
        text = re.sub(r"{%.*?%}|{{.*?}}|{#.*?#}", "\n", path.read_text("utf-8"), flags=re.DOTALL)
        words = re.sub(r"<[^>]*>", "\n", text)
        found = {word.strip(" ·:,;.()×→+≠/–") for word in words.split("\n")} - {""}
        assert {word for word in found if re.search(r"[A-Za-z]{2,}", word)} <= known, path.name


def test_lines_of_toml_are_told_apart() -> None:
    assert list(toml_lines('# a\n[x]\nname = "a=b"\n  22,\n')) == [
        ("comment", "", "# a"),
        ("table", "", "[x]"),
        ("key", "name ", '= "a=b"'),
        ("plain", "", "  22,"),
    ]
    assert "\u202e" not in "".join(part for line in toml_lines("# \u202e") for part in line)


def test_the_files_of_the_page_are_in_the_package() -> None:
    package = files("upnp_gw.page")
    assert {path.name for path in (package / "static").iterdir()} == {"style.css", "page.js", "icon.svg"}
    assert Path(str(package / "texts" / "en.toml")).exists()
