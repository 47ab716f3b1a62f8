"""Checking text for use in a header."""

from __future__ import annotations

import re
from typing import Final

from mailslot.errors import InputError

_CONTROL: Final = re.compile("[\0-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def check_header_text(value: str, field_name: str) -> str:
    """Return `value` if it can be used in a header.

    Args:
        value: the text.
        field_name: how errors name it.

    Raises:
        InputError: it contains a line end, another control character except tab, or a lone surrogate.
    """
    if _CONTROL.search(value):
        raise InputError(
            f"The {field_name} holds a line break, another control character or broken text.",
            stage="data",
            detail=ascii(value[:200]),
        )
    return value
