"""Parsing command lines, tolerantly where old devices need it (RFC 1939 section 3).

Any case and blanks around words are tolerated; blanks in a password are part of it. Control characters are refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailslot.pop3.server import replies
from mailslot.pop3.states import Verb
from mailslot.wire.command_input import Command, CommandError
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMMANDS: Final = "CAPA STLS AUTH USER PASS APOP STAT LIST UIDL RETR TOP DELE RSET NOOP QUIT"

VERBS: Final[Mapping[str, Verb]] = {name: Verb(name) for name in _COMMANDS.split()}

_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NUMBER: Final = re.compile(r"\d{1,9}", re.ASCII)
_TOP: Final = re.compile(r"(\d{1,9})\s+(\d{1,9})", re.ASCII)
_APOP: Final = re.compile(r"(\S+)\s+([0-9a-f]{32})", re.IGNORECASE | re.ASCII)


def parse_command(line: bytes) -> Command:
    """Split a line, without its end, into verb and argument; the argument keeps its blanks.

    Raises:
        CommandError: it is empty, or holds control characters.
    """
    # No password here has octets that are not UTF-8.
    text = line.decode("utf-8", "backslashreplace").lstrip()
    if not text.strip() or _CONTROL.search(text):
        raise CommandError(replies.SYNTAX)
    verb, _, argument = text.partition(" ")
    return Command(verb.strip().upper(), argument)


def parse_user(argument: str) -> str:
    """Return the user name.

    Raises:
        CommandError: there is none.
    """
    if not argument.strip():
        raise CommandError(replies.USER_SYNTAX)
    return argument.strip()


def parse_password(argument: str) -> Secret:
    """Return the password, with its blanks (RFC 1939 section 7).

    Raises:
        CommandError: there is none.
    """
    if not argument:
        raise CommandError(replies.PASS_SYNTAX)
    return Secret(argument)


def parse_apop(argument: str) -> tuple[str, str]:
    """Return the user name and the digest, in lower case.

    Raises:
        CommandError: a syntax error.
    """
    match = _APOP.fullmatch(argument.strip())
    if match is None:
        raise CommandError(replies.APOP_SYNTAX)
    return match[1], match[2].lower()


def parse_number(argument: str) -> int:
    """Return the number of a message.

    Raises:
        CommandError: it is not one.
    """
    if not _NUMBER.fullmatch(argument.strip()):
        raise CommandError(replies.NUMBER_EXPECTED)
    return int(argument)


def parse_top(argument: str) -> tuple[int, int]:
    """Return the number of a message, and the number of lines of its body.

    Raises:
        CommandError: a syntax error.
    """
    match = _TOP.fullmatch(argument.strip())
    if match is None:
        raise CommandError(replies.TOP_SYNTAX)
    return int(match[1]), int(match[2])


def expect_no_argument(argument: str) -> None:
    """Refuse an argument.

    Raises:
        CommandError: there is one.
    """
    if argument.strip():
        raise CommandError(replies.NO_ARGUMENT)
