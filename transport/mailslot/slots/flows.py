"""The provider and the flow that the settings choose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from mailslot.errors import InputError
from mailslot.oauth.flow import Flow, Person
from mailslot.oauth.presets import preset, presets
from mailslot.oauth.providers import custom_provider
from mailslot.registry import PluginGroup

if TYPE_CHECKING:
    from collections.abc import Collection

    from mailslot.oauth.providers import Provider
    from mailslot.slots.settings import Settings

APP_FLOWS: Final = frozenset({"app", "service_account"})
"""The flows in which the application signs in by itself."""


def _is_source(found: object) -> bool:
    return not isinstance(found, type) if isinstance(found, Flow) else callable(found)


TOKEN_SOURCES: Final = PluginGroup[object](
    "mailslot.token_sources", noun="token source", check=_is_source, stage="token"
)
"""Flows, as objects, and token sources, as functions that make one."""


def provider_of(settings: Settings) -> Provider:
    """Return the provider that the settings name.

    Raises:
        InputError: they name none, or one that is not known.
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
    if settings.provider is None or settings.provider == "custom":
        raise InputError(
            f"No provider is set. Set provider to one of {', '.join(presets())}, or set issuer, or the endpoints of "
            "your own.",
            stage="token",
            cause="not_configured",
        )
    return preset(settings.provider)


def find_flow(name: str) -> Flow[Person]:
    """Return the flow with this name. Its module is imported: in a coroutine, call this in a thread.

    Raises:
        InputError: there is none, or it cannot be loaded.
    """
    found = TOKEN_SOURCES.find(name)
    if not isinstance(found, Flow):
        raise InputError(f"{name} is a source of tokens, and nobody signs in there.", stage="token")
    return cast("Flow[Person]", found)


def flow_name(settings: Settings, requested: str | None = None, blocked: Collection[str] = ()) -> str:
    """Return the name of the requested flow, else of the one in the settings, else of the provider's preferred one.

    With Google, an application that signs in itself does so as a service account.

    Args:
        settings: the settings of the record.
        requested: the flow that somebody names, blocked or not; None to choose one.
        blocked: flows that the organisation has blocked. They are not chosen unless there is no other one.

    Raises:
        InputError: as for `provider_of`.
    """
    provider = provider_of(settings)
    name = requested or settings.flow or provider.flows[0]
    if requested is None and name in blocked:
        others = offered_flows(provider.at_tenant(settings.tenant), settings, confidential=True, blocked=blocked)
        name = next(iter(others), name)
    return _own_name(provider, name)


def choose_flow(settings: Settings, requested: str | None, blocked: Collection[str] = ()) -> Flow[Person]:
    """Return the flow of `flow_name`, as `find_flow` does."""
    return find_flow(flow_name(settings, requested, blocked))


def offered_flows(
    provider: Provider, settings: Settings, *, confidential: bool, blocked: Collection[str] = ()
) -> tuple[str, ...]:
    """Return the names of the flows to offer: the one in the settings, then in the provider's order.

    Args:
        provider: the provider, with the tenant of the settings.
        settings: the settings of the record.
        confidential: whether the application has a secret or certificate, with which it could sign in by itself.
        blocked: flows that the organisation has blocked; they are left out.
    """
    wanted = None if settings.flow is None else _own_name(provider, settings.flow)
    found = [
        flow
        for flow in provider.flows
        if flow not in blocked
        and (flow not in APP_FLOWS or confidential or flow == wanted)
        and _is_allowed(provider, flow)
    ]
    return tuple(sorted(found, key=lambda flow: flow != wanted))


def _own_name(provider: Provider, flow: str) -> str:
    """Return what the provider calls the flow in which the application signs in by itself; other flows unchanged."""
    return "service_account" if flow == "app" and "service_account" in provider.flows else flow


def _is_allowed(provider: Provider, flow: str) -> bool:
    try:
        provider.check_flow(flow)
    except InputError:
        return False
    return True
