"""The paste flow: authorization code with a browser on another machine, whose final address is pasted here.

The browser is redirected to the loopback address of its own machine, where nothing listens, or to the configured
redirect URI. Its address bar then contains the response.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import SplitResult, urlsplit

import anyio

from mailslot.plugin import RefreshTokenFlow, new_grant
from mailslot_plugins.tokens.authorization import (
    SIGN_IN_TIMEOUT,
    AuthorizationAttempt,
    parse_parameters,
    sign_in_incomplete_error,
    sign_in_timeout_error,
)

if TYPE_CHECKING:
    from mailslot.plugin import AddressPrompt, Grant, OAuthClient, Secret, TokenHttp

_TRIES: Final = 5
_MAX_CHARACTERS: Final = 32_768  # of a pasted text; browsers allow only shorter addresses
_DYNAMIC_PORTS: Final = range(49_152, 65_536)  # RFC 6335 section 6
_WRAPPING: Final = "\"'`<>()[]“”„‚‘’«»"


Fault = Literal["incomplete", "no_end", "other_attempt", "other_address"]


class UnusablePasteError(ValueError):
    """The pasted text cannot be used; the message says why.

    Attributes:
        fault: the kind of fault, for messages in other languages.
    """

    def __init__(self, fault: Fault, sentence: str) -> None:
        super().__init__(sentence)
        self.fault = fault


@dataclass(frozen=True)
class PasteFlow(RefreshTokenFlow):
    """The flow ``paste``.

    Attributes:
        timeout: seconds that the sign-in may take.
    """

    timeout: float = SIGN_IN_TIMEOUT
    name: str = "paste"

    async def obtain(self, client: OAuthClient, http: TokenHttp, person: AddressPrompt) -> Grant:
        """Show an address, and ask for the one that the browser was redirected to.

        After an unusable text it asks again; an empty text ends the sign-in.

        Raises:
            InputError: the provider does not allow this flow.
            TokenError: there is no token; with its cause.
        """
        client.provider.check_flow(self.name)
        attempt = AuthorizationAttempt(
            client, client.redirect_uri or unused_loopback_uri(client.provider.quirks.loopback_host)
        )
        code: Secret | None = None
        with anyio.move_on_after(self.timeout):
            code = await _ask_for_code(attempt, person)
        if code is None:
            raise sign_in_timeout_error(self.timeout)
        return new_grant(self.name, client, http, await attempt.redeem(code, http))


def unused_loopback_uri(host: str) -> str:
    """Return a loopback redirect URI with a random port, where most likely nothing listens."""
    return f"http://{host}:{secrets.choice(_DYNAMIC_PORTS)}"


async def _ask_for_code(attempt: AuthorizationAttempt, person: AddressPrompt) -> Secret:
    reason = "No address was pasted, so there is no token."
    for _ in range(_TRIES):
        pasted = await person.ask_pasted_address(attempt.url)
        if not pasted.strip():
            break
        try:
            parameters = parse_pasted(pasted, attempt)
        except UnusablePasteError as error:
            reason = str(error)
            await person.show_message(reason)
        else:
            return attempt.code(parameters)
    raise sign_in_incomplete_error(reason)


def parse_pasted(pasted: str, attempt: AuthorizationAttempt) -> dict[str, str]:
    """Return the parameters of a pasted address that belongs to an attempt.

    White space in it, quotation marks and brackets around it, and a missing scheme or host are accepted.

    Raises:
        UnusablePasteError: the address is incomplete, or another one, or belongs to another attempt.
    """
    text = "".join(pasted[:_MAX_CHARACTERS].split()).strip(_WRAPPING)
    query, fragment = _query_and_fragment(text, attempt.redirect_uri)
    for part in (query, fragment):
        parameters = parse_parameters(part)
        if parameters and ("code" in parameters or "error" in parameters):
            break
    else:
        raise UnusablePasteError("incomplete", f"That is not the whole address. {_what_to_paste(attempt)}")
    if not parameters.get("state"):
        raise UnusablePasteError("no_end", f"The end of that address is missing. {_what_to_paste(attempt)}")
    if not attempt.matches(parameters):
        raise UnusablePasteError(
            "other_attempt",
            "That address belongs to another attempt. Open the address shown last, sign in there, and paste what "
            "comes of it.",
        )
    return parameters


def _query_and_fragment(text: str, redirect_uri: str) -> tuple[str, str]:
    expected = urlsplit(redirect_uri)
    base = text.partition("?")[0].partition("#")[0]
    if base.lower().startswith(expected.netloc.lower()):
        base, text = f"{expected.scheme}://{base}", f"{expected.scheme}://{text}"
    if "://" not in base:
        query, _, fragment = text.lstrip("/?").partition("#")
        return query, fragment
    parts = urlsplit("")
    try:
        parts = urlsplit(text)
        is_ours = _location(parts) == _location(expected)
    except ValueError:
        is_ours = False
    if not is_ours:
        raise UnusablePasteError(
            "other_address",
            f"That is another address. The one that is needed begins with {redirect_uri}; it is where "
            "the browser goes after the sign-in, and where it finds nothing.",
        )
    return parts.query, parts.fragment


def _location(parts: SplitResult) -> tuple[str, str | None, int | None, str]:
    """Return the comparable part of an address; browsers omit the default port."""
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, port, parts.path.strip("/")


def _what_to_paste(attempt: AuthorizationAttempt) -> str:
    return f"Copy all of it, from {attempt.redirect_uri} to its end."


flow = PasteFlow()
