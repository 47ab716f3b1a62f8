"""Normalization of entered settings, such as a URL in place of a host name, or a port that a provider lacks."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from mailslot.errors import InputError
from mailslot.net.endpoint import Security
from mailslot.slots.effective_settings import effective_settings, implied_port, mail_service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.slots.settings import Settings
    from mailslot.slots.slot import Protocol

Values = dict[str, object | None]
MailProtocol = Literal["SMTP", "POP", "IMAP"]

# "pops" and "smtps" mean implicit TLS (RFC 8314); the plain schemes say nothing about TLS.
_SCHEMES: Final[Mapping[str, tuple[MailProtocol | None, Security | None]]] = {
    "smtp": ("SMTP", None),
    "submission": ("SMTP", None),
    "smtps": ("SMTP", Security.TLS),
    "submissions": ("SMTP", Security.TLS),
    "pop": ("POP", None),
    "pop3": ("POP", None),
    "pops": ("POP", Security.TLS),
    "pop3s": ("POP", Security.TLS),
    "imap": ("IMAP", None),
    "imaps": ("IMAP", Security.TLS),
    "ssl": (None, Security.TLS),
    "tls": (None, Security.TLS),
}
_SECURITY_OF_PORT: Final[Mapping[int, Security]] = {
    465: Security.TLS,
    587: Security.STARTTLS,
    995: Security.TLS,
    993: Security.TLS,
}
_ADDRESS: Final = re.compile(r"(?:([a-z][a-z0-9+.-]*)://)?([^/?#]*)(?:[/?#].*)?", re.IGNORECASE)
_HOST: Final = re.compile(r"(\[[^\]]*\]|[^:]*)(?::([0-9]{0,5}))?")
_SURROUNDING: Final = " \t,;<>\"'"

# OfficeDocs-Exchange, how-to-set-up-a-multifunction-device-or-application-to-send-email: 587 or 25 with STARTTLS.
_MICROSOFT: Final = re.compile(
    r"(?:.+\.)?(?:office365\.com|office365\.us|outlook\.com|partner\.outlook\.cn)\.?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class NormalizedChange:
    """A change of settings after normalization.

    Attributes:
        values: the values to set.
        notes: a sentence for each value that differs from what was entered.
    """

    values: Values
    notes: tuple[str, ...] = ()


def normalize_change(values: Mapping[str, object | None], settings: Settings, protocol: Protocol) -> NormalizedChange:
    """Normalize a change of settings.

    A server may be entered with a scheme or a port, or with surrounding characters that were copied with it.

    Args:
        values: as they were entered, by key; None unsets.
        settings: what is set so far.
        protocol: what the record is for.

    Raises:
        InputError: a server's address contradicts itself, the other values entered, or the protocol.
    """
    found: Values = dict(values)
    notes: list[str] = []
    if "maildrop" in values:
        settings = replace(settings, maildrop=str(values["maildrop"] or "pop3").strip().lower())
    if isinstance(entered := values.get("server"), str):
        found |= _server(entered, values, settings, protocol)
        if found["server"] != entered.strip():
            notes.append(
                _normalization_note(entered, {key: found[key] for key in found if found[key] != values.get(key)})
            )
    if isinstance(entered := values.get("secondary_server"), str):
        found["secondary_server"] = _split_address(entered, settings, protocol, "secondary_server")[0]
        if found["secondary_server"] != entered.strip():
            what = _normalization_note(entered, {"secondary_server": found["secondary_server"]})
            notes.append(f"{what} The secondary server has the same port and encryption as the primary one.")
    return NormalizedChange(found, tuple(notes))


def implied_values(values: Mapping[str, object | None], settings: Settings) -> dict[str, object | None]:
    """Return the values that follow from a change: a provider is for OAuth 2.0 where no sign-in is set.

    Args:
        values: as they were entered, by key.
        settings: what is set so far.
    """
    named = values.get("provider") or values.get("issuer")
    if not named or "authentication" in values or settings.authentication != "none":
        return {}
    return {"authentication": "oauth2"}


def needs_starttls(settings: Settings, protocol: Protocol) -> bool:
    """Whether implicit TLS is set for SMTP on a server of Microsoft; none of them supports that."""
    holds = effective_settings(settings, protocol)
    if protocol != "SMTP" or holds.server is None or not _MICROSOFT.fullmatch(holds.server.lower()):
        return False
    return holds.port == 465 or holds.security is Security.TLS


MICROSOFT_SETTINGS: Final[Mapping[str, object]] = {"port": 587, "security": "starttls"}
"""The settings that Microsoft's servers need instead."""

MICROSOFT_NOTE: Final = (
    "Microsoft's servers take mail with STARTTLS on port 587, never with SSL/TLS on port 465: port is set to 587 and "
    "security to starttls."
)


def _server(entered: str, values: Mapping[str, object | None], settings: Settings, protocol: Protocol) -> Values:
    host, port, security = _split_address(entered, settings, protocol, "server")
    found: Values = {"server": host}
    if port is None and security is None:
        return found
    security = security or (_SECURITY_OF_PORT.get(port) if port is not None else None)
    unset: dict[str, Any] = {key: None for key in ("port", "security") if key in values and values[key] is None}
    settings = replace(settings, **unset)
    if values.get("security") is None:
        if security is not None and security is not effective_settings(settings, protocol).security:
            found["security"] = security.value
    elif security is not None and str(values["security"]).strip().lower() != security.value:
        raise _contradiction(entered, "security", values["security"])
    if values.get("port") is None:
        if port is None and security is not None:
            port = implied_port(settings, protocol, security)
        found["port"] = port
    elif port is not None and str(values["port"]).strip() != str(port):
        raise _contradiction(entered, "port", values["port"])
    return found


def _split_address(
    entered: str, settings: Settings, protocol: Protocol, key: str
) -> tuple[str, int | None, Security | None]:
    """Split a server's address into host, port and security; the latter two are None if it does not contain them."""
    text = entered.strip(_SURROUNDING)
    if _is_literal(text):
        return text, None, None
    match = _ADDRESS.fullmatch(text)
    if match is None:
        return entered, None, None
    scheme, rest = (match[1] or "").lower(), match[2].strip(_SURROUNDING)
    if scheme and scheme not in _SCHEMES:
        raise InputError(
            f"{scheme}:// does not begin the address of a mail server; enter its name alone.", stage="resolve", key=key
        )
    if "@" in rest:
        raise InputError("A server's name has no @ in it; a user name belongs in account.", stage="resolve", key=key)
    speaks, security = _SCHEMES.get(scheme, (None, None))
    wanted = (mail_service(settings, protocol) or settings.maildrop).upper()
    if speaks not in {None, wanted}:
        hint = " Set maildrop to imap, too." if (speaks, protocol) == ("IMAP", "POP") else ""
        raise InputError(
            f"{scheme}:// stands for {speaks} servers, and this slot is for {wanted}.{hint}", stage="resolve", key=key
        )
    parts = None if _is_literal(rest) else _HOST.fullmatch(rest)
    if parts is None:
        return rest, None, security
    host = parts[1].strip("[]") if _is_literal(parts[1].strip("[]")) else parts[1]
    return host, int(parts[2]) if parts[2] else None, security


def _is_literal(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _normalization_note(entered: str, found: Mapping[str, object | None]) -> str:
    assignments = ", ".join(f"{key}={value}" for key, value in found.items())
    return f"{entered.strip()} was understood as {assignments}."


def _contradiction(entered: str, key: str, value: object) -> InputError:
    return InputError(f"{entered.strip()} and {key}={value} contradict each other.", stage="resolve", key="server")
