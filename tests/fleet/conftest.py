"""Fleets run on asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fleet.tasks import TaskFleet

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def own(postgres: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskFleet]:
    """A fleet in which nothing else is done or counted than what the module's tests do."""
    fleet = TaskFleet(postgres.create_database(), tmp_path_factory.mktemp("fleet"))
    yield fleet
    fleet.database.close()
