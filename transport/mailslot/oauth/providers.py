"""Providers: their endpoints, scopes, limits and quirks, and the source of each fact."""

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
"""How a client with a secret authenticates; the preferred method first."""

_TENANT: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """A provider's endpoints. All are https, or http on a loopback address.

    Attributes:
        issuer: the issuer identifier; None if unknown.
        token: the token endpoint; empty until it is discovered.
        authorization: the authorization endpoint; None if there is none.
        device_authorization: the device authorization endpoint (RFC 8628); None if there is none.
        revocation: the revocation endpoint (RFC 7009); None if there is none.
        names_issuer: whether every authorization response contains ``iss`` (RFC 9207 section 3).
        jwks: where its keys are with which it signs ID tokens (RFC 8414 section 2); None if unknown.
        end_session: where a browser signs out (OpenID Connect RP-Initiated Logout 1.0); None if it cannot.
    """

    issuer: str | None = None
    token: str = ""
    authorization: str | None = None
    device_authorization: str | None = None
    revocation: str | None = None
    names_issuer: bool = False
    jwks: str | None = None
    end_session: str | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """A provider's service for one mail protocol.

    Attributes:
        servers: its servers; the best first.
        scopes: the scopes to request when a person signs in.
        app_scopes: the scopes to request when the application signs in as itself; empty if it cannot.
        app_roles: the ``roles`` of which the application's own token must contain one; empty if unknown.
        mechanisms: the bearer mechanisms that it supports; the best first.
        resource: the id, in ``resources.toml``, of the resource that its tokens are for; None if unknown.
    """

    servers: tuple[Endpoint, ...] = ()
    scopes: tuple[str, ...] = ()
    app_scopes: tuple[str, ...] = ()
    app_roles: tuple[str, ...] = ()
    mechanisms: tuple[str, ...] = ("XOAUTH2", "OAUTHBEARER")
    resource: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an account may send; None if unknown.

    Attributes:
        messages_per_minute: messages in a minute; further ones are delayed or refused.
        messages_per_day: messages in a day.
        recipients_per_day: recipients in a day.
        connections: simultaneous connections to one mailbox.
        message_octets: the size of one message, as transmitted.
    """

    messages_per_minute: int | None = None
    messages_per_day: int | None = None
    recipients_per_day: int | None = None
    connections: int | None = None
    message_octets: int | None = None


@dataclass(frozen=True, slots=True)
class Quirks:
    """How a provider differs from others.

    Attributes:
        authorization_parameters: additional parameters that its authorization endpoint requires.
        account_scopes: additional scopes to request, so that the response names the user.
        client_authentication: how a client with a secret authenticates.
        assertion_algorithm: the JWS algorithm of client assertions signed with an RSA key.
        loopback_host: the host of loopback redirect URIs as they are registered, without a path and with any port (RFC
            8252 section 7.3).
        secret_required: whether even an installed application has a secret, which the token endpoint requires.
        closed: whether new applications can no longer be registered for mail.
        shared_tenants: tenants in which an application cannot sign in as itself.
        disuse_days: days without use after which a refresh token expires; None if it does not, or if unknown.
        blockable_flows: flows that an organisation may block at any time; their grants can then no longer be refreshed.
        testing_days: days after which grants of an application in testing expire; None if they do not.
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
class AdminConsent:
    """Where an administrator consents to an application for a whole organisation.

    Attributes:
        address: the page; it may contain ``{tenant}`` until `Provider.at_tenant`.
        parameters: its query; ``{client_id}``, ``{scopes}``, ``{redirect_uri}`` and ``{state}`` are filled in.
        opened_by: who may consent there, as it follows “by”.
        separator: what stands between two scopes.
    """

    address: str
    parameters: Mapping[str, str]
    opened_by: str
    separator: str = " "

    @property
    def answers(self) -> bool:
        """Whether the page sends the browser back with an answer."""
        return any("{redirect_uri}" in value for value in self.parameters.values())


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider of tokens and mail services.

    Attributes:
        id: its name in settings.
        name: its name for people.
        endpoints: its endpoints; they may contain ``{tenant}`` until `at_tenant`.
        smtp: its submission service; None if it has none.
        pop: its POP3 service; None if it has none.
        imap: its IMAP service; None if it has none.
        admin_consent: where an administrator consents for a whole organisation; None if nobody can.
        flows: the names of the flows that it allows, in the order in which they are offered: the one with the most
            durable grants comes first.
        refused_flows: the other flows, each with the reason in one sentence.
        tenant: the tenant; before `at_tenant` the default one. None if it has no tenants.
        registration: instructions for registering an application, step by step.
        limits: its sending limits.
        quirks: how it differs from others.
        aliases: other names for it in settings.
        sources: the source of each fact, by its name, such as ``"smtp.scopes"``, or by its table.
    """

    id: str
    name: str
    endpoints: Endpoints
    smtp: Service | None = None
    pop: Service | None = None
    imap: Service | None = None
    admin_consent: AdminConsent | None = None
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
        """Whether its endpoints must be discovered from its issuer."""
        return not self.endpoints.token

    def service(self, protocol: Protocol) -> Service | None:
        """Return its service for a protocol; None if it has none."""
        return {"smtp": self.smtp, "pop": self.pop, "imap": self.imap}[protocol]

    def scopes(self, protocol: Protocol, *, app: bool = False) -> tuple[str, ...]:
        """Return the scopes to request for a person who signs in, or for the application itself.

        Raises:
            InputError: it does not offer this protocol.
        """
        service = self.service(protocol)
        if service is None:
            raise InputError(f"{self.name} has no {protocol.upper()}.", stage="token")
        return service.app_scopes if app else tuple(dict.fromkeys(service.scopes + self.quirks.account_scopes))

    def at_tenant(self, tenant: str | None) -> Provider:
        """Return the provider with a tenant inserted into its endpoints: the given one, or the default.

        Raises:
            InputError: the tenant's name is invalid, or the provider has no tenants.
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
            admin_consent=None
            if self.admin_consent is None
            else replace(self.admin_consent, address=self.admin_consent.address.replace("{tenant}", chosen)),
        )

    def check_flow(self, flow: str, *, signs_in: bool = True) -> None:
        """Check that the provider allows a flow; an unknown flow counts as allowed.

        Call this after `at_tenant`, since the tenant determines whether an application may sign in as itself, and after
        discovery, which shows whether there is an endpoint for the flow.

        Args:
            flow: the name of the flow.
            signs_in: whether somebody is to sign in. A grant that is there already is refreshed at the token endpoint
                alone (RFC 6749 section 6).

        Raises:
            InputError: it does not; the sentence gives the reason.
        """
        reason = self.refused_flows.get(flow)
        if reason is None and signs_in and not self.needs_discovery:
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
    """Return a provider that is defined by settings: by its issuer, for discovery, or by its endpoints.

    Args:
        issuer: the issuer identifier. Without endpoints, they are discovered from it; with endpoints, it is compared
            with authorization responses.
        authorization_endpoint: the authorization endpoint.
        token_endpoint: the token endpoint.
        device_authorization_endpoint: the device authorization endpoint.
        revocation_endpoint: the revocation endpoint.
        scopes: the scopes to request, separated by blanks.

    Raises:
        InputError: an address cannot be used, or some are missing.
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
        name="your own provider",
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
