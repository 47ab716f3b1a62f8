"""The paste flow: authorization code with another browser, whose final address the person pastes here.

That browser is redirected to its own machine's loopback address, where nothing listens, or to the configured redirect
URI; its address bar then contains the response.
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
_MAX_CHARACTERS: Final = 32_768  # characters; the longest address that a browser keeps is far shorter
_DYNAMIC_PORTS: Final = range(49_152, 65_536)  # RFC 6335 section 6
_WRAPPING: Final = "\"'`<>()[]“”„‚‘’«»"


Fault = Literal["incomplete", "no_end", "other_attempt", "other_address"]


class UnusablePasteError(ValueError):
    """The pasted text cannot be used; the message tells the person why.

    Attributes:
        fault: what is wrong with it, for those who say it in other words.
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
        """Show the person an address, and take the one at which the sign-in ended.

        What cannot be used is explained and asked for again; an empty paste gives up.

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
    """Return a redirect URI at which, in all likelihood, nothing listens.

    Args:
        host: what the provider calls loopback.
    """
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

    Blanks and line breaks anywhere in it, quotes and brackets around it, a missing scheme and a missing host are
    ignored.

    Raises:
        UnusablePasteError: it is another address, or not the whole one, or belongs to another attempt.
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
    """Return where an address leads; browsers leave out the default port."""
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, port, parts.path.strip("/")


def _what_to_paste(attempt: AuthorizationAttempt) -> str:
    return f"Copy all of it, from {attempt.redirect_uri} to its end."


flow = PasteFlow()
