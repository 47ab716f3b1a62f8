"""``script/setup``, by which the project's scripts install what they need."""

from __future__ import annotations

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

SETUP = Path(__file__).parents[1] / "script" / "setup"


def test_the_environment_of_another_folder_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a second checkout whose .venv links to that of the first."""
    loader = SourceFileLoader("setup_script", str(SETUP))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    spec = spec_from_loader("setup_script", loader)
    assert spec is not None
    setup = module_from_spec(spec)
    loader.exec_module(setup)
    other = tmp_path / "other"
    other.mkdir()
    (other / "kept").touch()
    environment = tmp_path / ".venv"
    environment.symlink_to(other)
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(setup, "VENV", environment)
    setup.make_environment()
    assert [path.name for path in other.iterdir()] == ["kept"]
    assert not environment.is_symlink()
    assert (environment / "made-for").read_text() == str(tmp_path)
