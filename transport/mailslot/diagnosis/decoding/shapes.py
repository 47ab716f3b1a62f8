"""``token_shapes.toml``: the beginnings by which opaque tokens are recognized."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

TokenKind = Literal[
    "access_token",
    "refresh_token",
    "authorization_code",
    "client_secret",
    "refresh_token_or_code",
    "access_or_refresh_token",
]


@dataclass(frozen=True, slots=True)
class TokenShape:
    """A row.

    Attributes:
        pattern: matches a whole token; it is also searched for in other text.
        kind: the purpose of such a token.
        provider: its issuer.
        source: where this is documented.
    """

    pattern: re.Pattern[str]
    kind: TokenKind
    provider: str
    source: str


@cache
def token_shapes() -> tuple[TokenShape, ...]:
    """Return the rows of the package's file."""
    rows = tomllib.loads(files("mailslot.diagnosis.decoding").joinpath("token_shapes.toml").read_text("utf-8"))
    return tuple(
        TokenShape(re.compile(rf"(?<![\w.~/-]){row['begins']}"), row["kind"], row["provider"], row["source"])
        for row in rows["shape"]
    )


def find_shape(token: str) -> TokenShape | None:
    """Return the shape of a token; None if no row matches all of it."""
    return next((shape for shape in token_shapes() if shape.pattern.fullmatch(token)), None)
