"""The causes, and what follows from each: ``causes.toml``, one row a cause."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

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
        actor: who must act; None where nobody has to.
        token_helps: whether obtaining the token again can help.
        disposition: what becomes of a job; None where it goes by the stage, and by whether the refusal is temporary.
    """

    actor: Actor | None = None
    token_helps: bool = False
    disposition: Literal["hold", "back_off", "defer"] | None = None

    def __post_init__(self) -> None:
        allowed = {None, *get_args(Actor)}, {True, False}, {None, "hold", "back_off", "defer"}
        for value, values in zip((self.actor, self.token_helps, self.disposition), allowed, strict=True):
            if value not in values:
                raise ValueError(f"{value!r} is not among {values}")


def parse_causes(text: str) -> dict[str, Cause]:
    """Return the rows in a file's text, in order.

    Raises:
        ValueError: a value is none of those there are, or a column is not known.
    """
    rows: dict[str, dict[str, Any]] = tomllib.loads(text)
    try:
        return {name: Cause(**row) for name, row in rows.items()}
    except TypeError as error:
        raise ValueError(str(error)) from error


CAUSES: Final[Mapping[str, Cause]] = parse_causes(
    files("mailslot.diagnosis").joinpath("causes.toml").read_text("utf-8")
)
"""All causes by their ids, in the order of the design."""
