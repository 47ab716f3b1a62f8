"""The settings file of the fleet's panel, in TOML: its address, the OpenID provider, and the roles."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from mailslot.errors import InputError
from mailslot.slots import keys
from mailslot.slots.keys import Key, parse_value
from mailslot.wire.secret import Secret
from mailslot_plugins.panel.fleet.staff import ROLES, RoleRule
from mailslot_plugins.panel.security.addresses import ascii_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LARGEST: Final = 256 * 1024
_MAX_SECRET: Final = 4096
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}

_PANEL: Final[Mapping[str, Key]] = {
    "address": Key("the address that browsers use: https://HOST, or http on a loopback address", keys.url),
    "name": Key("a text on one line, such as the name of your company", keys.text),
    "names": Key("further host names under which browsers may open the panel", keys.list_of(keys.host), default=()),
    "certificate": Key("the path of a certificate with its chain, PEM", keys.path),
    "key": Key("the path of the certificate's private key, PEM", keys.path),
    "idle_minutes": Key(
        "minutes of inactivity, from 1 to 720, after which a session ends", keys.number(1, 720), default=15
    ),
}

_OPENID: Final[Mapping[str, Key]] = {
    "issuer": Key("the issuer, an https address, or http on a loopback address", keys.url),
    "client_id": Key("the application's id, as the provider gave it", keys.text),
    "client_secret_file": Key("the path of a file with the application's secret", keys.path),
    "scopes": Key("a list of scopes", keys.list_of(keys.text, r"\s+"), default=("openid", "profile", "email")),
    "claim": Key("the claim of the ID token with a person's groups or roles", keys.text, default="groups"),
    "ca_file": Key("the path of a file with certificates", keys.path),
    "sign_out": Key(
        "provider or panel: whether signing out ends the session at the provider, too, or only the one here",
        keys.one_of("provider", "panel"),
        default="provider",
    ),
}

_ROLE: Final[Mapping[str, Key]] = {
    "value": Key("a value of the claim; {tenant} in it stands for the name of a tenant", keys.text),
    "role": Key(f"one of {', '.join(ROLES)}", keys.one_of(*ROLES)),
    "tenant": Key("the name of a tenant", keys.text),
}

TABLES: Final[Mapping[str, Mapping[str, Key]]] = {"": _PANEL, "openid": _OPENID, "roles": _ROLE}
"""The keys of each table; the empty name is the top level of the file, and ``roles`` is an array of tables."""


@dataclass(frozen=True, slots=True)
class OpenIdSettings:
    """The OpenID provider at which staff sign in.

    Attributes:
        issuer: the issuer of the provider.
        client_id: the id of this application there.
        client_secret: its secret; None for a public client.
        scopes: the scopes to request.
        claim: the claim whose values determine the roles.
        ca_file: a file of further trusted certificate authorities, or None.
        rules: the role of each value.
        sign_out: where the session ends when somebody signs out: ``provider`` or ``panel``.
    """

    issuer: str
    client_id: str
    client_secret: Secret | None = field(repr=False)
    scopes: tuple[str, ...]
    claim: str
    ca_file: Path | None
    rules: tuple[RoleRule, ...]
    sign_out: str = "provider"

    @property
    def realm(self) -> bytes:
        """What the rights of staff follow from; when it changes, everybody signs in again."""
        return repr((self.issuer, self.client_id, self.claim, self.rules)).encode()


@dataclass(frozen=True, slots=True)
class FleetPanelSettings:
    """The settings of the panel.

    Attributes:
        address: its address in browsers, without a slash at the end.
        name: its title.
        names: further host names.
        certificate: the certificate and its key; None for plain HTTP, which is for loopback only.
        idle_minutes: minutes of inactivity after which a session ends.
        openid: the OpenID provider.
    """

    address: str
    name: str
    names: tuple[str, ...]
    certificate: tuple[Path, Path] | None
    idle_minutes: int
    openid: OpenIdSettings

    @property
    def host(self) -> str:
        """The host name in the address."""
        return urlsplit(self.address).hostname or ""

    @property
    def port(self) -> int:
        """The port in the address."""
        return urlsplit(self.address).port or (443 if self.is_https else 80)

    @property
    def is_https(self) -> bool:
        """Whether browsers use https, directly or through a proxy."""
        return self.address.startswith("https:")


def load_settings(file: Path) -> FleetPanelSettings:
    """Read the settings. Blocks.

    Raises:
        InputError: they cannot be used.
    """
    try:
        text = _read(file, _LARGEST)
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _error(file, f"it is not TOML: {error}") from error
    except RecursionError as error:
        raise _error(file, "it is not TOML") from error
    openid, roles = document.pop("openid", None), document.pop("roles", None)
    panel = _parse(file, "", document)
    return FleetPanelSettings(
        _address(file, panel["address"]),
        panel["name"] or "mailslot",
        panel["names"],
        _certificate(file, panel),
        panel["idle_minutes"],
        _openid(file, openid, roles),
    )


def _openid(file: Path, table: object, roles: object) -> OpenIdSettings:
    values = _parse(file, "openid", table)
    for key in ("issuer", "client_id"):
        if values[key] is None:
            raise _error(file, f"{key} is missing in [openid]")
    scopes = values["scopes"]
    secret = values["client_secret_file"]
    return OpenIdSettings(
        values["issuer"],
        values["client_id"],
        None if secret is None else Secret(_read(secret, _MAX_SECRET).strip()),
        scopes if "openid" in scopes else ("openid", *scopes),
        values["claim"],
        values["ca_file"],
        _rules(file, roles),
        values["sign_out"],
    )


def _rules(file: Path, roles: object) -> tuple[RoleRule, ...]:
    if not isinstance(roles, list) or not roles:
        raise _error(file, 'nobody has a role: add [[roles]] with value = "…" and role = "fleet"')
    found: list[RoleRule] = []
    for each in cast("list[object]", roles):
        values = _parse(file, "roles", each)
        if values["value"] is None or values["role"] is None:
            raise _error(file, "each [[roles]] has a value and a role")
        try:
            found.append(RoleRule(values["value"], values["role"], values["tenant"] or ""))
        except InputError as error:
            raise _error(file, str(error).rstrip(".")) from error
    return tuple(found)


def _parse(file: Path, name: str, table: object) -> dict[str, Any]:
    known = TABLES[name]
    if not isinstance(table, dict):
        raise _error(file, f"[{name}] is missing" if table is None else f"{name} must be a table")
    values: dict[str, Any] = {key: each.default for key, each in known.items()}
    for key, value in cast("dict[str, object]", table).items():
        try:
            values[key] = parse_value(known, key, value)
        except InputError as error:
            where = f"[{name}] " if name else ""
            raise _error(file, f"{where}{str(error).rstrip('.')}") from error
    return values


def _address(file: Path, address: str | None) -> str:
    if address is None:
        raise _error(file, 'its address in browsers is missing: address = "https://…"')
    parts = urlsplit(address)
    if parts.path not in {"", "/"} or parts.query or parts.username is not None:
        raise _error(file, f"the address {address} must have nothing after the host and port")
    try:
        host, port = ascii_name(parts.hostname or ""), parts.port
    except (ValueError, InputError) as error:
        raise _error(file, f"the host or the port in the address {address} cannot be used") from error
    # As browsers send it: a sign-in under any other form begins again under this one.
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + ("" if port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{port}")


def _certificate(file: Path, panel: Mapping[str, Any]) -> tuple[Path, Path] | None:
    certificate, key = panel["certificate"], panel["key"]
    if (certificate is None) != (key is None):
        raise _error(file, "certificate and key go together: set both, or neither")
    return None if certificate is None else (certificate, key)


def _read(file: Path, limit: int) -> str:
    try:
        with file.open("rb") as opened:
            octets = opened.read(limit + 1)
        if len(octets) > limit:
            raise _error(file, "it is too large")
        return octets.decode()
    except OSError as error:
        raise _error(file, (error.strerror or "it cannot be read").lower()) from error
    except UnicodeDecodeError as error:
        raise _error(file, "it is not UTF-8") from error


def _error(file: Path, reason: str) -> InputError:
    return InputError(
        f"The settings of the fleet's panel, {file}, cannot be used: {reason}.", stage="resolve", cause="not_configured"
    )
