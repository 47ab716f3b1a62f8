"""Base64 as people copy it: faults are reported as findings, and it is decoded nevertheless."""

from __future__ import annotations

import base64
import re
from typing import Final

_ALPHABET: Final = re.compile(r"[A-Za-z0-9+/]*")
_FROM_URL: Final = str.maketrans("-_", "+/")


def decode_base64(text: str) -> tuple[bytes, list[str]] | None:
    """Return the decoded octets and the ids of what is wrong with the text; None if it is not base64."""
    faults: list[str] = []
    joined = "".join(text.split())
    if joined != text.strip():
        faults.append("base64_line_breaks")
    standard = joined.translate(_FROM_URL)
    if standard != joined:
        faults.append("base64_url_alphabet")
    digits = standard.rstrip("=")
    if not digits or not _ALPHABET.fullmatch(digits):
        return None
    if len(digits) % 4 == 1:
        # No number of octets has an encoding of this length.
        faults.append("base64_cut_off")
        digits = digits[:-1]
    elif len(standard) != len(digits) + -len(digits) % 4:
        faults.append("base64_padding")
    return base64.b64decode(digits + "=" * (-len(digits) % 4)), faults
