"""The rows of ``rules.toml``, which map a refusal to its cause."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

from mailslot.causes.cause import causes
from mailslot.causes.columns import Pattern, Words, check_columns, choices, pattern, text, texts
from mailslot.causes.refinement import Refinement, parse_refinement
from mailslot.causes.refusal import Presented, Protocol
from mailslot.causes.words import enhanced_codes, links, normalize
from mailslot.errors import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailslot.causes.refusal import Refusal
    from mailslot.wire.reply import Reply

_VERBS: Final = frozenset({"MAIL", "RCPT", ""})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A row; ``rules.toml`` explains its columns. A column that is empty or None matches everything."""

    cause: str
    source: str
    fixtures: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    presented: tuple[str, ...] = ()
    code: Pattern | None = None
    enhanced: Pattern | None = None
    challenge: Mapping[str, Pattern] = field(default_factory=dict[str, Pattern])
    words: Pattern | None = None
    link: Pattern | None = None

    def fits(self, refusal: Refusal, parts: ReplyParts) -> bool:
        """Return whether all columns match; the cheapest are compared first."""
        return (
            (not self.protocols or refusal.protocol in self.protocols)
            and (not self.stages or refusal.stage in self.stages)
            and (not self.verbs or refusal.verb in self.verbs)
            and (not self.presented or refusal.presented in self.presented)
            and (self.code is None or self.code.fits(str(refusal.reply.code)))
            and (self.enhanced is None or any(self.enhanced.fits(code) for code in parts.enhanced))
            and all(each.fits(refusal.challenge.get(name, "")) for name, each in self.challenge.items())
            and (self.words is None or self.words.found_in(parts.words))
            and (self.link is None or any(self.link.found_in(link) for link in parts.links))
        )

    def check(self) -> None:
        """Check that all patterns are regular expressions.

        Raises:
            re.error: one of them is not.
        """
        for each in (self.code, self.enhanced, self.words, self.link, *self.challenge.values()):
            if each is not None:
                each.check()


class ReplyParts(NamedTuple):
    """The parts of a reply that rows compare, parsed once for all of them."""

    enhanced: tuple[str, ...]
    words: Words
    links: tuple[Words, ...]

    @classmethod
    def of(cls, reply: Reply) -> ReplyParts:
        """Return the parts of a reply; a missing code is ``""``. Codes quoted in an SMTP reply's text count too."""
        codes = (reply.enhanced or "", *enhanced_codes(reply.text)) if reply.code else (reply.enhanced or "",)
        return cls(codes, Words(normalize(reply.text)), tuple(map(Words, links(reply.text))))


class Table(NamedTuple):
    """All rows, in order."""

    rules: tuple[Rule, ...]
    refinements: tuple[Refinement, ...]


def find_rule(refusal: Refusal) -> Rule | None:
    """Return the first row that matches a refusal."""
    parts = ReplyParts.of(refusal.reply)
    return next((rule for rule in table().rules if rule.fits(refusal, parts)), None)


@cache
def table() -> Table:
    """Return the rows of the package's file. It is read once, at the first refusal."""
    return parse_table(files("mailslot.causes").joinpath("rules.toml").read_text("utf-8"), checked=True)


def parse_table(written: str, *, checked: bool = False) -> Table:
    """Return the rows in a file's text.

    Args:
        written: the text.
        checked: its regular expressions are known to be valid, so each is compiled only when it is first used.

    Raises:
        ValueError: a column is unknown or missing, a value has the wrong type or is not allowed, a cause is not in
            ``causes.toml``, or a row has words without stages, or neither fixtures nor examples.
    """
    found: dict[str, Any] = tomllib.loads(written)
    check_columns(found, {*_PARSERS, "terms"})
    terms = {name: f"(?:{text(value)})" for name, value in found.get("terms", {}).items()}
    parsed: dict[str, list[Any]] = {}
    for name, parse in _PARSERS.items():
        parsed[name] = []
        for number, row in enumerate(found.get(name, []), 1):
            try:
                parsed[name].append(parsed_row := parse(row, terms))
                if isinstance(parsed_row, Rule) and not checked:
                    parsed_row.check()
            except (KeyError, TypeError, ValueError, re.error) as error:
                raise ValueError(f"{name}, row {number}: {error!r}") from error
    result = Table(tuple(parsed["rule"]), tuple(parsed["refinement"]))
    named = {rule.cause for rule in result.rules} | {refinement.cause for refinement in result.refinements}
    if unknown := named - set(causes()):
        raise ValueError(f"causes {sorted(unknown)}")
    return result


def _parse_rule(row: Mapping[str, Any], terms: Mapping[str, str]) -> Rule:
    check_columns(row, Rule.__dataclass_fields__)
    if "words" in row and "stages" not in row:
        raise ValueError("words without stages")
    if not {"fixtures", "examples"} & set(row):
        raise ValueError("neither fixtures nor examples")
    return Rule(
        cause=text(row["cause"]),
        source=text(row["source"]),
        fixtures=texts(row["fixtures"]) if "fixtures" in row else (),
        examples=texts(row["examples"]) if "examples" in row else (),
        protocols=choices(row["protocols"], get_args(Protocol)) if "protocols" in row else (),
        stages=choices(row["stages"], get_args(Stage)) if "stages" in row else (),
        verbs=choices(row["verbs"], _VERBS) if "verbs" in row else (),
        presented=choices(row["presented"], get_args(Presented)) if "presented" in row else (),
        code=pattern(row["code"]) if "code" in row else None,
        enhanced=pattern(row["enhanced"]) if "enhanced" in row else None,
        challenge={member: pattern(value) for member, value in row.get("challenge", {}).items()},
        words=pattern(row["words"], terms) if "words" in row else None,
        link=pattern(row["link"]) if "link" in row else None,
    )


_PARSERS: Final[Mapping[str, Callable[[Mapping[str, Any], Mapping[str, str]], Rule | Refinement]]] = {
    "rule": _parse_rule,
    "refinement": lambda row, _terms: parse_refinement(row),
}
