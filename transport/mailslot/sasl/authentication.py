"""One sign-in over any protocol: by which mechanism, and the one second try of a bearer token."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from mailslot.errors import MailError, NetworkError, TokenError
from mailslot.sasl.credentials import AccessToken, Credentials, OAuth, TokenSource
from mailslot.sasl.exchange import exchange
from mailslot.sasl.mechanism import Identity
from mailslot.sasl.registry import create, names

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from mailslot.errors import SignInError
    from mailslot.sasl.mechanism import Mechanism
    from mailslot.sasl.result import AuthenticationResult
    from mailslot.sasl.transport import SaslTransport
    from mailslot.wire.reply import Reply
    from mailslot.wire.secret import Secret

# A bearer refusal for one of these may be cured by a new token. The words are OAUTHBEARER's for 400 and 401 (RFC 6750
# section 3.1); Gmail says 400, or "invalid_request", of any token that it does not take.
_CURABLE: Final = frozenset({"400", "401", "invalid_request", "invalid_token"})


class ReconnectRequiredError(Exception):
    """The second try of a bearer sign-in needs a new connection.

    Attributes:
        token: the token for it.
        refusal: the error of the first try.
        renewed: whether the token is another one than was refused.
    """

    def __init__(self, token: AccessToken, refusal: SignInError, *, renewed: bool) -> None:
        super().__init__("the connection was closed after the first try")
        self.token = token
        self.refusal = refusal
        self.renewed = renewed


def choose_mechanism(credentials: Credentials, offered: Collection[str]) -> str | None:
    """Return the mechanism to use, or None where none fits; a token never falls back to a password's."""
    wanted = names(credentials.kind) if credentials.mechanism is None else (credentials.mechanism,)
    return next((name for name in wanted if name in offered), None)


async def authenticate(
    credentials: Credentials,
    mechanism: str,
    transport: SaslTransport,
    *,
    again: ReconnectRequiredError | None = None,
) -> None:
    """Sign in.

    A refused bearer token is asked for once more with ``force=True`` and tried once more, where a new one may
    help; never a third time.

    Args:
        credentials: who, and with what.
        mechanism: by which mechanism; one that `choose` returns for these credentials.
        transport: the session.
        again: where this is the second try on a new connection: what the first one left.

    Raises:
        SignInError: the server refused.
        TokenError: the source has no token, or another `MailError` of its own.
        SignInAgainError: the second try needs a new connection.
        ServerError: the server said yes without what has to come first, or asked what makes no sense.
    """
    begin = partial(_begin, mechanism, credentials.user, transport)
    if isinstance(credentials, OAuth):
        await _by_token(credentials, begin, transport, again)
        return
    result = await exchange(begin(credentials.password), transport)
    if not result.accepted:
        raise transport.refusal(credentials, result)


def _begin(mechanism: str, user: str, transport: SaslTransport, secret: Secret) -> Mechanism:
    return create(mechanism, Identity(user, secret, transport.host, transport.port))


async def _by_token(
    credentials: OAuth,
    begin: Callable[[Secret], Mechanism],
    transport: SaslTransport,
    again: ReconnectRequiredError | None,
) -> None:
    async def token_of(*, force: bool) -> AccessToken:
        transport.dialogue.enter("token")
        token = await fetch_token(credentials.source, force=force)
        transport.dialogue.enter("sign_in")
        return token

    token = again.token if again else await token_of(force=False)
    result = await exchange(begin(token.value), transport)
    if result.accepted:
        return
    refusal = transport.refusal(credentials, result)
    if again or not _curable(result):
        raise refusal
    try:
        fresh = await token_of(force=True)
    except TokenError as error:
        if error.cause != "token_not_renewable":
            raise
        # There is no other token, so what the server said of this one stands.
        raise refusal from error
    retry = ReconnectRequiredError(fresh, refusal, renewed=fresh.value != token.value)
    if not transport.dialogue.alive:
        raise retry
    result = await _second(begin(fresh.value), transport, retry)
    if not result.accepted:
        raise transport.refusal(credentials, result)


async def _second(
    mechanism: Mechanism, transport: SaslTransport, retry: ReconnectRequiredError
) -> AuthenticationResult:
    """Try a second time on the same connection; raise `retry` where the server has closed it after the first."""
    try:
        return await exchange(mechanism, transport)
    except TimeoutError:
        raise
    except (OSError, EOFError) as error:
        if not mechanism.presented:
            raise retry from error
        # On a new connection it would be the third try.
        if retry.renewed:
            raise
        raise retry.refusal from error


class Closeable(Protocol):
    """A dialogue that can be closed."""

    async def abort(self) -> None:
        """Close the connection."""
        ...


D = TypeVar("D", bound=Closeable)


async def open_authenticated(
    open_dialogue: Callable[[], Awaitable[D]], begin: Callable[[D, ReconnectRequiredError | None], Awaitable[None]]
) -> D:
    """Open a dialogue and sign in, on a second connection where the second try needs one.

    Args:
        open_dialogue: connects, up to the server's greeting.
        begin: does the rest, a sign-in as `sign_in` does it included.

    Returns:
        a dialogue that is signed in; where that fails, none is left open.

    Raises:
        MailError: any of it failed.
    """
    again: ReconnectRequiredError | None = None
    while True:
        try:
            dialogue = await open_dialogue()
            try:
                await begin(dialogue, again)
            except BaseException:
                await dialogue.abort()
                raise
        except ReconnectRequiredError as needed:
            again = needed
        except NetworkError:
            # Where the same token would be tried again the first answer stands; with a new one nobody knows yet.
            if again is None or again.renewed:
                raise
            raise again.refusal from None
        else:
            return dialogue


async def fetch_token(source: TokenSource, *, force: bool) -> AccessToken:
    """Ask a source for a token; whatever it raises becomes a `MailError`.

    Raises:
        MailError: the source's own, or a `TokenError`.
    """
    try:
        token: object = await source.token(force=force)
    except MailError:
        raise
    except Exception as error:
        raise TokenError(
            "The token could not be obtained: its source failed.",
            cause="unknown",
            detail=f"{type(source).__name__}: {type(error).__name__}",
        ) from error
    if not isinstance(token, AccessToken):
        raise TokenError(
            "The token could not be obtained: its source gave something else.",
            cause="unknown",
            detail=f"{type(source).__name__} gave {type(token).__name__}",
        )
    return token


def is_temporary(reply: Reply) -> bool:
    """Tell whether a refusal says itself that it will pass: 4xx, or a POP3 response code that means it.

    RFC 5321 section 4.2.1; RFC 2449 section 8.1, RFC 3206 section 4.
    """
    if reply.code is not None:
        return 400 <= reply.code < 500
    return reply.enhanced in {"IN-USE", "LOGIN-DELAY"} or (reply.enhanced or "").startswith("SYS/TEMP")


def _curable(result: AuthenticationResult) -> bool:
    status = (result.reasons or {}).get("status")
    if status is None:
        # A temporary refusal in so many words says nothing against the token.
        return result.presented and not is_temporary(result.reply)
    return status.lower() in _CURABLE
