"""Authentication over any protocol: the choice of a mechanism, and the one retry with a new token."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from mailslot.errors import MailError, NetworkError, TokenError
from mailslot.sasl.credentials import AccessToken, Credentials, OAuth, TokenSource
from mailslot.sasl.exchange import run_exchange
from mailslot.sasl.mechanism import AuthenticationContext
from mailslot.sasl.registry import create_mechanism, mechanism_names

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from mailslot.errors import SignInError
    from mailslot.sasl.mechanism import Mechanism
    from mailslot.sasl.result import AuthenticationResult
    from mailslot.sasl.transport import SaslTransport
    from mailslot.wire.reply import Reply
    from mailslot.wire.secret import Secret

# The statuses of an error challenge after which a new token may be accepted. The words are OAUTHBEARER's for 400 and
# 401 (RFC 6750 section 3.1); Gmail sends 400, or "invalid_request", for any token that it does not accept.
_NEW_TOKEN_MAY_HELP: Final = frozenset({"400", "401", "invalid_request", "invalid_token"})


class ReconnectRequiredError(Exception):
    """The retry of a bearer authentication needs a new connection.

    Attributes:
        token: the token for the retry.
        refusal: the error of the first try.
        is_new_token: whether the token differs from the refused one.
    """

    def __init__(self, token: AccessToken, refusal: SignInError, *, is_new_token: bool) -> None:
        super().__init__("the connection was closed after the first try")
        self.token = token
        self.refusal = refusal
        self.is_new_token = is_new_token


def choose_mechanism(credentials: Credentials, offered: Collection[str]) -> str | None:
    """Return the mechanism to use; None if none fits. A token is never used with a password mechanism."""
    candidates = mechanism_names(credentials.kind) if credentials.mechanism is None else (credentials.mechanism,)
    return next((name for name in candidates if name in offered), None)


async def authenticate(
    credentials: Credentials,
    mechanism: str,
    transport: SaslTransport,
    *,
    retry: ReconnectRequiredError | None = None,
) -> None:
    """Authenticate.

    If a bearer token is refused and a new one may help, the source is asked for one with ``force=True``, and that is
    tried once.

    Args:
        credentials: the user, and the token source or password.
        mechanism: the mechanism, as `choose_mechanism` returns it.
        transport: carries the exchange over the protocol.
        retry: on a new connection, what the first try left; None for a first try.

    Raises:
        SignInError: the server refused.
        TokenError: the source has no token; it may raise any other `MailError` as well.
        ReconnectRequiredError: the retry needs a new connection.
        ServerError: the server accepted before the exchange was complete, or sent a meaningless challenge.
    """
    new_mechanism = partial(_new_mechanism, mechanism, credentials.user, transport)
    if isinstance(credentials, OAuth):
        await _authenticate_with_token(credentials, new_mechanism, transport, retry)
        return
    result = await run_exchange(new_mechanism(credentials.password), transport)
    if not result.accepted:
        raise transport.refusal(credentials, result)


def _new_mechanism(mechanism: str, user: str, transport: SaslTransport, secret: Secret) -> Mechanism:
    return create_mechanism(mechanism, AuthenticationContext(user, secret, transport.host, transport.port))


async def _authenticate_with_token(
    credentials: OAuth,
    new_mechanism: Callable[[Secret], Mechanism],
    transport: SaslTransport,
    retry: ReconnectRequiredError | None,
) -> None:
    async def get_token(*, force: bool) -> AccessToken:
        transport.dialogue.enter_stage("token")
        token = await fetch_token(credentials.source, force=force)
        transport.dialogue.enter_stage("sign_in")
        return token

    token = retry.token if retry else await get_token(force=False)
    result = await run_exchange(new_mechanism(token.value), transport)
    if result.accepted:
        return
    refusal = transport.refusal(credentials, result)
    if retry or not _may_accept_new_token(result):
        raise refusal
    try:
        new_token = await get_token(force=True)
    except TokenError as error:
        if error.cause != "token_not_renewable":
            raise
        # There is no other token, so the server's refusal is the result.
        raise refusal from error
    retry = ReconnectRequiredError(new_token, refusal, is_new_token=new_token.value != token.value)
    if not transport.dialogue.alive:
        raise retry
    result = await _retry(new_mechanism(new_token.value), transport, retry)
    if not result.accepted:
        raise transport.refusal(credentials, result)


async def _retry(mechanism: Mechanism, transport: SaslTransport, retry: ReconnectRequiredError) -> AuthenticationResult:
    """Retry on the same connection; raise `retry` if the server has closed it after the first try."""
    try:
        return await run_exchange(mechanism, transport)
    except TimeoutError:
        raise
    except (OSError, EOFError) as error:
        if not mechanism.credentials_sent:
            raise retry from error
        # The new token was sent, so a further connection would be a third try.
        if retry.is_new_token:
            raise
        raise retry.refusal from error


class Closeable(Protocol):
    """A dialogue that can be closed."""

    async def abort(self) -> None:
        """Close the connection."""
        ...


D = TypeVar("D", bound=Closeable)


async def open_authenticated(
    open_dialogue: Callable[[], Awaitable[D]],
    authenticate_dialogue: Callable[[D, ReconnectRequiredError | None], Awaitable[None]],
) -> D:
    """Open a dialogue and authenticate, with a second connection if the retry needs one.

    Args:
        open_dialogue: connects and reads the greeting.
        authenticate_dialogue: does the rest, including `authenticate`; its second argument is that function's `retry`.

    Returns:
        an authenticated dialogue; on failure none is left open.

    Raises:
        MailError: any step failed.
    """
    retry: ReconnectRequiredError | None = None
    while True:
        try:
            dialogue = await open_dialogue()
            try:
                await authenticate_dialogue(dialogue, retry)
            except BaseException:
                await dialogue.abort()
                raise
        except ReconnectRequiredError as needed:
            retry = needed
        except NetworkError:
            # With the same token the first refusal is the result; with a new token the result is unknown.
            if retry is None or retry.is_new_token:
                raise
            raise retry.refusal from None
        else:
            return dialogue


async def fetch_token(source: TokenSource, *, force: bool) -> AccessToken:
    """Get a token from a source; any exception becomes a `MailError`.

    Raises:
        MailError: the source's own one, or a `TokenError`.
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
    """Tell whether a refusal is temporary: 4xx, or a POP3 response code that says so.

    RFC 5321 section 4.2.1; RFC 2449 section 8.1, RFC 3206 section 4.
    """
    if reply.code is not None:
        return 400 <= reply.code < 500
    return reply.enhanced in {"IN-USE", "LOGIN-DELAY"} or (reply.enhanced or "").startswith("SYS/TEMP")


def _may_accept_new_token(result: AuthenticationResult) -> bool:
    status = (result.error_challenge or {}).get("status")
    if status is None:
        # A temporary refusal says nothing about the token.
        return result.credentials_sent and not is_temporary(result.reply)
    return status.lower() in _NEW_TOKEN_MAY_HELP
