"""Who signs in, and with what: bearer tokens from any source, or a password."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, runtime_checkable

from mailslot.errors import InputError
from mailslot.sasl.registry import names
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from mailslot.sasl.mechanism import CredentialKind


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A bearer token as a token service issued it.

    Attributes:
        value: the token; given as `str`, kept as a `Secret`.
        expires_at: when it ends, in seconds since the epoch; None where the service did not say.

    Raises:
        InputError: the value is empty, or holds what no token may (RFC 6750 section 2.1).
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
        """Give a token that is valid now; how long that may take is the source's to bound.

        Args:
            force: the last token was refused, so a new one is wanted even if that one has not expired.

        Raises:
            MailError: there is none, with a cause of the stage `token`.
        """
        ...

    async def forget(self) -> None:
        """Give up the token and whatever could renew it."""
        ...


class StaticToken:
    """A token source for tests and one-off scripts: always the same token."""

    def __init__(self, value: str | Secret, expires_at: float | None = None) -> None:
        self._token: AccessToken | None = AccessToken(value, expires_at)

    async def token(self, *, force: bool = False) -> AccessToken:  # noqa: ARG002 - it has no other to give
        """Give the token; `force` changes nothing."""
        if self._token is None:
            raise InputError("The token was forgotten.", stage="token", cause="token_not_retrieved")
        return self._token

    async def forget(self) -> None:
        """Drop the token; the next `token` raises."""
        self._token = None


@dataclass(frozen=True, slots=True)
class OAuth:
    """Sign in with OAuth 2.0, by OAUTHBEARER or XOAUTH2, whichever the server offers.

    Attributes:
        user: the mailbox to sign in to.
        source: where the access token comes from.
        mechanism: ``"XOAUTH2"`` or ``"OAUTHBEARER"`` to insist on one; None to choose by what is offered.
    """

    kind: ClassVar[CredentialKind] = "token"

    user: str
    source: TokenSource = field(repr=False)
    mechanism: str | None = None

    def __post_init__(self) -> None:
        check_identity(self.user)
        if self.mechanism is not None and self.mechanism not in names(self.kind):
            raise InputError(
                f"{self.mechanism!r} is not a bearer mechanism; use {' or '.join(names(self.kind))}.",
                stage="sign_in",
            )


@dataclass(frozen=True, slots=True)
class Password:
    """Sign in with a user name and a password, by the strongest mechanism that the server offers.

    Attributes:
        user: the user name.
        password: the password; given as `str`, kept as a `Secret`.
    """

    kind: ClassVar[CredentialKind] = "password"
    mechanism: ClassVar[None] = None

    user: str
    password: Secret

    def __init__(self, user: str, password: str | Secret) -> None:
        check_identity(user)
        secret = Secret(password)
        text = secret.reveal()
        if not isinstance(text, str) or not text or "\0" in text or _holds_half_a_character(text):
            raise InputError("The password is empty, or holds a NUL or half a character.", stage="sign_in")
        if len(text) > MAX_PASSWORD:
            raise InputError(f"The password is longer than {MAX_PASSWORD:,} characters.", stage="sign_in")
        object.__setattr__(self, "user", user)
        object.__setattr__(self, "password", secret)


Credentials = OAuth | Password

MAX_TOKEN: Final = 16_384
"""Characters of an access token. SASL responses of 12,288 octets of base64 are what servers have to take (RFC 4954
section 4); no server is known to take more, and those of known providers have 4,096 at most."""

MAX_PASSWORD: Final = 4_096
"""Characters of a password."""


def check_credentials(auth: object) -> None:
    """Refuse what nobody can sign in with.

    Raises:
        InputError: it is neither `OAuth` nor `Password` nor None.
    """
    if auth is not None and not isinstance(auth, OAuth | Password):
        raise InputError(f"auth is a {type(auth).__name__}; it must be OAuth, Password or None.", stage="sign_in")


def check_identity(user: str) -> None:
    """Refuse a user name that could end a field or a line of a sign-in.

    Raises:
        InputError: it is empty, or holds a control character.
    """
    control = not isinstance(user, str) or any(ord(c) < 32 or ord(c) == 127 for c in user)
    if control or not user or _holds_half_a_character(user):
        raise InputError("The user name is empty, or holds a control or half a character.", stage="sign_in")


def _holds_half_a_character(text: str) -> bool:
    # As a command line's octets become where they are no UTF-8: they could not be sent.
    return any("\ud800" <= c <= "\udfff" for c in text)
