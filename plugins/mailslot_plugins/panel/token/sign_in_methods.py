"""The sign-in methods that suit a provider and the address of the panel, the best one first."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, cast

from mailslot.slots.flows import APP_FLOWS, offered_flows
from mailslot_plugins.tokens.paste import unused_loopback_uri

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.datastructures import URL

    from mailslot.oauth.providers import Provider
    from mailslot.slots.settings import Settings

CALLBACK: Final = "/oauth/callback"
"""The path of the redirect URI for a panel with https."""

MethodName = Literal["browser", "device", "paste", "app", "source"]


@dataclass(frozen=True, slots=True)
class SignInMethod:
    """A sign-in method.

    Attributes:
        name: the method, or ``"source"`` if the settings name a token source.
        flow: the name of the flow, which differs for providers with another flow for applications.
        redirect_uri: the redirect URI; empty if there is none.
        can_be_blocked: whether an organisation may block it, and with it the tokens that were obtained by it.
    """

    name: MethodName
    flow: str
    redirect_uri: str = ""
    can_be_blocked: bool = False


SOURCE: Final = SignInMethod("source", "")


def sign_in_methods(
    provider: Provider, settings: Settings, url: URL, *, confidential: bool, blocked: Collection[str] = ()
) -> tuple[SignInMethod, ...]:
    """Return the available methods, in the order of `mailslot.slots.flows.offered_flows`.

    Args:
        provider: the provider, with the tenant of the settings.
        settings: the record's settings.
        url: the URL of the request to the panel.
        confidential: whether the application has a secret or certificate.
        blocked: flows that the organisation has blocked.
    """
    found: list[SignInMethod] = []
    for flow in offered_flows(provider, settings, confidential=confidential, blocked=blocked):
        name: MethodName = "app" if flow in APP_FLOWS else cast("MethodName", flow)
        redirect_uri = _redirect_uri(name, provider, settings, url)
        if name == "browser" and not redirect_uri:
            continue
        found.append(SignInMethod(name, flow, redirect_uri, flow in provider.quirks.blockable_flows))
    return tuple(found)


def _redirect_uri(name: MethodName, provider: Provider, settings: Settings, url: URL) -> str:
    if name == "browser":
        return callback_at(url, provider)
    if name == "paste":
        return settings.redirect_uri or unused_loopback_uri(provider.quirks.loopback_host)
    return ""


def callback_at(url: URL, provider: Provider) -> str:
    """Return the redirect URI of this panel; empty if the provider cannot redirect to it.

    On loopback it has no path, like registered loopback URIs (RFC 8252 section 7.3), and the host name that the
    provider accepts, whatever the browser uses. On other addresses only https is safe (RFC 9700 section 2.6).
    """
    if url.scheme == "https":
        return f"https://{url.netloc}{CALLBACK}"
    if not _is_loopback(url.hostname or "") or (url.hostname == "::1" and _is_address(provider.quirks.loopback_host)):
        return ""
    return f"http://{provider.quirks.loopback_host}:{url.port or 80}"


def redirect_uris(
    provider: Provider, url: URL, *, redirect_uri: str | None = None, redirect_port: int | None = None
) -> tuple[str, ...]:
    """Return the redirect URIs to register for an application, for all methods.

    Args:
        provider: the provider.
        url: the URL of the request to the panel.
        redirect_uri: the one in the settings, for sign-ins on other machines.
        redirect_port: the port in the settings, for sign-ins on this machine.
    """
    callback = callback_at(url, provider)
    here = (callback,) if callback.startswith("https:") else ()
    port = "" if redirect_port is None else f":{redirect_port}"
    pasted = () if redirect_uri is None else (redirect_uri,)
    return tuple(dict.fromkeys((f"http://{provider.quirks.loopback_host}{port}", *pasted, *here)))


def _is_loopback(host: str) -> bool:
    return (
        host == "localhost"
        or host.endswith(".localhost")
        or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
