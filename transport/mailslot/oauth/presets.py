"""Parsing and checking ``providers.toml``. An error in this file is a bug, and raises `ValueError`."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from mailslot.errors import InputError
from mailslot.net.endpoint import Endpoint, Security
from mailslot.oauth.endpoint_url import check_endpoint_url
from mailslot.oauth.providers import (
    AdminConsent,
    ClientAuthentication,
    Endpoints,
    Limits,
    Provider,
    Quirks,
    Service,
)
from mailslot.oauth.resources import resources

if TYPE_CHECKING:
    from collections.abc import Mapping

_AUTHENTICATIONS: Final[Mapping[str, ClientAuthentication]] = {name: name for name in get_args(ClientAuthentication)}


@cache
def presets() -> Mapping[str, Provider]:
    """Return the known providers, by id; the file is parsed once."""
    return parse_presets(files("mailslot.oauth").joinpath("providers.toml").read_text("utf-8"))


def preset(name: str) -> Provider:
    """Return a known provider by its id, name or alias, in upper or lower case.

    Raises:
        InputError: it is not known.
    """
    wanted = _normalized(name)
    for provider in presets().values():
        if wanted in map(_normalized, (provider.id, provider.name, *provider.aliases)):
            return provider
    raise InputError(
        f"The provider {name!a} is not known. Known are {', '.join(presets())}, and custom for one of your own.",
        stage="token",
    )


def parse_presets(text: str) -> Mapping[str, Provider]:
    """Return the providers in the text of a file, by id.

    Raises:
        ValueError: a key is unknown or missing, a value has the wrong type, an address cannot be used, a fact has no
            source, or a source has no fact.
    """
    tables: dict[str, Any] = tomllib.loads(text)
    found: dict[str, Provider] = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ValueError(f"{name} is not a table")  # noqa: TRY004 - the same exception for all faults of the file
        whole = cast("dict[str, Any]", table)
        if "like" in whole:
            whole = _merged(tables[whole["like"]], {key: value for key, value in whole.items() if key != "like"})
        try:
            found[name] = _provider(name, whole)
        except InputError as error:
            raise ValueError(f"{name}: {error}") from error
    return found


class _Table:
    """A table of the file; `end` checks that all its keys were read."""

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        self._values = dict(values)
        self._name = name
        self.given = frozenset(values)

    def text(self, key: str) -> str:
        found = self.optional_text(key)
        if found is None:
            raise ValueError(f"{self._name}.{key} is missing")
        return found

    def optional_text(self, key: str) -> str | None:
        value = self._values.pop(key, None)
        if value is not None and (not isinstance(value, str) or not value):
            raise ValueError(f"{self._name}.{key} is not text")
        return value

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        value = self._values.pop(key, list(default))
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in cast("list[object]", value)):
            raise ValueError(f"{self._name}.{key} is not a list of texts")
        return tuple(cast("list[str]", value))

    def number(self, key: str) -> int | None:
        value = self._values.pop(key, None)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value <= 0):
            raise ValueError(f"{self._name}.{key} is not a number above 0")
        return value

    def flag(self, key: str) -> bool:
        value = self._values.pop(key, False)
        if not isinstance(value, bool):
            raise ValueError(f"{self._name}.{key} is neither true nor false")  # noqa: TRY004 - as above
        return value

    def mapping(self, key: str) -> dict[str, str]:
        table = self.table(key)
        return {name: table.text(name) for name in table.given}

    def table(self, key: str) -> _Table:
        value = self._values.pop(key, {})
        if not isinstance(value, dict):
            raise ValueError(f"{self._name}.{key} is not a table")  # noqa: TRY004 - as above
        return _Table(cast("dict[str, Any]", value), f"{self._name}.{key}")

    def end(self) -> None:
        if self._values:
            raise ValueError(f"{self._name} has unknown keys: {', '.join(sorted(self._values))}")


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` updated by `over`; tables are merged, all other values replaced."""
    merged = dict(base)
    for key, value in over.items():
        both_tables = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], cast("dict[str, Any]", value)) if both_tables else value
    return merged


def _provider(name: str, values: Mapping[str, Any]) -> Provider:
    table = _Table(values, name)
    portal = table.text("portal")
    facts = _fact_names(values)
    provider = Provider(
        id=name,
        name=table.text("name"),
        endpoints=_endpoints(table.table("endpoints")),
        smtp=_service(table.table("smtp")),
        pop=_service(table.table("pop")),
        imap=_service(table.table("imap")),
        admin_consent=_admin_consent(table.table("admin_consent")),
        flows=table.texts("flows"),
        refused_flows=table.mapping("refused_flows"),
        tenant=table.optional_text("tenant"),
        registration=table.text("registration").replace("{portal}", portal),
        limits=_limits(table.table("limits")),
        quirks=_quirks(table.table("quirks")),
        aliases=table.texts("aliases"),
        sources=table.mapping("sources"),
    )
    table.end()
    _check(provider, facts)
    return provider


