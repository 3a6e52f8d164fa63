"""Questions: asked at a terminal, or answered by options and by what was detected."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import click

from upnp_gw.cli.terminal import CAUTION, HEADING, paint, print_text, text_columns, wrap_labelled
from upnp_gw.setup.answers import NotAccepted

T = TypeVar("T")

OPTIONS = ("--wan", "--lan", "--firewall", "--policy", "--page")
INDENT = "   "
WORD = 8
"""Columns of the word of a choice."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question, as it is printed."""

    option: str
    label: str
    title: str
    why: str = ""
    """The reason for the default."""
    choices: tuple[tuple[str, str], ...] = ()
    """Word -> meaning."""
    hint: str = ""
    """Words that the answer may have besides."""
    default: str = ""
    doubt: str = ""
    """The reason why a person has to answer; empty: the default needs none."""
    candidates: tuple[str, ...] = ()
    """Answers that may be meant, for the message without a terminal."""

    def show(self) -> None:
        """Prints all but the title."""
        for word, meaning in self.choices:
            lines = wrap_labelled(f"{INDENT}{word}", meaning, text_columns(), len(INDENT) + WORD)
            click.echo("\n".join(lines))
        for sentence in (self.hint, f"{self.default}: {self.why}." if self.default and self.why else ""):
            if sentence:
                print_text(INDENT + sentence, further=INDENT)
        if self.doubt:
            note(f"in doubt: {self.doubt}.", indent=INDENT)


@dataclass(slots=True)
class Questions:
    """Asks, or takes options and defaults."""

    given: Mapping[str, str]
    """Option -> answer."""
    asks: bool
    """True: a person at a terminal answers what no option does."""
    _number: int = field(default=0, init=False)

    def answer(self, question: Question, parse: Callable[[str], T]) -> T:
        """The answer. ``parse`` raises NotAccepted. Raises UsageError for an option that is not accepted, and for a
        doubt that nobody settles."""
        option = question.option
        if option in self.given:
            try:
                return parse(self.given[option])
            except NotAccepted as error:
                raise click.UsageError(f"{option}: {error}") from None
        if self.asks:
            return self._ask(question, parse)
        if question.doubt or not question.default:
            choices = " or ".join(f"{option} {name}" for name in question.candidates) or f"{option} NAME"
            raise click.UsageError(f"{question.label}: {question.doubt}; name it: {choices}")
        return parse(question.default)

    def _ask(self, question: Question, parse: Callable[[str], T]) -> T:
        self._number += 1
        of = sum(option not in self.given for option in OPTIONS)
        click.echo()
        print_text(paint(f"{self._number} of {of}.", HEADING) + f" {question.title}", further=INDENT)
        question.show()
        while True:
            line = click.prompt(f"{INDENT}{question.label}", default=question.default or None, prompt_suffix=": ")
            try:
                return parse(str(line))
            except NotAccepted as error:
                print_text(f"{INDENT}{error}", further=INDENT)


def note(text: str, *, indent: str = "") -> None:
    """Prints a sentence that the operator should know."""
    print_text(indent + paint("note:", CAUTION) + f" {text}", further=f"{indent}  ")
