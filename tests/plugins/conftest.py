"""Distributions of third parties, installed as any other is, in whatever state they may be."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Site:
    """A folder that packages are installed into, and that Python looks into first.

    Attributes:
        path: the folder.
        modules: what was installed there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.modules: list[str] = []

    def module(self, name: str, source: str) -> None:
        (self.path / f"{name}.py").write_text(source)
        self.modules.append(name)

    def install(self, name: str, entry_points: str, *requires: str, metadata: str | None = None) -> None:
        """Install a distribution, version 1.0."""
        info = self.path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        lines = [
            "Metadata-Version: 2.1",
            f"Name: {name}",
            "Version: 1.0",
            *(f"Requires-Dist: {each}" for each in requires),
        ]
        (info / "METADATA").write_text("\n".join([*lines, ""]) if metadata is None else metadata)
        (info / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    path = tmp_path / "site"
    path.mkdir()
    monkeypatch.syspath_prepend(str(path))
    made = Site(path)
    yield made
    for name in made.modules:
        sys.modules.pop(name, None)
