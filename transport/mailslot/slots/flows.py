"""The provider and the flow that the settings choose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from mailslot.errors import InputError
from mailslot.oauth.flow import Flow, Person
from mailslot.oauth.presets import preset, presets
from mailslot.oauth.providers import custom_provider
from mailslot.registry import PluginGroup

if TYPE_CHECKING:
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


def flow_name(settings: Settings, requested: str | None = None) -> str:
    """Return the name of the requested flow, else of the one in the settings, else of the provider's preferred one.

    With Google, an application that signs in itself does so as a service account.

    Raises:
        InputError: as for `provider_of`.
    """
    provider = provider_of(settings)
    name = requested or settings.flow or provider.flows[0]
    if name == "app" and "app" not in provider.flows and "service_account" in provider.flows:
        name = "service_account"
    return name


def choose_flow(settings: Settings, requested: str | None) -> Flow[Person]:
    """Return the flow of `flow_name`, as `find_flow` does."""
    return find_flow(flow_name(settings, requested))
