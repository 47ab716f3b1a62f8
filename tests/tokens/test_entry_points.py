"""That every flow and source is found under its own name, and satisfies its protocol."""

from __future__ import annotations

import inspect
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from mailslot.oauth.flow import Flow

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
TABLE: dict[str, str] = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"]["mailslot.token_sources"]
FLOWS = {"browser", "paste", "device", "app", "service_account"}


def load(name: str) -> Any:
    return EntryPoint(name, TABLE[name], "mailslot.token_sources").load()


def test_all_entry_points_exist() -> None:
    assert set(TABLE) == FLOWS | {"command", "file", "static", "msal"}


@pytest.mark.parametrize("name", sorted(FLOWS))
def test_a_flow_by_entry_point(name: str) -> None:
    flow = load(name)
    assert isinstance(flow, Flow)
    assert flow.name == name
    assert inspect.iscoroutinefunction(flow.obtain)
    assert inspect.iscoroutinefunction(flow.refresh)


@pytest.mark.parametrize("name", sorted(set(TABLE) - FLOWS))
def test_a_token_source_by_entry_point(name: str) -> None:
    assert list(inspect.signature(load(name)).parameters) == ["settings"]
    assert not isinstance(load(name), Flow)
