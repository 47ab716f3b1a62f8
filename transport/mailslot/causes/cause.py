"""The causes and their consequences: ``causes.toml``, one row per cause."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

Actor = Literal["operator", "administrator", "network", "wait", "maker"]

Disposition = Literal["hold", "back_off", "defer", "fail", "in_doubt"]
"""What happens to a job. `hold`: all jobs of the record wait until somebody mends its settings, token or rights.
`back_off`: the server, the network or the token service fails, so the record's other jobs wait too.
`defer`: only this job is retried later. `fail`: it is not retried. `in_doubt`: nobody knows whether it was sent."""


@dataclass(frozen=True, slots=True)
class Cause:
    """The consequences of a cause.

    Attributes:
        when: in which situation it arises, for the documentation.
        actor: who must act; None if nobody has to.
        token_helps: whether obtaining a new token can help.
        settings: the settings of the slot that the advice names first, ``KEY=VALUE`` each.
        unless: names of facts that say that these settings are right already.
        disposition: what happens to a job; None if the stage decides, and whether the refusal is temporary.
        retryable: whether the same attempt may succeed later without anybody acting; None if the reply's code
            decides. A reply without a code is then not retryable.
    """

    when: str
    actor: Actor | None = None
    token_helps: bool = False
    settings: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    disposition: Disposition | None = None
    retryable: bool | None = None

    def __post_init__(self) -> None:
        allowed: tuple[tuple[object, set[object]], ...] = (
            (self.actor, {None, *get_args(Actor)}),
            (self.token_helps, {True, False}),
            (self.disposition, {None, *get_args(Disposition)}),
            (self.retryable, {None, True, False}),
        )
        for value, values in allowed:
            if value not in values:
                raise ValueError(f"{value!r} is not among {values}")


@cache
def causes() -> Mapping[str, Cause]:
    """Return all causes of the package's file by their ids. The first call reads it."""
    return parse_causes(files("mailslot.causes").joinpath("causes.toml").read_text("utf-8"))


def parse_causes(text: str) -> dict[str, Cause]:
    """Return the rows in a file's text, in order.

    Raises:
        ValueError: a value is not allowed, or a column is missing or unknown.
    """
    rows: dict[str, dict[str, Any]] = tomllib.loads(text)
    try:
        return {name: Cause(**{key: _frozen(value) for key, value in row.items()}) for name, row in rows.items()}
    except TypeError as error:
        raise ValueError(str(error)) from error


def _frozen(value: Any) -> Any:  # noqa: ANN401 - TOML has values of any type, and `Cause` checks them
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value
