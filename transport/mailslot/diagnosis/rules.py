"""``rules.toml``, read, checked and asked: whatever is wrong in it is a fault of ours, and a `ValueError`."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from mailslot.diagnosis.token import READINGS, provider_of, read_token
from mailslot.errors import SignInError, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.diagnosis.context import DiagnosisContext
    from mailslot.errors import MailError
    from mailslot.wire.reply import Reply

TABLES: Final[Mapping[str, str]] = {"smtp": "SMTP", "pop3": "POP"}
"""The tables of the file, and the protocol that each is for."""

_AUTHENTICATIONS: Final = frozenset({"none", "pop_before_smtp", "password", "oauth2"})


@dataclass(frozen=True, slots=True)
class Rule:
    """A row; ``rules.toml`` says what its columns mean. What is empty or None fits everything."""

    protocol: str
    stages: tuple[str, ...]
    cause: str
    source: str
    fixtures: tuple[str, ...]
    given: str | None = None
    code: re.Pattern[str] | None = None
    enhanced: re.Pattern[str] | None = None
    challenge: Mapping[str, re.Pattern[str]] = field(default_factory=dict[str, re.Pattern[str]])
    token: str | None = None
    longer_than: int | None = None
    authentication: tuple[str, ...] = ()
    provider: tuple[str, ...] = ()
    words: re.Pattern[str] | None = None

    def fits(self, error: MailError, reply: Reply, circumstances: DiagnosisContext) -> bool:
        """Tell whether all that the row names fits; the cheapest is asked first."""
        return (
            self.protocol == circumstances.protocol
            and error.stage in self.stages
            and self.given in {None, error.cause}
            and (self.code is None or self.code.fullmatch(str(reply.code)) is not None)
            and (self.enhanced is None or self.enhanced.fullmatch(reply.enhanced or "") is not None)
            and (not self.authentication or circumstances.authentication in self.authentication)
            and (self.words is None or self.words.search(reply.words) is not None)
            and self._fits_challenge(error)
            and (self.longer_than is None or len(circumstances.token or "") > self.longer_than)
            and self._fits_provider(circumstances)
            and self.token in {None, read_token(circumstances) if self.token else None}
        )

    def _fits_challenge(self, error: MailError) -> bool:
        said = (error.challenge if isinstance(error, SignInError) else None) or {}
        return all(pattern.fullmatch(said.get(member, "")) for member, pattern in self.challenge.items())

    def _fits_provider(self, circumstances: DiagnosisContext) -> bool:
        if not self.provider:
            return True
        provider = provider_of(circumstances)
        return provider is not None and any(f"{provider.id}-".startswith(f"{name}-") for name in self.provider)


def rule_for(error: MailError, circumstances: DiagnosisContext) -> Rule | None:
    """Return the first row that fits a server's refusal; None where none does, or the server said nothing."""
    reply = error.reply
    if reply is None or reply.positive:
        return None
    return next((rule for rule in rules() if rule.fits(error, reply, circumstances)), None)


@cache
def rules() -> tuple[Rule, ...]:
    """Return the rows of the file that comes with this package, in order. They are read and checked once."""
    return parse_rules(files("mailslot.diagnosis").joinpath("rules.toml").read_text("utf-8"))


def parse_rules(text: str) -> tuple[Rule, ...]:
    """Return the rows in a file's text.

    Raises:
        ValueError: a column is not known or missing, a value is of the wrong type or none of those there are, or a
            row goes by words alone where the protocol has a code.
    """
    tables: dict[str, Any] = tomllib.loads(text)
    unknown = set(tables) - set(TABLES)
    if unknown:
        raise ValueError(f"tables {sorted(unknown)}")
    found: list[Rule] = []
    for table, protocol in TABLES.items():
        for number, row in enumerate(tables.get(table, []), 1):
            try:
                found.append(_rule(protocol, row))
            except (KeyError, TypeError, ValueError, re.error) as error:
                raise ValueError(f"{table}, row {number}: {error!r}") from error
    return tuple(found)


def _rule(protocol: str, row: Mapping[str, Any]) -> Rule:
    known = set(Rule.__dataclass_fields__) - {"protocol"}
    if not set(row) <= known:
        raise ValueError(f"columns {sorted(set(row) - known)}")
    rule = Rule(
        protocol,
        _among(row["stages"], get_args(Stage)),
        _text(row["cause"]),
        _text(row["source"]),
        _texts(row["fixtures"]),
        given=_optional_text(row.get("given")),
        code=_pattern(row.get("code")),
        enhanced=_pattern(row.get("enhanced")),
        challenge={member: _compiled(value) for member, value in row.get("challenge", {}).items()},
        token=None if "token" not in row else _among([row["token"]], READINGS)[0],
        longer_than=None if "longer_than" not in row else int(row["longer_than"]),
        authentication=_among(row["authentication"], _AUTHENTICATIONS) if "authentication" in row else (),
        provider=_texts(row["provider"]) if "provider" in row else (),
        words=_pattern(row.get("words")),
    )
    if protocol == "SMTP" and rule.words and not rule.code:
        raise ValueError("words without a code")
    return rule


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{value!r} is no text")
    return value


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise TypeError(f"{value!r} is no list")
    return tuple(_text(one) for one in cast("list[object]", value))


def _among(value: object, allowed: tuple[str, ...] | frozenset[str]) -> tuple[str, ...]:
    found = _texts(value)
    if not set(found) <= set(allowed):
        raise ValueError(f"{found} is not among {sorted(allowed)}")
    return found


def _compiled(value: object) -> re.Pattern[str]:
    return re.compile(_text(value) if value != "" else "", re.IGNORECASE)


def _pattern(value: object) -> re.Pattern[str] | None:
    return None if value is None else _compiled(value)
