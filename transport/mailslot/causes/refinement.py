"""What the token, the provider and the settings add to a cause: which finer cause it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from mailslot.causes.columns import among, only, text, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TokenReading = Literal["another service", "no permission", "another user", "application"]
"""What a token says of itself: it is for another service or of another user, it lacks the permission, or it is an
application's own."""

_AUTHENTICATIONS: Final = frozenset({"none", "pop_before_smtp", "password", "oauth2"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What is known besides the refusal.

    Attributes:
        protocol: what the slot is for.
        authentication: how it signs in.
        token_length: characters of the access token; 0 without one.
        read_token: tells what the access token says of itself.
        provider: tells the id of the provider's preset; None where there is none.
    """

    protocol: Literal["SMTP", "POP"]
    authentication: str
    token_length: int
    read_token: Callable[[], TokenReading | None]
    provider: Callable[[], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """A row; ``rules.toml`` says what its columns mean. What is empty or None fits everything."""

    given: tuple[str, ...]
    cause: str
    source: str
    fixtures: tuple[str, ...]
    protocols: tuple[str, ...] = ()
    authentication: tuple[str, ...] = ()
    provider: tuple[str, ...] = ()
    longer_than: int | None = None
    token: str | None = None

    def fits(self, cause: str, circumstances: Circumstances) -> bool:
        """Tell whether all that the row names fits; the cheapest is asked first."""
        return (
            cause in self.given
            and (not self.protocols or circumstances.protocol in self.protocols)
            and (not self.authentication or circumstances.authentication in self.authentication)
            and (self.longer_than is None or circumstances.token_length > self.longer_than)
            and self._fits_provider(circumstances)
            and self.token in {None, circumstances.read_token() if self.token else None}
        )

    def _fits_provider(self, circumstances: Circumstances) -> bool:
        if not self.provider:
            return True
        provider = circumstances.provider()
        return provider is not None and any(f"{provider}-".startswith(f"{name}-") for name in self.provider)


def parse_refinement(row: Mapping[str, Any]) -> Refinement:
    """Return a row of the file."""
    only(row, Refinement.__dataclass_fields__)
    return Refinement(
        given=texts(row["given"]),
        cause=text(row["cause"]),
        source=text(row["source"]),
        fixtures=texts(row["fixtures"]),
        protocols=among(row["protocols"], {"SMTP", "POP"}) if "protocols" in row else (),
        authentication=among(row["authentication"], _AUTHENTICATIONS) if "authentication" in row else (),
        provider=texts(row["provider"]) if "provider" in row else (),
        longer_than=int(row["longer_than"]) if "longer_than" in row else None,
        token=among([row["token"]], get_args(TokenReading))[0] if "token" in row else None,
    )
