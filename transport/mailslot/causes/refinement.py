"""Refines a cause by the token, the provider and the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from mailslot.causes.columns import check_columns, choices, text, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TokenReading = Literal["another service", "no permission", "another user", "application"]
"""What a token's claims show: it is for another service, lacks the permission, belongs to another user, or to an
application without a user."""

_AUTHENTICATIONS: Final = frozenset({"none", "pop_before_smtp", "password", "oauth2"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinementContext:
    """What is known in addition to the refusal.

    Attributes:
        protocol: the slot's protocol.
        authentication: the slot's sign-in method.
        token_length: characters of the access token; 0 without one.
        read_token: returns what the access token's claims show.
        provider: returns the id of the provider's preset; None if there is none.
    """

    protocol: Literal["SMTP", "POP"]
    authentication: str
    token_length: int
    read_token: Callable[[], TokenReading | None]
    provider: Callable[[], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """A row; ``rules.toml`` explains its columns. A column that is empty or None matches everything."""

    given: tuple[str, ...]
    cause: str
    source: str
    fixtures: tuple[str, ...]
    protocols: tuple[str, ...] = ()
    authentication: tuple[str, ...] = ()
    provider: tuple[str, ...] = ()
    longer_than: int | None = None
    token: str | None = None

    def fits(self, cause: str, circumstances: RefinementContext) -> bool:
        """Return whether all columns match; the cheapest are compared first."""
        return (
            cause in self.given
            and (not self.protocols or circumstances.protocol in self.protocols)
            and (not self.authentication or circumstances.authentication in self.authentication)
            and (self.longer_than is None or circumstances.token_length > self.longer_than)
            and self._fits_provider(circumstances)
            and self.token in {None, circumstances.read_token() if self.token else None}
        )

    def _fits_provider(self, circumstances: RefinementContext) -> bool:
        if not self.provider:
            return True
        provider = circumstances.provider()
        return provider is not None and any(f"{provider}-".startswith(f"{name}-") for name in self.provider)


def parse_refinement(row: Mapping[str, Any]) -> Refinement:
    """Return a row of the file."""
    check_columns(row, Refinement.__dataclass_fields__)
    return Refinement(
        given=texts(row["given"]),
        cause=text(row["cause"]),
        source=text(row["source"]),
        fixtures=texts(row["fixtures"]),
        protocols=choices(row["protocols"], {"SMTP", "POP"}) if "protocols" in row else (),
        authentication=choices(row["authentication"], _AUTHENTICATIONS) if "authentication" in row else (),
        provider=texts(row["provider"]) if "provider" in row else (),
        longer_than=int(row["longer_than"]) if "longer_than" in row else None,
        token=choices([row["token"]], get_args(TokenReading))[0] if "token" in row else None,
    )
