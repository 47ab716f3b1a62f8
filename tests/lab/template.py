"""Settings files of the servers, with the places and ports of this run filled in."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent / "settings"


def write_settings(kind: str, folder: Path, values: Mapping[str, object]) -> None:
    """Copy the files of a folder of `HERE`, with each ``$name`` replaced and ``$$`` for a dollar."""
    for source in (HERE / kind).iterdir():
        (folder / source.name).write_text(Template(source.read_text()).substitute(values))
