"""The provider and the flow that the settings choose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from mailslot.errors import InputError
from mailslot.oauth.flow import Flow, Person
from mailslot.oauth.presets import preset, presets
from mailslot.oauth.providers import custom_provider
from mailslot.registry import PluginGroup
from mailslot.slots.connection_profile import NotConfiguredError

if TYPE_CHECKING:
    from collections.abc import Collection

    from mailslot.oauth.providers import Provider
    from mailslot.slots.settings import Settings

APP_FLOWS: Final = frozenset({"app", "service_account"})
"""The flows in which the application signs in as itself, without a person."""


def _is_source(found: object) -> bool:
    return not isinstance(found, type) if isinstance(found, Flow) else callable(found)


TOKEN_SOURCES: Final = PluginGroup[object](
    "mailslot.token_sources", noun="token source", check=_is_source, stage="token"
)
"""The installed flows, which are objects, and token sources, which are functions that make one."""


def provider_of(settings: Settings) -> Provider:
    """Return the provider that the settings name.

    Raises:
        NotConfiguredError: they name none, or a custom one without issuer and endpoints.
        InputError: they name an unknown one.
    """
    own = settings.issuer or settings.token_endpoint or settings.authorization_endpoint
    if settings.provider in {None, "custom"} and own:
        return custom_provider(
            issuer=settings.issuer,
            authorization_endpoint=settings.authorization_endpoint,
            token_endpoint=settings.token_endpoint,
            device_authorization_endpoint=settings.device_authorization_endpoint,
            revocation_endpoint=settings.revocation_endpoint,
            scopes=" ".join(settings.scopes),
        )
    if settings.provider is None:
        raise NotConfiguredError(
            "provider",
            f"No provider is set: {', '.join(presets())}, or custom for one of your own.",
            stage="token",
        )
    if settings.provider == "custom":
        raise NotConfiguredError(
            "issuer",
            "Issuer is missing: the provider is custom, and neither its issuer nor its endpoints are set.",
            stage="token",
        )
    return preset(settings.provider)


def find_flow(name: str) -> Flow[Person]:
    """Return the flow with this name. This imports its module: in a coroutine, call it in a thread.

    Raises:
        InputError: there is no such flow, or it cannot be loaded.
    """
    found = TOKEN_SOURCES.find(name)
    if not isinstance(found, Flow):
        raise InputError(f"{name} is a source of tokens, and nobody signs in there.", stage="token")
    return cast("Flow[Person]", found)


def flow_name(settings: Settings, requested: str | None = None, blocked: Collection[str] = ()) -> str:
    """Return the name of the flow that is requested, else set, else preferred by the provider.

    For Google, the flow `app` becomes `service_account`.

    Args:
        settings: the settings of the record.
        requested: the flow that a person names, even if it is blocked; None to choose one.
        blocked: flows that the organisation has blocked; they are chosen only if there is no other.

    Raises:
        InputError: as for `provider_of`.
    """
    provider = provider_of(settings)
    name = requested or settings.flow or provider.flows[0]
    if requested is None and name in blocked:
        others = offered_flows(provider.at_tenant(settings.tenant), settings, confidential=True, blocked=blocked)
        name = next(iter(others), name)
    return _provider_flow_name(provider, name)


def choose_flow(settings: Settings, requested: str | None, blocked: Collection[str] = ()) -> Flow[Person]:
    """Return the flow that `flow_name` names."""
    return find_flow(flow_name(settings, requested, blocked))


def offered_flows(
    provider: Provider, settings: Settings, *, confidential: bool, blocked: Collection[str] = ()
) -> tuple[str, ...]:
    """Return the names of the flows to offer: first the one in the settings, then the others in the provider's order.

    Args:
        provider: the provider, for the tenant in the settings.
        settings: the settings of the record.
        confidential: whether the application has a secret or certificate, so that it can sign in as itself.
        blocked: flows that the organisation has blocked; they are left out.
    """
    wanted = None if settings.flow is None else _provider_flow_name(provider, settings.flow)
    found = [
        flow
        for flow in provider.flows
        if flow not in blocked
        and (flow not in APP_FLOWS or confidential or flow == wanted)
        and _is_allowed(provider, flow)
    ]
    return tuple(sorted(found, key=lambda flow: flow != wanted))


def _provider_flow_name(provider: Provider, flow: str) -> str:
    """Return the provider's name for the flow ``app``; other names are returned unchanged."""
    return "service_account" if flow == "app" and "service_account" in provider.flows else flow


def _is_allowed(provider: Provider, flow: str) -> bool:
    try:
        provider.check_flow(flow)
    except InputError:
        return False
    return True
