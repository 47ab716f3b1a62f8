"""Parsing command lines, tolerantly where old devices need it (RFC 5321 section 4.1).

These are tolerated: any case, blanks around words and after ``FROM:`` and ``TO:``, addresses without brackets, source
routes (which are ignored, RFC 5321 appendix C), a SIZE that is not a number, and senders without a domain. Control
characters are refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

from mailslot.errors import InputError
from mailslot.smtp.address import parse_address
from mailslot.smtp.server.backend import MailParameters
from mailslot.smtp.server.replies import reply
from mailslot.smtp.states import Verb
from mailslot.wire.command_input import Command, CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.wire.reply import Reply

_COMMANDS: Final = "EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP QUIT"

VERBS: Final[Mapping[str, Verb]] = {name: Verb(name) for name in _COMMANDS.split()}

STATELESS: Final[Mapping[str, Reply]] = {
    "VRFY": reply(252, "2.0.0", "Addresses are not verified; send the message"),
    "HELP": reply(214, "2.0.0", "See RFC 5321"),
    "EXPN": reply(502, "5.5.1", "Not implemented"),
}
"""The replies to commands that change nothing, in any state."""

SYNTAX: Final = reply(500, "5.5.2", "Syntax error: not a command")
MAIL_SYNTAX: Final = reply(501, "5.5.4", "Syntax: MAIL FROM:<address>")
RCPT_SYNTAX: Final = reply(501, "5.5.4", "Syntax: RCPT TO:<address>")
BDAT_SYNTAX: Final = reply(501, "5.5.4", "Syntax: BDAT size [LAST]")
NO_ARGUMENT: Final = reply(501, "5.5.4", "This command has no argument")
BAD_SENDER: Final = reply(501, "5.1.7", "This cannot be the address of a sender")
BAD_RECIPIENT: Final = reply(501, "5.1.3", "This cannot be the address of a recipient")
NEEDS_SMTPUTF8: Final = reply(553, "5.6.7", "Only addresses in ASCII can be used here")
UNKNOWN_PARAMETER: Final = reply(555, "5.5.4", "A parameter that is not known here")

_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# An address in brackets, whose quoted local part may contain brackets; or an address without brackets, up to a blank.
_PATH: Final = re.compile(r"(?:<((?:\"(?:[^\"\\]|\\.)*\"|[^\"<>])*)>|([^\s<>]+))(.*)", re.DOTALL)
_ROUTE: Final = re.compile(r"\A@[^:]*:")
_BDAT: Final = re.compile(r"(\d{1,20})(\s+LAST)?", re.IGNORECASE | re.ASCII)
_NAME: Final = re.compile(r"[^\s\x00-\x1f\x7f()<>\[\]:;@\\,\"]{1,64}")


def parse_command(line: bytes) -> Command:
    """Split a line, without its end, into verb and argument.

    Raises:
        CommandError: it is empty, or holds control characters.
    """
    text = line.decode("utf-8", "surrogateescape").strip()
    if not text or _CONTROL.search(text):
        raise CommandError(SYNTAX)
    verb, _, argument = text.replace("\t", " ").partition(" ")
    return Command(verb.upper(), argument.strip())


def parse_mail(argument: str) -> tuple[str, MailParameters]:
    """Return the sender and the parameters of MAIL.

    Raises:
        CommandError: a syntax error, an address that cannot be one, or a parameter that was not offered.
    """
    path, parameters = _split_path(argument, "FROM", MAIL_SYNTAX)
    sender = "" if not path else path if _NAME.fullmatch(path) else _address(path, "sender", BAD_SENDER)
    if not sender.isascii():
        raise CommandError(NEEDS_SMTPUTF8)
    size, body = None, ""
    for name, value in parameters.items():
        if name == "SIZE":
            size = int(value) if value.isascii() and value.isdigit() and len(value) <= 20 else None
        elif name == "BODY" and value.upper() in {"7BIT", "8BITMIME"}:
            body = value.upper()
        elif name != "AUTH":  # it says who first submitted the message, and may be ignored (RFC 4954 section 5)
            raise CommandError(UNKNOWN_PARAMETER)
    return sender, MailParameters(size, body == "8BITMIME")


def parse_rcpt(argument: str) -> str:
    """Return the recipient.

    Raises:
        CommandError: a syntax error, an address that cannot be one, or a parameter, since none was offered.
    """
    path, parameters = _split_path(argument, "TO", RCPT_SYNTAX)
    recipient = _address(path, "recipient", BAD_RECIPIENT)
    if parameters:
        raise CommandError(UNKNOWN_PARAMETER)
    return recipient


def parse_bdat(argument: str) -> tuple[int, bool]:
    """Return the size of a chunk, and whether it is the last one.

    Raises:
        CommandError: a syntax error. Then the end of the chunk is unknown.
    """
    match = _BDAT.fullmatch(argument)
    if match is None:
        raise CommandError(BDAT_SYNTAX)
    return int(match[1]), match[2] is not None


def _split_path(argument: str, word: Literal["FROM", "TO"], syntax: Reply) -> tuple[str, dict[str, str]]:
    """Return the address, without brackets and source route, and the parameters, their names in capitals."""
    before, colon, rest = argument.partition(":")
    match = _PATH.fullmatch(rest.strip())
    if before.strip().upper() != word or not colon or match is None:
        raise CommandError(syntax)
    path = match[2] if match[1] is None else _ROUTE.sub("", match[1].strip())
    parameters: dict[str, str] = {}
    for text in match[3].split():
        name, _, value = text.partition("=")
        parameters[name.upper()] = value
    return path, parameters


def _address(path: str, role: str, refusal: Reply) -> str:
    try:
        address = parse_address(path, role)
    except InputError:
        raise CommandError(refusal) from None
    if address.smtputf8:
        raise CommandError(NEEDS_SMTPUTF8)
    return address.wire
