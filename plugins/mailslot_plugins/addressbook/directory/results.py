"""What a directory answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Found:
    """An entry.

    Attributes:
        values: the values of its attributes, by name in lower case.
    """

    values: Mapping[str, Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Result:
    """The end of an operation.

    Attributes:
        code: its result (RFC 4511 appendix A).
        text: what the server says about it.
        cookie: what asks for the next page; empty if there is none (RFC 2696).
    """

    code: int
    text: str
    cookie: bytes = b""
