"""The commands of a shell script, and our own command line's opinion of them."""

import re
import shlex

import click

from upnp_gw.cli import main

_HERE_DOCUMENT = re.compile(r"<<-?\s*(['\"]?)(\w+)\1([^\n]*)\n.*?^\t*\2$", re.S | re.M)
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*$", re.M)
_ENDS = ("\n", ";", "&", "&&", "|", "||", "(", ")", "{", "}", "then", "do", "else", "if", "while", "until", "!")
_BEFORE = {"sudo", "doas", "exec", "time", "if", "while", "until", "!"}
_CLOSING = {"fi", "done", "else", "then", "do", "}"}


def commands(script: str) -> list[list[str]]:
    """The simple commands of a script, each as words, without redirections, assignments and ``sudo``."""
    text = _HERE_DOCUMENT.sub(r"\3\n", script.replace("\\\n", " "))
    lexer = shlex.shlex(_COMMENT.sub("", text), posix=True, punctuation_chars=";&|()\n<>")
    lexer.whitespace = " \t"
    lexer.whitespace_split = True
    lexer.commenters = ""
    found: list[list[str]] = [[]]
    skip = False
    for word in lexer:
        if skip:  # the target of a redirection
            skip = False
        elif set(word) <= set("<>&") and set(word) & set("<>"):
            skip = True
            if found[-1] and found[-1][-1].isdigit():
                found[-1].pop()
        elif set(word) <= set(";&|()\n"):
            found.append([])
        else:
            found[-1].append(word)
    return [command for words in found if (command := _without_prefix(words))]


def _without_prefix(words: list[str]) -> list[str]:
    start = 0
    while start < len(words) and (words[start] in _BEFORE | _CLOSING or re.match(r"\w+=", words[start])):
        start += 1
    return words[start:]


def own(script: str) -> list[list[str]]:
    """The arguments of each ``upnp-gw ...``."""
    return [words[1:] for words in commands(script) if words[0] == "upnp-gw"]


def foreign(script: str) -> list[str]:
    """The other programs."""
    return [words[0] for words in commands(script) if words[0] != "upnp-gw"]


def refused(arguments: list[str]) -> str:
    """The message of our parser for these arguments, or nothing. A word in capitals stands for a value."""
    command: click.Command = main
    context: click.Context | None = None
    name, rest = "upnp-gw", list(arguments)
    try:
        while True:
            context = command.make_context(name, rest, parent=context)
            if not isinstance(command, click.Group):
                return ""
            words = [*context._protected_args, *context.args]
            resolved, found, rest = command.resolve_command(context, words)
            assert resolved is not None
            assert found is not None
            name, command = resolved, found
    except click.exceptions.Exit:
        return ""
    except click.UsageError as error:
        placeholder = any(re.search(r"\b[A-Z][A-Z0-9_]+\b", word) for word in arguments)
        if isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter) and placeholder:
            return ""
        return error.format_message()
