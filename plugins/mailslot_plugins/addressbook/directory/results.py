"""The results that a directory returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Found:
    """An entry of the directory.

    Attributes:
        values: the values of its attributes, by name in lower case.
    """

    values: Mapping[str, Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Result:
    """The end of an operation.

    Attributes:
        code: its result code (RFC 4511 appendix A).
        text: the server's diagnostic message.
        cookie: the cookie for the next page; empty after the last one (RFC 2696).
    """

    code: int
    text: str
    cookie: bytes = b""
