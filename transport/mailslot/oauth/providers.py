"""Providers as data: their endpoints, scopes, limits and quirks, and the source of each fact."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

from mailslot.errors import InputError
from mailslot.oauth.endpoint_url import check_endpoint_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.net.endpoint import Endpoint

Protocol = Literal["smtp", "pop", "imap"]
ClientAuthentication = Literal["client_secret_basic", "client_secret_post", "client_secret_jwt"]
"""How a client with a secret proves itself; the best for everybody first."""

_TENANT: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """A provider's endpoints. All are https, or http on a loopback address.

    Attributes:
        issuer: the issuer identifier; None where it is not known.
        token: the token endpoint; empty only where discovery is still to find it.
        authorization: None where there is none; so for the other two.
        device_authorization: RFC 8628.
        revocation: RFC 7009.
        names_issuer: whether every authorization response bears ``iss`` (RFC 9207 section 3).
    """

    issuer: str | None = None
    token: str = ""
    authorization: str | None = None
    device_authorization: str | None = None
    revocation: str | None = None
    names_issuer: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """One mail protocol at a provider.

    Attributes:
        servers: where; the best first.
        scopes: what to ask for when a person signs in.
        app_scopes: what to ask for when the application signs in by itself; empty where it cannot.
        app_roles: what its own token has to bear in ``roles``, any of them; empty where that is not known.
        mechanisms: the bearer mechanisms that it takes; the best first.
        resource: what tokens for it are for, by its id in ``resources.toml``; None where that is not known.
        token_limit: characters of the longest access token that the servers take; None where not known.
    """

    servers: tuple[Endpoint, ...] = ()
    scopes: tuple[str, ...] = ()
    app_scopes: tuple[str, ...] = ()
    app_roles: tuple[str, ...] = ()
    mechanisms: tuple[str, ...] = ("XOAUTH2", "OAUTHBEARER")
    resource: str | None = None
    token_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an account may send; None where it is not known.

    Attributes:
        messages_per_minute: more are slowed down or refused.
        messages_per_day: likewise.
        recipients_per_day: likewise.
        connections: at once, for one mailbox.
        message_octets: of one message, as it goes over the wire.
    """

    messages_per_minute: int | None = None
    messages_per_day: int | None = None
    recipients_per_day: int | None = None
    connections: int | None = None
    message_octets: int | None = None


