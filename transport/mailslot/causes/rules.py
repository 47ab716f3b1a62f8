"""Which cause a refusal is: the rows of ``rules.toml``, read, checked and asked."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

from mailslot.causes.cause import causes
from mailslot.causes.columns import among, only, pattern, text, texts
from mailslot.causes.refinement import Refinement, parse_refinement
from mailslot.causes.refusal import Presented, Protocol
from mailslot.errors import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailslot.causes.refusal import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A row; ``rules.toml`` says what its columns mean. What is empty or None fits everything."""

    cause: str
    source: str
    fixtures: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    presented: tuple[str, ...] = ()
    code: re.Pattern[str] | None = None
    enhanced: re.Pattern[str] | None = None
    challenge: Mapping[str, re.Pattern[str]] = field(default_factory=dict[str, re.Pattern[str]])
    words: re.Pattern[str] | None = None

    def fits(self, refusal: Refusal) -> bool:
        """Tell whether all that the row names fits; the cheapest is asked first."""
        reply = refusal.reply
        return (
            (not self.protocols or refusal.protocol in self.protocols)
            and (not self.stages or refusal.stage in self.stages)
            and (not self.verbs or refusal.verb in self.verbs)
            and (not self.presented or refusal.presented in self.presented)
            and (self.code is None or self.code.fullmatch(str(reply.code)) is not None)
            and (self.enhanced is None or self.enhanced.fullmatch(reply.enhanced or "") is not None)
            and all(each.fullmatch(refusal.challenge.get(name, "")) for name, each in self.challenge.items())
            and (self.words is None or self.words.search(reply.one_line) is not None)
        )


class Table(NamedTuple):
    """All rows, in order."""

    rules: tuple[Rule, ...]
    refinements: tuple[Refinement, ...]


def find_rule(refusal: Refusal) -> Rule | None:
    """Return the first row that fits a refusal."""
    return next((rule for rule in table().rules if rule.fits(refusal)), None)


@cache
def table() -> Table:
    """Return the rows of the file that comes with this package. It is read once, when something is first refused."""
    return parse_table(files("mailslot.causes").joinpath("rules.toml").read_text("utf-8"))


def parse_table(written: str) -> Table:
    """Return the rows in a file's text.

    Raises:
        ValueError: a column is not known or missing, a value is of the wrong type or none of those there are, a cause
            is in no row of ``causes.toml``, or a row goes by words in any stage, or is shown by nothing.
    """
    found: dict[str, Any] = tomllib.loads(written)
    only(found, _PARSERS)
    parsed: dict[str, list[Any]] = {}
    for name, parse in _PARSERS.items():
        parsed[name] = []
        for number, row in enumerate(found.get(name, []), 1):
            try:
                parsed[name].append(parse(row))
            except (KeyError, TypeError, ValueError, re.error) as error:
                raise ValueError(f"{name}, row {number}: {error!r}") from error
    result = Table(tuple(parsed["rule"]), tuple(parsed["refinement"]))
    named = {rule.cause for rule in result.rules} | {refinement.cause for refinement in result.refinements}
    if unknown := named - set(causes()):
        raise ValueError(f"causes {sorted(unknown)}")
    return result


def _parse_rule(row: Mapping[str, Any]) -> Rule:
    only(row, Rule.__dataclass_fields__)
    if "words" in row and "stages" not in row:
        raise ValueError("words without stages")
    if not {"fixtures", "examples"} & set(row):
        raise ValueError("neither fixtures nor examples")
    return Rule(
        cause=text(row["cause"]),
        source=text(row["source"]),
        fixtures=texts(row["fixtures"]) if "fixtures" in row else (),
        examples=texts(row["examples"]) if "examples" in row else (),
        protocols=among(row["protocols"], get_args(Protocol)) if "protocols" in row else (),
        stages=among(row["stages"], get_args(Stage)) if "stages" in row else (),
        verbs=texts(row["verbs"]) if "verbs" in row else (),
        presented=among(row["presented"], get_args(Presented)) if "presented" in row else (),
        code=pattern(row["code"]) if "code" in row else None,
        enhanced=pattern(row["enhanced"]) if "enhanced" in row else None,
        challenge={member: pattern(value) for member, value in row.get("challenge", {}).items()},
        words=pattern(row["words"]) if "words" in row else None,
    )


_PARSERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Rule | Refinement]]] = {
    "rule": _parse_rule,
    "refinement": parse_refinement,
}
