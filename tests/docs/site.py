"""Builds the site: ``python -m tests.docs.site OUTPUT`` in the environment that docs/build.sh makes.

With ``--read`` Sphinx reads all pages and makes no HTML of them: half the time, and the same warnings.

The pages are copied below OUTPUT-source with the paths of the site, and Sphinx makes HTML of them. Links between
pages and to files of the checkout are rewritten to these paths. A link that leads nowhere, a page outside the
navigation and each warning of Sphinx end the build.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from posixpath import relpath
from urllib.parse import unquote, urlsplit

from tests.docs.navigation import INDEX, RECORDS, ROOT, Row, every_page, records, sections

RENAMED = {"README.md": "index.md", INDEX: "pages.md", RECORDS: "decisions/index.md"}
"""Page -> its place in the site, where that is neither its path below docs/ nor its name in lower case."""

ORPHAN = "---\norphan: true\n---\n\n"
"""Before a page that the list of the decisions leads to, and the navigation does not: with fifty records in it, the
build takes half as long again."""
ELSEWHERE = re.compile(r"[a-z]+:|#")
"""The beginning of a link to another site, or to this page."""
_FENCE = re.compile(r"^( *)(`{3,}).*?^\1\2 *$", re.S | re.M)
_SPAN = re.compile(r"(?<!`)`[^`\n]+`(?!`)")
_TARGET = re.compile(r"\]\(([^)\s]+)\)")
_DIRECTORY = re.compile(r"\[([^\[\]]*)\]\(([^)\s]+)\)")
_COMMENT = re.compile(r"^ *<!--.*?-->\n", re.S | re.M)
_HOLD = "\x00{}\x00"
_HELD = re.compile(r"\x00(\d+)\x00")


class BrokenLink(Exception):
    """A link of a page leads nowhere. The text names both."""


def place_of(page: str) -> str:
    """The path of a page in the site."""
    name = page.removeprefix("docs/")
    return RENAMED.get(page) or (name if "/" in page else name.lower())


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """The text, changed outside its code."""
    held: list[str] = []

    def hold(match: re.Match[str]) -> str:
        held.append(match[0])
        return _HOLD.format(len(held) - 1)

    changed = change(_SPAN.sub(hold, _FENCE.sub(hold, text)))
    while _HELD.search(changed):
        changed = _HELD.sub(lambda match: held[int(match[1])], changed)
    return changed


def prepared(page: str, text: str, files: set[str], root: Path = ROOT) -> str:
    """The text of a page for the site. Adds the files of the checkout that it leads to. Raises BrokenLink."""

    directory = (root / page).parent

    def without_directory(match: re.Match[str]) -> str:
        return match[1] if not ELSEWHERE.match(match[2]) and (directory / match[2]).is_dir() else match[0]

    def link(match: re.Match[str]) -> str:
        target = match[1]
        if ELSEWHERE.match(target):
            return match[0]
        path, _, fragment = target.partition("#")
        there = directory / path
        if not there.is_file():
            raise BrokenLink(f"{page}: {target}")
        name = there.resolve().relative_to(root.resolve()).as_posix()
        if name.endswith(".md"):
            place = place_of(name)
        else:
            files.add(name)
            place = f"files/{name}"
        near = relpath(place, str(Path(place_of(page)).parent))
        return f"]({near}{'#' + fragment if fragment else ''})"

    return outside_code(
        text, lambda part: _TARGET.sub(link, _DIRECTORY.sub(without_directory, _COMMENT.sub("", part)))
    )


def stage(source: Path, root: Path = ROOT) -> None:
    """Copies every page, and each file that a page leads to."""
    shutil.rmtree(source, ignore_errors=True)
    files: set[str] = set()
    alone = {row.page for row in records(root)}
    for page in every_page(root):
        text = prepared(page, (root / page).read_text("utf-8"), files, root)
        if page == "README.md":
            text += "".join(tree(section.pages, section.title) for section in sections(root))
        elif page in alone:
            text = f"{ORPHAN}{text}"
        target = source / place_of(page)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
    for name in files:
        target = source / "files" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, target)


def tree(rows: tuple[Row, ...], caption: str) -> str:
    """A hidden toctree, from which Sphinx makes the navigation."""
    places = [(title, place_of(page).removesuffix(".md")) for title, page in rows]
    lines = [f"{title} <{'self' if place == 'index' else place}>" for title, place in places]
    head = ["", "```{toctree}", ":hidden:", f":caption: {caption}", ""]
    return "\n".join([*head, *lines, "```", ""])


LOADING = frozenset({"script", "img", "iframe", "source", "object", "embed", "video", "audio"})
_FROM_CSS = re.compile(r"(?:url\(|@import)\s*[\"']?\s*(?:https?:)?//[^\s\"')]+")


class Page(HTMLParser):
    """The links and the anchors of an HTML file. ``loads``: all that a browser fetches without a click."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := values.get(name))}
        found = {value for name in ("href", "src", "data") if (value := values.get(name))}
        self.links |= found
        if tag in LOADING or (tag == "link" and values.get("rel") not in ("index", "search", "next", "prev")):
            self.loads |= found


def foreign_loads(output: Path) -> list[str]:
    """All that the site would fetch from elsewhere while somebody reads it."""
    found = [
        f"{path.relative_to(output)}: {target}"
        for path in sorted(output.rglob("*.html"))
        for target in sorted(Page(path.read_text("utf-8")).loads)
        if (parts := urlsplit(target)).netloc or parts.scheme in ("http", "https")
    ]
    styles = [path for path in sorted(output.rglob("*")) if path.suffix in (".css", ".svg")]
    return found + [
        f"{path.relative_to(output)}: {target}"
        for path in styles
        for target in _FROM_CSS.findall(path.read_text("utf-8"))
    ]


def broken_links(output: Path) -> list[str]:
    """Links of the site that lead nowhere."""
    pages = {path.resolve(): Page(path.read_text("utf-8")) for path in output.rglob("*.html")}
    found = []
    for path, page in pages.items():
        for target in sorted(page.links):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            missing = not there.is_file() or (anchor and there in pages and anchor not in pages[there].anchors)
            if missing:
                found.append(f"{path.relative_to(output.resolve())}: {target}")
    return found


def build(output: Path, builder: str = "html") -> int:
    """Builds the site, or with the builder ``dummy`` reads its pages alone. Returns the exit code."""
    source, trees = output.with_name(f"{output.name}-source"), output.with_name(f"{output.name}-trees")
    try:
        stage(source)
    except BrokenLink as error:
        print(f"a link that leads nowhere: {error}", file=sys.stderr)
        return 1
    shutil.rmtree(output, ignore_errors=True)
    command = ["-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "-b", builder, "-j", "auto"]
    places = ["-c", str(ROOT / "docs" / "site"), "-d", str(trees), str(source), str(output)]
    code = subprocess.run([sys.executable, *command, *places]).returncode
    if code:
        return code
    problems = [f"a link that leads nowhere: {line}" for line in broken_links(output)]
    problems += [f"fetched from elsewhere by a reader: {line}" for line in foreign_loads(output)]
    print("".join(f"{line}\n" for line in problems), end="", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    *options, place = sys.argv[1:]
    sys.exit(build(Path(place).absolute(), "dummy" if options == ["--read"] else "html"))
