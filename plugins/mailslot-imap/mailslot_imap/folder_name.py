"""Encoding folder names."""

from __future__ import annotations

import base64
import re
from typing import Final

_NOT_ASCII: Final = re.compile(r"[^ -~]+")


def encode_folder_name(name: str) -> str:
    """Return a folder's name in modified UTF-7, as a quoted string (RFC 3501 section 5.1.3, which RFC 9051 keeps)."""
    coded = _NOT_ASCII.sub(lambda match: f"&{_base64(match[0])}-", name.replace("&", "&-"))
    return '"' + coded.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-16-be")).decode().rstrip("=").replace("/", ",")
