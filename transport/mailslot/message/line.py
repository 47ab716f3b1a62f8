"""What text can stand on one line of a header."""

from __future__ import annotations

import re
from typing import Final

from mailslot.errors import InputError

_CONTROL: Final = re.compile("[\0-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def check_line(value: str, what: str) -> str:
    """Return `value` if it can stand in a header.

    Args:
        value: the text.
        what: how to call it in an error.

    Raises:
        InputError: it holds a line end or another control character except the tab, or half of
            a surrogate pair.
    """
    if _CONTROL.search(value):
        raise InputError(
            f"The {what} holds a line break, another control character or broken text.",
            stage="data",
            detail=ascii(value[:200]),
        )
    return value
