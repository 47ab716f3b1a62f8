"""Parses MAIL and RCPT and checks messages, strictly (RFC 5321 section 4.1.2, RFC 6531 section 3.3)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailslot.smtp.server.replies import reply
from mailslot.wire.command_input import CommandError
from mailslot_plugins.sandbox.state import EnvelopePath

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ATOM: Final = r"[^\x00-\x20\x7f()<>\[\]:;@\\,\"]+"
_QUOTED: Final = r'"(?:[^\x00-\x1f\x7f"\\]|\\[\x20-\x7e])*"'
_ALNUM: Final = r"[A-Za-z0-9\x80-\U0010ffff]"
_LABEL: Final = rf"{_ALNUM}(?:(?:{_ALNUM}|[_-])*{_ALNUM})?"
_LITERAL: Final = r"\[(?:IPv6:[0-9A-Fa-f:.]+|[0-9.]+)\]"
_MAILBOX: Final = rf"(?:{_ATOM}|{_QUOTED})@(?:{_LABEL}(?:\.{_LABEL})*|{_LITERAL})"
_PATH: Final = re.compile(rf"(FROM|TO):<({_MAILBOX}|)>((?: [^\x00-\x20\x7f]+)*)", re.IGNORECASE)

_XTEXT: Final = r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})"
_EVENT: Final = r"(?:SUCCESS|FAILURE|DELAY)"

# By command and keyword: the required extension, and the syntax of the value.
_PARAMETERS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "MAIL": {
        "SIZE": ("SIZE", r"=[0-9]{1,20}"),  # RFC 1870 section 4
        "BODY": ("8BITMIME", r"=(?i:7BIT|8BITMIME|BINARYMIME)"),  # RFC 6152, RFC 3030
        "SMTPUTF8": ("SMTPUTF8", r""),  # RFC 6531 section 3.4
        "RET": ("DSN", r"=(?i:FULL|HDRS)"),  # RFC 3461 section 4.3
        "ENVID": ("DSN", rf"={_XTEXT}{{1,100}}"),  # RFC 3461 section 4.4
        "REQUIRETLS": ("REQUIRETLS", r""),  # RFC 8689 section 2
    },
    "RCPT": {
        "NOTIFY": ("DSN", rf"=(?i:NEVER|{_EVENT}(?:,{_EVENT}){{0,2}})"),  # RFC 3461 section 4.1
        "ORCPT": ("DSN", rf"=[A-Za-z0-9-]+;{_XTEXT}{{1,500}}"),  # RFC 3461 section 4.2
    },
}


def parse_path(verb: str, argument: str, capability: Callable[[str], str | None]) -> EnvelopePath:
    """Parse the argument of MAIL or RCPT.

    Args:
        verb: ``MAIL`` or ``RCPT``.
        argument: the rest of the line.
        capability: returns an extension's parameters, or None if it is not offered.

    Raises:
        CommandError: 501 for a syntax error, 555 for a parameter that was not offered.
    """
    match = _PATH.fullmatch(argument)
    if match is None or match[1].upper() != {"MAIL": "FROM", "RCPT": "TO"}[verb]:
        raise CommandError(reply(501, "5.5.4", "Syntax error in the command, the address or its brackets"))
    address = match[2]
    if not address and verb == "RCPT":
        raise CommandError(reply(501, "5.1.3", "Null address"))
    octets = address.encode("utf-8", "surrogateescape")
    if len(octets.rpartition(b"@")[0]) > 64 or len(octets) > 254:
        raise CommandError(reply(501, "5.1.3", "Address too long"))  # RFC 5321 section 4.5.3.1
    parameters: dict[str, str] = {}
    for word in match[3].split():
        name, equals, value = word.partition("=")
        name = name.upper()
        extension, syntax = _PARAMETERS[verb].get(name, ("", ""))
        if not extension or capability(extension) is None:
            raise CommandError(reply(555, "5.5.4", "Unsupported option"))
        values = value.upper().split(",") if name == "NOTIFY" else []
        repeated = name in parameters or len(values) != len(set(values))
        if repeated or not re.fullmatch(syntax, equals + value):
            raise CommandError(reply(501, "5.5.4", f"Bad or repeated value of {name}"))
        parameters[name] = value
    if parameters.get("BODY", "").upper() == "BINARYMIME" and capability("BINARYMIME") is None:
        raise CommandError(reply(555, "5.5.4", "Unsupported option"))
    return EnvelopePath(address, parameters)


def find_violations(content: bytes, parameters: Mapping[str, str]) -> list[str]:
    """Return the violations in a message, given the parameters of MAIL."""
    body = parameters.get("BODY", "7BIT").upper()
    size = int(parameters.get("SIZE", len(content)))
    seven_bit = body == "7BIT" and "SMTPUTF8" not in parameters
    ends = content.count(b"\r\n")
    text = body != "BINARYMIME"
    checks = {
        f"SIZE={size}, but {len(content)} octets came": size != len(content),
        "8-bit octets without BODY=8BITMIME or SMTPUTF8": seven_bit and not content.isascii(),
        "a bare LF": text and content.count(b"\n") != ends,
        "a bare CR": text and content.count(b"\r") != ends,
        "a NUL": text and b"\0" in content,
        "a line of over 998 octets": text and any(len(o) > 998 for o in content.split(b"\r\n")),
        "a last line without CRLF": text and content[-2:] not in {b"", b"\r\n"},
    }
    return [flaw for flaw, is_present in checks.items() if is_present]