@dataclass(frozen=True, slots=True)
class Quirks:
    """Where a provider differs from others.

    Attributes:
        authorization_parameters: what its authorization endpoint wants besides the standard ones.
        account_scopes: what to ask for besides, so that the answer names who signed in.
        client_authentication: how a client with a secret proves itself.
        assertion_algorithm: JWS algorithm of a client assertion signed with an RSA key.
        loopback_host: the host that its registered loopback redirects bear, without a path and with any port
            (RFC 8252 section 7.3).
        secret_required: whether even an installed application has a secret that the token endpoint wants.
        closed: whether new applications are no longer registered for mail.
        shared_tenants: tenants where an application cannot sign in by itself.
        disuse_days: days without use after which a refresh token expires; None where it does not, or not known.
        blockable_flows: flows that an organisation may block at any time; grants obtained by them can then no longer be
            refreshed.
        testing_days: days after which the grants of an application in testing die; None where that is no matter.
    """

    authorization_parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    account_scopes: tuple[str, ...] = ()
    client_authentication: ClientAuthentication = "client_secret_basic"
    assertion_algorithm: str = "RS256"
    loopback_host: str = "127.0.0.1"
    secret_required: bool = False
    closed: bool = False
    shared_tenants: tuple[str, ...] = ()
    disuse_days: int | None = None
    blockable_flows: tuple[str, ...] = ()
    testing_days: int | None = None


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider.

    Attributes:
        id: its name in settings.
        name: its name for people.
        endpoints: where it answers; they may hold ``{tenant}`` until `at_tenant`.
        smtp: submission; None where it has none.
        pop: POP3; None where it has none.
        imap: IMAP; None where it has none.
        flows: names of the flows that it allows, in the order in which they are offered: first the one whose grants are
            the likeliest to live.
        refused_flows: the others, and why not, in one sentence.
        tenant: the tenant; before `at_tenant` the one where none is set. None where it knows no tenants.
        registration: how to register an application, step by step.
        limits: how much may be sent.
        quirks: what it does otherwise than others.
        aliases: other names in settings.
        sources: where each fact is from, by its name, such as ``"smtp.scopes"``, or its table's.
    """

    id: str
    name: str
    endpoints: Endpoints
    smtp: Service | None = None
    pop: Service | None = None
    imap: Service | None = None
    flows: tuple[str, ...] = ()
    refused_flows: Mapping[str, str] = field(default_factory=dict[str, str])
    tenant: str | None = None
    registration: str = ""
    limits: Limits = field(default_factory=Limits)
    quirks: Quirks = field(default_factory=Quirks)
    aliases: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def needs_discovery(self) -> bool:
        """Whether only its issuer is known so far."""
        return not self.endpoints.token

    def service(self, protocol: Protocol) -> Service | None:
        """Return what it offers for a protocol."""
        return {"smtp": self.smtp, "pop": self.pop, "imap": self.imap}[protocol]

    def scopes(self, protocol: Protocol, *, app: bool = False) -> tuple[str, ...]:
        """Return the scopes to ask for: for a person who signs in, or for the application itself.

        Raises:
            InputError: it does not offer that protocol.
        """
        service = self.service(protocol)
        if service is None:
            raise InputError(f"{self.name} has no {protocol.upper()}.", stage="token")
        return service.app_scopes if app else tuple(dict.fromkeys(service.scopes + self.quirks.account_scopes))

    def at_tenant(self, tenant: str | None) -> Provider:
        """Return the provider with the tenant put into its endpoints: the given one, or its default.

        Raises:
            InputError: that cannot be a tenant's name, or the provider knows no tenants.
        """
        if self.tenant is None:
            if tenant is None:
                return self
            raise InputError(f"{self.name} knows no tenants; leave tenant out.", stage="token")
        chosen = self.tenant if tenant is None else tenant
        if not _TENANT.fullmatch(chosen):
            raise InputError(f"{chosen!a} cannot be the name or id of a tenant.", stage="token")

        def put(address: str | None) -> str | None:
            return None if address is None else address.replace("{tenant}", chosen)

        return replace(
            self,
            tenant=chosen,
            endpoints=replace(
                self.endpoints,
                token=self.endpoints.token.replace("{tenant}", chosen),
                authorization=put(self.endpoints.authorization),
                device_authorization=put(self.endpoints.device_authorization),
                revocation=put(self.endpoints.revocation),
            ),
        )

    def check_flow(self, flow: str) -> None:
        """Refuse a flow that the provider does not allow; a flow about which nothing is known passes.

        Whether an application may sign in itself depends on the tenant: call this after `at_tenant`, and after
        discovery, which shows whether there is an endpoint for the flow.

        Raises:
            InputError: with the reason why not.
        """
        reason = self.refused_flows.get(flow)
        if reason is None and not self.needs_discovery:
            if flow in {"browser", "paste"} and self.endpoints.authorization is None:
                reason = f"{self.name} names no authorization endpoint, so nobody can sign in with {flow}."
            elif flow == "device" and self.endpoints.device_authorization is None:
                reason = f"{self.name} names no device authorization endpoint, so it gives no device codes."
        resolved = "{tenant}" not in self.endpoints.token
        if reason is None and flow == "app" and resolved and self.tenant in self.quirks.shared_tenants:
            reason = f"For the flow app {self.name} needs the organisation's own tenant: set tenant to its id or name."
        if reason is not None:
            raise InputError(reason, stage="token", cause="app_type_wrong")


def custom_provider(
    *,
    issuer: str | None = None,
    authorization_endpoint: str | None = None,
    token_endpoint: str | None = None,
    device_authorization_endpoint: str | None = None,
    revocation_endpoint: str | None = None,
    scopes: str = "",
) -> Provider:
    """Return a provider from the settings: from its issuer, for discovery, or from its endpoints.

    Args:
        issuer: the issuer identifier. Alone, it is asked for the rest; with endpoints, it is what authorization
            responses are compared with.
        authorization_endpoint: where a person signs in.
        token_endpoint: where tokens are given out.
        device_authorization_endpoint: where device codes are given out.
        revocation_endpoint: where tokens are given up.
        scopes: what to ask for, separated by blanks.

    Raises:
        InputError: an address cannot be used, or too few are given.
    """
    given = {
        "authorization_endpoint": authorization_endpoint,
        "token_endpoint": token_endpoint,
        "device_authorization_endpoint": device_authorization_endpoint,
        "revocation_endpoint": revocation_endpoint,
    }
    named = [name for name, address in given.items() if address is not None]
    if issuer is None and not named:
        raise InputError(
            "A provider of your own needs its issuer, or its endpoints one by one.",
            stage="token",
            cause="not_configured",
        )
    if named and token_endpoint is None:
        raise InputError(
            f"Half of the endpoints are missing: {named[0]} is set, and token_endpoint is not. Set issuer alone, or "
            "token_endpoint and those that the flow needs.",
            stage="token",
        )
    if issuer is not None:
        check_endpoint_url(issuer, "issuer", issuer=True)
    for name, address in given.items():
        if address is not None:
            check_endpoint_url(address, name)
    service = Service(scopes=tuple(scopes.split()), app_scopes=tuple(scopes.split()))
    return Provider(
        id="custom",
        name="The provider of your own",
        endpoints=Endpoints(
            issuer=issuer,
            token=token_endpoint or "",
            authorization=authorization_endpoint,
            device_authorization=device_authorization_endpoint,
            revocation=revocation_endpoint,
        ),
        smtp=service,
        pop=service,
        imap=service,
        flows=("browser", "device", "paste", "app"),
        refused_flows={"service_account": "Service accounts of this kind are Google's alone; use the flow app."},
        registration=_REGISTRATION,
    )


_REGISTRATION: Final = """
1. Register a client at your authorization server: a native application, or public client, with the redirect URI
   http://127.0.0.1 (any port) for the flows browser and paste, and the device grant for the flow device; or a
   confidential client with the client credentials grant for the flow app.
2. Allow it the scopes that your mail server wants, and offline_access where your server gives refresh tokens for it:
     mailslot set SLOT client_id=… scopes="…"
3. If it has a secret:
     mailslot set SLOT client_secret=-
"""
