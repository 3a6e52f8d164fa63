"""Reads files of UCI, the configuration format of OpenWrt, as ``file.c`` of libuci does. Pure.

``config TYPE [NAME]`` begins a section, ``option NAME VALUE`` sets a value and ``list NAME VALUE`` adds one. A word
is plain, in single quotes (as it is) or in double quotes (with a backslash before a special character). Parts of a
word may follow each other. ``#`` outside quotes begins a comment, ``;`` ends a command, and quotes may span lines.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from upnp_gw.migration.bounded_text import lines_of
from upnp_gw.migration.original import Line
from upnp_gw.model.errors import ConfigError
from upnp_gw.text.escape import shown

MOST_SECTIONS = 2000
MOST_WORDS = 3
"""The words of the longest command."""
LONGEST_SHOWN = 60
NAME = re.compile(r"[A-Za-z0-9_]+")
TYPE = re.compile(r"[!-~]+")
COMMANDS = {"p": "package", "c": "config", "o": "option", "l": "list"}
"""Each has a short form."""
ON = frozenset({"1", "on", "true", "yes", "enabled"})
OFF = frozenset({"0", "off", "false", "no", "disabled"})


@dataclass(frozen=True, slots=True)
class UciOption:
    """An option or a list of a section. A later one of its name replaces it."""

    name: str
    values: tuple[str, ...]
    line: Line
    """The last one about it."""

    @property
    def value(self) -> str:
        """As scripts of OpenWrt get it: the values of a list with spaces between them."""
        return " ".join(self.values)

    def is_on(self, default: bool) -> bool:
        """A switch. Any other word counts as no word at all."""
        return True if self.value in ON else False if self.value in OFF else default


@dataclass(slots=True)
class UciSection:
    """One section. A later section of its name adds to it."""

    type: str
    name: str
    """Empty: it has none."""
    line: Line
    options: dict[str, UciOption] = field(default_factory=dict)

    def value(self, name: str, default: str = "") -> str:
        """The value of an option; ``default`` if there is none."""
        option = self.options.get(name)
        return default if option is None else option.value


@dataclass(frozen=True, slots=True)
class _Command:
    line: Line
    words: list[str]


def read_uci(data: bytes, where: str) -> list[UciSection]:
    """The sections in the order of the file. ``where``: the name of the file for messages. Raises ConfigError."""
    sections: list[UciSection] = []
    for command in _Text(data, where).commands():
        _carry_out(command, sections, where)
        if len(sections) > MOST_SECTIONS:
            problem = f"more than {MOST_SECTIONS} sections; accepted: at most so many"
            raise ConfigError(where, "", problem, command.line.number)
    return sections


def is_uci(data: bytes) -> bool:
    """True for a text that begins like one of these: its first command is ``config`` or ``package``."""
    begin = re.match(rb"(?:\s*(?:#[^\n]*)?\n)*\s*(config|package|c|p)[ \t]", data)
    return begin is not None


def _carry_out(command: _Command, sections: list[UciSection], where: str) -> None:
    word, *words = command.words
    name = COMMANDS.get(word, word)
    if name == "package" and len(words) == 1:
        return
    if name == "config" and 1 <= len(words) <= 2:
        _begin_section(command.line, words, sections, where)
    elif name in ("option", "list") and 1 <= len(words) <= 2:
        if not sections:
            raise _mistake(where, command.line, f"{name} before the first section; accepted: config TYPE before it")
        _set(command.line, name, words, sections[-1], where)
    else:
        accepted = "accepted: config TYPE [NAME], option NAME VALUE, list NAME VALUE, or a comment (#)"
        raise _mistake(where, command.line, f'"{shown(command.line.text, LONGEST_SHOWN)}": {accepted}')


def _begin_section(line: Line, words: list[str], sections: list[UciSection], where: str) -> None:
    kind, name = (*words, "")[:2]
    if not TYPE.fullmatch(kind) or (name and not NAME.fullmatch(name)):
        bad = shown(kind if not TYPE.fullmatch(kind) else name, LONGEST_SHOWN)
        raise _mistake(where, line, f'"{bad}": accepted: letters, digits and underscores')
    earlier = next((section for section in sections if name and section.name == name), None)
    if earlier is None:
        sections.append(UciSection(kind, name, line))
    elif earlier.type != kind:
        raise _mistake(where, line, f"the section {name} in line {earlier.line.number} has another type")
    else:  # what follows belongs to it
        sections.remove(earlier)
        sections.append(earlier)


def _set(line: Line, command: str, words: list[str], section: UciSection, where: str) -> None:
    name, value = (*words, "")[:2]
    if not NAME.fullmatch(name):
        raise _mistake(
            where, line, f'"{shown(name, LONGEST_SHOWN)}": accepted: letters, digits and underscores in a name'
        )
    earlier = section.options.get(name)
    values = (*earlier.values, value) if command == "list" and earlier is not None else (value,)
    if not value and command == "option":
        section.options.pop(name, None)
    else:
        section.options[name] = UciOption(name, values, line)


def _mistake(where: str, line: Line, problem: str) -> ConfigError:
    return ConfigError(where, "", problem, line.number)


class _Text:
    """The text of a file, read word by word."""

    def __init__(self, data: bytes, where: str) -> None:
        self._lines = lines_of(data, where)
        self._text = "\n".join(line.text for line in self._lines)
        self._where = where
        self._at = 0
        self._line = 0

    def commands(self) -> Iterator[_Command]:
        while self._at < len(self._text):
            line = self._lines[self._line]
            if words := self._command(line):
                yield _Command(line, words)

    def _command(self, line: Line) -> list[str]:
        """The words up to the end of the command, which is passed."""
        words: list[str] = []
        while (sign := self._sign()) not in ("", "\n", "#", ";"):
            if sign.isspace():
                self._at += 1
                continue
            words.append(self._word(line))
            if len(words) > MOST_WORDS:
                accepted = f"accepted: at most {MOST_WORDS} words, in quotes what has spaces"
                raise _mistake(self._where, line, f'"{shown(line.text, LONGEST_SHOWN)}": {accepted}')
        if sign == "#":
            self._at = self._text.find("\n", self._at)
            self._at = len(self._text) if self._at < 0 else self._at
        self._pass()
        return words

    def _sign(self) -> str:
        return self._text[self._at : self._at + 1]

    def _pass(self) -> None:
        """Goes on to the next sign."""
        self._line += self._sign() == "\n"
        self._at += 1

    def _word(self, line: Line) -> str:
        parts: list[str] = []
        while (sign := self._sign()) and sign not in "#;" and not sign.isspace():
            if sign in "'\"":
                self._pass()
                parts.append(self._quoted(line, sign))
                continue
            if sign == "\\":
                self._pass()
                sign = self._sign() if self._sign() != "\n" else ""
            parts.append(sign)
            self._pass()
        return "".join(parts)

    def _quoted(self, line: Line, quote: str) -> str:
        """The text up to the closing quote, which is passed."""
        parts: list[str] = []
        while (sign := self._sign()) != quote:
            if not sign:
                raise _mistake(self._where, line, f"the quote {quote} has no end")
            if sign == "\\" and quote == '"':
                self._pass()
                sign = self._sign() if self._sign() != "\n" else ""
            parts.append(sign)
            self._pass()
        self._pass()
        return "".join(parts)
