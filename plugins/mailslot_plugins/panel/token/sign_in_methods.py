"""The ways to sign in that fit a provider and the place where the panel was opened, the best one first."""

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
"""Where a provider sends a browser back to that opened the panel by https."""

Name = Literal["browser", "device", "paste", "app", "source"]

# Where the panel was opened on loopback, whatever is registered for the command holds for it as well. An https address
# has to be registered for itself, which the other ways do not want.
_ON_LOOPBACK: Final[tuple[Name, ...]] = ("browser", "device", "paste", "app")
_ELSEWHERE: Final[tuple[Name, ...]] = ("device", "browser", "paste", "app")


@dataclass(frozen=True, slots=True)
class SignInMethod:
    """A way to sign in.

    Attributes:
        name: the flow's, or ``"source"`` where the settings name where tokens come from.
        flow: the flow's own name, which differs where a provider calls an application that signs in otherwise.
        redirect_uri: where a browser comes back to; empty where none does.
    """

    name: Name
    flow: str
    redirect_uri: str = ""


SOURCE: Final = SignInMethod("source", "")


def sign_in_methods(
    provider: Provider, settings: Settings, url: URL, *, confidential: bool
) -> tuple[SignInMethod, ...]:
    """Return the ways that are open.

    Args:
        provider: at the tenant that is set.
        settings: the record's.
        url: by which the panel was asked.
        confidential: whether the application can prove who it is.
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
    return tuple(sorted(found, key=lambda way: way.name != settings.flow))


def callback_at(url: URL, provider: Provider) -> str:
    """Return where a provider may send the browser back to; empty where it may not send it to this panel.

    On loopback that has no path, as such addresses are registered (RFC 8252 section 7.3), and bears the name that the
    provider knows for it, whatever the browser calls it. Anywhere else, only https is safe (RFC 9700 section 2.6).

    Args:
        url: by which the panel was asked.
        provider: who is to send it.
    """
    if url.scheme == "https":
        return f"https://{url.netloc}{CALLBACK}"
    if not _is_loopback(url.hostname or "") or (url.hostname == "::1" and _is_address(provider.quirks.loopback_host)):
        return ""
    return f"http://{provider.quirks.loopback_host}:{url.port or 80}"


def registered(
    provider: Provider, url: URL, *, redirect_uri: str | None = None, redirect_port: int | None = None
) -> tuple[str, ...]:
    """Return the redirect addresses that an application has to be registered with, for all the ways from here.

    Args:
        provider: who compares them.
        url: by which the panel was asked.
        redirect_uri: the one that is set for sign-ins elsewhere.
        redirect_port: the port that is set for sign-ins on this machine.
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
