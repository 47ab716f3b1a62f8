"""The texts in ``texts.toml``: the purpose of each setting."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEXTS: Final[Mapping[str, Mapping[str, str]]] = tomllib.loads(
    Path(__file__).with_name("texts.toml").read_text(encoding="utf-8")
)

SETTINGS: Final = _TEXTS["settings"]
"""The purpose of each setting of a slot."""

JOBS: Final = _TEXTS["jobs"]
"""What becomes of waiting jobs, by the cause's id or its disposition."""

GROUPS: Final = {name: _TEXTS[name] for name in ("listeners", "devices")}
"""The same for listeners and devices."""