def _endpoints(table: _Table) -> Endpoints:
    found = Endpoints(
        issuer=table.optional_text("issuer"),
        token=table.text("token"),
        authorization=table.optional_text("authorization"),
        device_authorization=table.optional_text("device_authorization"),
        revocation=table.optional_text("revocation"),
        names_issuer=table.flag("names_issuer"),
    )
    table.end()
    return found


def _service(table: _Table) -> Service | None:
    if not table.given:
        return None
    found = Service(
        servers=tuple(map(_server, table.texts("servers"))),
        scopes=table.texts("scopes"),
        app_scopes=table.texts("app_scopes"),
        app_roles=table.texts("app_roles"),
        mechanisms=table.texts("mechanisms", ("XOAUTH2", "OAUTHBEARER")),
        resource=table.optional_text("resource"),
    )
    table.end()
    if not found.servers or not found.scopes or set(found.mechanisms) - {"XOAUTH2", "OAUTHBEARER"}:
        raise ValueError("a service has no servers, no scopes, or a mechanism that takes no tokens")
    return found


def _admin_consent(table: _Table) -> AdminConsent | None:
    if not table.given:
        return None
    found = AdminConsent(
        address=table.text("address"),
        parameters=table.mapping("parameters"),
        opened_by=table.text("opened_by"),
        separator=table.optional_text("separator") or " ",
    )
    table.end()
    known = {"client_id": "", "scopes": "", "redirect_uri": "", "state": ""}
    try:
        for value in found.parameters.values():
            value.format_map(known)
    except (KeyError, ValueError) as error:
        raise ValueError(f"a parameter of admin_consent has an unknown placeholder: {error}") from None
    return found


def _server(text: str) -> Endpoint:
    address, _, security = text.partition(" ")
    host, _, port = address.rpartition(":")
    return Endpoint(host, int(port), Security(security))


def _limits(table: _Table) -> Limits:
    found = Limits(
        messages_per_minute=table.number("messages_per_minute"),
        messages_per_day=table.number("messages_per_day"),
        recipients_per_day=table.number("recipients_per_day"),
        connections=table.number("connections"),
        message_octets=table.number("message_octets"),
    )
    table.end()
    return found


def _quirks(table: _Table) -> Quirks:
    found = Quirks(
        authorization_parameters=table.mapping("authorization_parameters"),
        account_scopes=table.texts("account_scopes"),
        client_authentication=_AUTHENTICATIONS[table.optional_text("client_authentication") or "client_secret_basic"],
        assertion_algorithm=table.optional_text("assertion_algorithm") or "RS256",
        loopback_host=table.optional_text("loopback_host") or "127.0.0.1",
        secret_required=table.flag("secret_required"),
        closed=table.flag("closed"),
        shared_tenants=table.texts("shared_tenants"),
        disuse_days=table.number("disuse_days"),
        blockable_flows=table.texts("blockable_flows"),
        testing_days=table.number("testing_days"),
    )
    table.end()
    return found


def _fact_names(values: Mapping[str, Any]) -> set[str]:
    """Return the names of all facts, each of which needs a source."""
    groups = {"endpoints", "smtp", "pop", "imap", "limits", "quirks", "admin_consent"}
    inner = {f"{group}.{key}" for group in groups & set(values) for key in values[group]}
    return inner | (set(values) & {"flows", "refused_flows", "registration", "tenant"})


def _check(provider: Provider, facts: set[str]) -> None:
    unsourced = {fact for fact in facts if not {fact, fact.partition(".")[0]} & set(provider.sources)}
    unused = {
        source
        for source in provider.sources
        if not any(fact == source or fact.startswith(f"{source}.") for fact in facts)
    }
    if unsourced or unused:
        raise ValueError(
            f"{provider.id}: facts without a source {sorted(unsourced)}, sources without one {sorted(unused)}"
        )
    if set(provider.flows) & set(provider.refused_flows) or not provider.flows:
        raise ValueError(f"{provider.id}: each flow is allowed or refused")
    for service in (provider.smtp, provider.pop, provider.imap):
        if service is not None and service.resource not in {None, *resources()}:
            raise ValueError(f"{provider.id}: there is no resource {service.resource} in resources.toml")
    _check_addresses(provider.at_tenant(None))


def _check_addresses(at_home: Provider) -> None:
    endpoints = at_home.endpoints
    for address in (endpoints.token, endpoints.authorization, endpoints.device_authorization, endpoints.revocation):
        if address is not None:
            check_endpoint_url(address, "endpoint")
    if endpoints.issuer is not None:
        check_endpoint_url(endpoints.issuer, "issuer", issuer=True)
    if at_home.admin_consent is not None:
        check_endpoint_url(at_home.admin_consent.address, "admin_consent")
    for flow in at_home.flows:
        if flow != "app":
            at_home.check_flow(flow)


def _normalized(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())
