"""Credentials: a user with a token source or a password."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, runtime_checkable

from mailslot.errors import InputError
from mailslot.sasl.registry import mechanism_names
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from mailslot.sasl.mechanism import CredentialKind


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A bearer token from a token service.

    Attributes:
        value: the token; given as `str`, stored as a `Secret`.
        expires_at: when it expires, in seconds since the epoch; None if the service did not say.

    Raises:
        InputError: the value is empty, too long, or has characters that are not allowed (RFC 6750 section 2.1).
    """

    value: Secret
    expires_at: float | None

    def __init__(self, value: str | Secret, expires_at: float | None = None) -> None:
        secret = Secret(value)
        text = secret.reveal()
        if not (isinstance(text, str) and text.isascii() and text.isprintable() and text and " " not in text):
            raise InputError(
                "The access token is empty or holds characters that no token may hold.",
                stage="token",
            )
        if len(text) > MAX_TOKEN:
            raise InputError(
                f"The access token has {len(text):,} characters, which is more than any mail server takes.",
                stage="token",
                cause="token_too_long",
            )
        if expires_at is not None and not isinstance(expires_at, int | float):
            raise InputError("The end of an access token is given in seconds since the epoch.", stage="token")
        object.__setattr__(self, "value", secret)
        object.__setattr__(self, "expires_at", expires_at)


@runtime_checkable
class TokenSource(Protocol):
    """Anything that can give an access token."""

    async def token(self, *, force: bool = False) -> AccessToken:
        """Return a token that is valid now. The source limits how long that may take.

        Args:
            force: the last token was refused: return a new one even if that one has not expired.

        Raises:
            MailError: there is none; stage `token`.
        """
        ...

    async def forget(self) -> None:
        """Discard the token and its refresh token."""
        ...


class StaticToken:
    """A token source that always returns the same token, for tests and one-off scripts."""

    def __init__(self, value: str | Secret, expires_at: float | None = None) -> None:
        self._token: AccessToken | None = AccessToken(value, expires_at)

    async def token(self, *, force: bool = False) -> AccessToken:  # noqa: ARG002 - it has no other to give
        """Return the token; `force` has no effect."""
        if self._token is None:
            raise InputError("The token was forgotten.", stage="token", cause="token_not_retrieved")
        return self._token

    async def forget(self) -> None:
        """Discard the token; `token` raises from then on."""
        self._token = None


@dataclass(frozen=True, slots=True)
class OAuth:
    """Authenticate with OAuth 2.0, by OAUTHBEARER or XOAUTH2, whichever the server offers.

    Attributes:
        user: the mailbox.
        source: the source of access tokens.
        mechanism: ``"XOAUTH2"`` or ``"OAUTHBEARER"`` to require one; None to choose from those offered.
    """

    kind: ClassVar[CredentialKind] = "token"

    user: str
    source: TokenSource = field(repr=False)
    mechanism: str | None = None

    def __post_init__(self) -> None:
        check_user_name(self.user)
        if self.mechanism is not None and self.mechanism not in mechanism_names(self.kind):
            raise InputError(
                f"{self.mechanism!r} is not a bearer mechanism; use {' or '.join(mechanism_names(self.kind))}.",
                stage="sign_in",
            )


@dataclass(frozen=True, slots=True)
class Password:
    """Authenticate with a user name and a password, by the strongest mechanism that the server offers.

    Attributes:
        user: the user name.
        password: the password; given as `str`, stored as a `Secret`.
    """

    kind: ClassVar[CredentialKind] = "password"
    mechanism: ClassVar[None] = None

    user: str
    password: Secret

    def __init__(self, user: str, password: str | Secret) -> None:
        check_user_name(user)
        secret = Secret(password)
        text = secret.reveal()
        if not isinstance(text, str) or not text or "\0" in text or _has_lone_surrogate(text):
            raise InputError("The password is empty, or holds a NUL or half a character.", stage="sign_in")
        if len(text) > MAX_PASSWORD:
            raise InputError(f"The password is longer than {MAX_PASSWORD:,} characters.", stage="sign_in")
        object.__setattr__(self, "user", user)
        object.__setattr__(self, "password", secret)


Credentials = OAuth | Password

MAX_TOKEN: Final = 16_384
"""Characters of an access token. Servers must accept SASL responses of 12,288 octets of base64 (RFC 4954 section 4);
none is known to accept more, and tokens of known providers have 4,096 at most."""

MAX_PASSWORD: Final = 4_096
"""Characters of a password."""


def check_credentials(auth: object) -> None:
    """Check the type of credentials.

    Raises:
        InputError: they are neither `OAuth` nor `Password` nor None.
    """
    if auth is not None and not isinstance(auth, OAuth | Password):
        raise InputError(f"auth is a {type(auth).__name__}; it must be OAuth, Password or None.", stage="sign_in")


def check_user_name(user: str) -> None:
    """Refuse a user name that could end a field or a line of the exchange.

    Raises:
        InputError: it is empty, or contains a control character or a lone surrogate.
    """
    control = not isinstance(user, str) or any(ord(c) < 32 or ord(c) == 127 for c in user)
    if control or not user or _has_lone_surrogate(user):
        raise InputError("The user name is empty, or holds a control or half a character.", stage="sign_in")


def _has_lone_surrogate(text: str) -> bool:
    # Command-line arguments that are not UTF-8 become surrogates, which cannot be sent.
    return any("\ud800" <= c <= "\udfff" for c in text)
