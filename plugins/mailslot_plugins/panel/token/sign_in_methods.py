"""The sign-in methods that suit a provider and the address of the panel, the best one first."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mailslot.errors import InputError
from mailslot_plugins.tokens.paste import unused_loopback_uri

if TYPE_CHECKING:
    from starlette.datastructures import URL

    from mailslot.oauth.providers import Provider
    from mailslot.slots.settings import Settings

CALLBACK: Final = "/oauth/callback"
"""The path of the redirect URI for a panel with https."""

MethodName = Literal["browser", "device", "paste", "app", "source"]

# On loopback, the redirect URI registered for the command is valid for the panel, too. An https address has to be
# registered separately, which the other methods do not need.
_ON_LOOPBACK: Final[tuple[MethodName, ...]] = ("browser", "device", "paste", "app")
_ELSEWHERE: Final[tuple[MethodName, ...]] = ("device", "browser", "paste", "app")


@dataclass(frozen=True, slots=True)
class SignInMethod:
    """A sign-in method.

    Attributes:
        name: the method, or ``"source"`` if the settings name a token source.
        flow: the name of the flow, which differs for providers with another flow for applications.
        redirect_uri: the redirect URI; empty if there is none.
    """

    name: MethodName
    flow: str
    redirect_uri: str = ""


SOURCE: Final = SignInMethod("source", "")


def sign_in_methods(
    provider: Provider, settings: Settings, url: URL, *, confidential: bool
) -> tuple[SignInMethod, ...]:
    """Return the available methods.

    Args:
        provider: the provider, with the tenant of the settings.
        settings: the record's settings.
        url: the URL of the request to the panel.
        confidential: whether the application has a secret or certificate.
    """
    callback = callback_at(url, provider)
    found: list[SignInMethod] = []
    for name in _ON_LOOPBACK if url.scheme == "http" else _ELSEWHERE:
        flow = "service_account" if name == "app" and "service_account" in provider.flows else name
        if flow not in provider.flows or not _is_allowed(provider, flow):
            continue
        if name == "app" and not confidential and settings.flow != "app":
            continue
        if name != "browser":
            back = (
                (settings.redirect_uri or unused_loopback_uri(provider.quirks.loopback_host)) if name == "paste" else ""
            )
            found.append(SignInMethod(name, flow, back))
        elif callback:
            found.append(SignInMethod(name, flow, callback))
    return tuple(sorted(found, key=lambda method: method.name != settings.flow))


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


def _is_allowed(provider: Provider, flow: str) -> bool:
    try:
        provider.check_flow(flow)
    except InputError:
        return False
    return True


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
