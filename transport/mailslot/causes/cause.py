"""The causes, and what follows from each: ``causes.toml``, one row a cause."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

Actor = Literal["operator", "administrator", "network", "wait", "maker"]

Disposition = Literal["hold", "back_off", "defer", "fail", "in_doubt"]
"""What becomes of a job. `hold`: the record's settings, token or rights need somebody, and all its jobs wait for that.
`back_off`: the server, the network or the token service is in trouble, so that the record's other jobs need not try
now. `defer`: this job alone is tried later. `fail`: it never will be. `in_doubt`: nobody knows whether it was sent."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What follows from a cause.

    Attributes:
        when: when it arises, for the documentation.
        actor: who must act; None where nobody has to.
        token_helps: whether obtaining the token again can help.
        disposition: what becomes of a job; None where it goes by the stage, and by whether the refusal is temporary.
        retryable: whether the same attempt may succeed later without anybody acting; None where the reply's code says
            so, and where it has none, it may not.
    """

    when: str
    actor: Actor | None = None
    token_helps: bool = False
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
    """Return all causes by their ids. The file that comes with this package is read once, at the first call."""
    return parse_causes(files("mailslot.causes").joinpath("causes.toml").read_text("utf-8"))


def parse_causes(text: str) -> dict[str, Cause]:
    """Return the rows in a file's text, in order.

    Raises:
        ValueError: a value is none of those there are, or a column is missing or not known.
    """
    rows: dict[str, dict[str, Any]] = tomllib.loads(text)
    try:
        return {name: Cause(**row) for name, row in rows.items()}
    except TypeError as error:
        raise ValueError(str(error)) from error
