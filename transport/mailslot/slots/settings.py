"""The settings of a record: their keys, allowed values and allowed combinations (design, sections 2 and 5)."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, Literal

from mailslot.errors import InputError
from mailslot.net.endpoint import Security
from mailslot.oauth.presets import preset
from mailslot.slots import keys
from mailslot.slots.keys import Key
from mailslot.slots.slot import PROTOCOLS, SLOTS, SlotDirectory, is_account

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mailslot.slots.slot import Protocol

SECRETS: Final = ("password", "client_secret")
"""The secrets: they are set like settings, but stored in the vault."""

POP_SLOTS: Final = ", ".join(slot.id for slot in SLOTS if slot.protocol == "POP")


@dataclass(frozen=True, slots=True)
class Settings:
    """A record's settings. The fields have the same names as the keys in ``mailslot.toml``; None means not set.

    Attributes:
        protocol: the protocol of an account, which never changes; None for the records of the seven slots.
    """

    protocol: Protocol | None = None
    server: str | None = None
    secondary_server: str | None = None
    port: int | None = None
    security: Security | None = None
    timeout: int = 30
    sender_name: str | None = None
    sender_address: str | None = None
    authentication: Literal["none", "password", "pop_before_smtp", "oauth2"] = "none"
    account: str | None = None
    provider: str | None = None
    client_id: str | None = None
    tenant: str | None = None
    flow: Literal["browser", "device", "paste", "app"] | None = None
    redirect_uri: str | None = None
    redirect_port: int | None = None
    token_source: str | None = None
    check_interval: int = 0
    ca_file: Path | None = None
    after_fetch: Literal["delete", "keep"] = "delete"
    first_poll: Literal["new", "all"] = "new"
    submitter: str = "mailslot"
    maildrop: str = "pop3"
    maildrop_options: tuple[str, ...] = ()
    pop_slot: str | None = None
    issuer: str | None = None
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    device_authorization_endpoint: str | None = None
    revocation_endpoint: str | None = None
    scopes: tuple[str, ...] = ()


def _scope(value: object) -> str:
    found = keys.text(value)
    if not re.fullmatch(r"[!#-\[\]-~]+", found):  # RFC 6749 section 3.3
        raise ValueError
    return found


def _provider(value: object) -> str:
    name = keys.text(value).lower()
    return name if name == "custom" else preset(name).id


def _pop_slot(value: object) -> str:
    name = keys.text(value)
    if is_account(name):
        return name  # `mailslot.slots.references` checks that the account exists
    slot = SlotDirectory().find(name)
    if slot.protocol != "POP":
        raise ValueError
    return slot.id


def _plugin(value: object) -> str:
    name = keys.text(value).lower()
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", name):
        raise ValueError
    return name


def _option(value: object) -> str:
    found = keys.text(value)
    if not re.fullmatch(r"[a-z_]+ *=.+", found):
        raise ValueError
    return found


_URL: Final = Key("an https address, or http on a loopback address", keys.url)

KEYS: Final[Mapping[str, Key]] = {
    "server": Key("a host name or an IP address", keys.host),
    "secondary_server": Key("a host name or an IP address", keys.host, ("SMTP",)),
    "port": Key("a number from 1 to 65535", keys.number(1, 65535)),
    "security": Key("none, starttls or tls", keys.one_of(*(each.value for each in Security), convert=Security)),
    "timeout": Key("seconds from 1 to 600", keys.number(1, 600), default=30),
    "sender_name": Key("a text on one line", keys.text, ("SMTP",)),
    "sender_address": Key("an e-mail address", keys.address, ("SMTP",)),
    "authentication": Key(
        "none, password, pop_before_smtp (SMTP only) or oauth2",
        keys.one_of("none", "password", "pop_before_smtp", "oauth2"),
    ),
    "account": Key("a user name, usually an e-mail address", keys.text),
    "provider": Key("custom, or a provider that is known, such as microsoft365, google or outlook", _provider),
    "client_id": Key("the application's id, as the provider gave it", keys.text),
    "tenant": Key("a tenant's name or id, as the provider gave it", keys.text),
    "flow": Key("browser, device, paste or app", keys.one_of("browser", "device", "paste", "app")),
    "redirect_uri": Key(
        "an https address, or http on a loopback address, exactly as it is registered; for the flow paste", keys.url
    ),
    "redirect_port": Key("a number from 1 to 65535; for the flow browser", keys.number(1, 65535)),
    "token_source": Key(
        "command PROGRAM ARGUMENT…, or file PATH, for tokens that come from elsewhere",
        keys.text,
        plugins=keys.names_plugin("mailslot.token_sources"),
        set_by="local",
    ),
    "check_interval": Key("minutes from 0 to 1440; 0 checks by hand only", keys.number(0, 1440), ("POP",)),
    "ca_file": Key("the path of a file with certificates", keys.path, set_by="local"),
    "after_fetch": Key("delete or keep", keys.one_of("delete", "keep"), ("POP",)),
    "first_poll": Key("new or all", keys.one_of("new", "all"), ("POP",)),
    "submitter": Key(
        "mailslot, or another client that is installed, such as aiosmtplib",
        _plugin,
        ("SMTP",),
        plugins=keys.names_plugin("mailslot.submitters"),
    ),
    "maildrop": Key(
        "pop3, or imap where the package mailslot-imap is installed",
        _plugin,
        ("POP",),
        plugins=keys.names_plugin("mailslot.maildrops"),
    ),
    "maildrop_options": Key(
        "a list of what the maildrop knows, KEY=VALUE each", keys.list_of(_option, r"[,;]+"), ("POP",)
    ),
    "pop_slot": Key(f"the id of a POP slot: {POP_SLOTS} or account.NAME", _pop_slot, ("SMTP",)),
    "issuer": _URL,
    "authorization_endpoint": _URL,
    "token_endpoint": _URL,
    "device_authorization_endpoint": _URL,
    "revocation_endpoint": _URL,
    "scopes": Key("a list of scopes, or scopes separated by spaces", keys.list_of(_scope, r"\s+")),
}

# Each key needs a field, and each field a key.
assert {field.name for field in fields(Settings)} == {"protocol", *KEYS}  # noqa: S101

PROTOCOL_KEY: Final = Key("smtp or pop3", keys.one_of("smtp", "pop3"), default="smtp")
"""The key ``protocol`` of accounts (in addition to `KEYS`) and of listeners."""

_PROTOCOLS: Final[Mapping[str, Protocol]] = {"smtp": "SMTP", "pop3": "POP"}


def protocol_from(text: str) -> Protocol:
    """Return the protocol for a value of `PROTOCOL_KEY`."""
    return _PROTOCOLS[text]


def protocol_text(protocol: Protocol) -> str:
    """Return a protocol as a value of `PROTOCOL_KEY`."""
    return next(text for text, each in _PROTOCOLS.items() if each == protocol)


def protocol_of(record: str, settings: Settings) -> Protocol:
    """Return the protocol of a record."""
    return PROTOCOLS.get(record) or settings.protocol or "SMTP"


class RecordSettings(dict[str, "Settings"]):
    """The settings of all records by name; an account may be removed at any time after its name was read."""

    def __missing__(self, record: str) -> Settings:
        """Raise an `InputError`, which tells a person more than a `KeyError`."""
        raise InputError(f"There is no record {record!r} any more.", stage="resolve", cause="not_configured")


def directory_of(records: Mapping[str, Settings]) -> SlotDirectory:
    """Return the slots of a device, including its accounts.

    Args:
        records: the settings of all records.
    """
    return SlotDirectory(
        {record: protocol_of(record, found) for record, found in records.items() if record not in PROTOCOLS}
    )


def keys_for(protocol: Protocol) -> dict[str, Key]:
    """Return the keys of a record with this protocol."""
    return {name: key for name, key in KEYS.items() if protocol in key.protocols}


def parse_setting(key: str, value: object, protocol: Protocol) -> object:
    """Parse a value of a setting.

    Args:
        key: the setting's name.
        value: text, or a value from TOML; None, which unsets the setting, stays None.
        protocol: the record's protocol.

    Raises:
        InputError: records of this protocol have no such setting, or the value is not allowed.
    """
    if key in KEYS and protocol not in KEYS[key].protocols:
        raise InputError(f"There is no setting {key} for {protocol}.", stage="resolve", key=key)
    return keys.parse_value(keys_for(protocol), key, value, others=SECRETS)


def check_combination(settings: Settings, protocol: Protocol) -> None:
    """Check that settings do not contradict each other.

    Raises:
        InputError: a token or password would be sent without TLS, a POP record uses POP before SMTP, or an SMTP record
            does so without a POP slot.
    """
    if settings.authentication in {"oauth2", "password"} and settings.security is Security.NONE:
        raise InputError(
            "OAuth 2.0 and passwords need encryption: set security to starttls or tls.", stage="sign_in", key="security"
        )
    if settings.authentication != "pop_before_smtp":
        return
    if protocol == "POP":
        raise InputError(
            "POP before SMTP is a way to sign in to SMTP, not to POP.", stage="sign_in", key="authentication"
        )
    if settings.pop_slot is None:
        raise InputError(
            f"POP before SMTP needs to know where to sign in before: set pop_slot to one of {POP_SLOTS}.",
            stage="sign_in",
            key="pop_slot",
        )
