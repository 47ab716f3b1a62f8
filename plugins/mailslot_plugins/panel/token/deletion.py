"""Deletion of a token as a background task, since the provider may be slow."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING

from mailslot.errors import MailError
from mailslot_plugins.panel.background import tasks_of
from mailslot_plugins.panel.token.retrieval import task_key
from mailslot_plugins.panel.token.sign_in import REMEMBERED_FOR

if TYPE_CHECKING:
    from starlette.datastructures import State

    from mailslot.oauth.revocation import Revocation
    from mailslot.slots.settings import Settings
    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.background import BackgroundTask

logger = logging.getLogger(__name__)


class Deletion:
    """A deletion.

    Attributes:
        revocation: the result of the revocation at the provider; None before, or if the deletion failed here.
        error: why the deletion failed; otherwise None.
    """

    def __init__(self) -> None:
        self.revocation: Revocation | None = None
        self.error: MailError | None = None
        self._ended_at: float | None = None

    @property
    def is_recent(self) -> bool:
        """Whether it is running, or ended recently."""
        return self._ended_at is None or time.monotonic() - self._ended_at < REMEMBERED_FOR

    def end(self) -> None:
        """Record that it has ended."""
        self._ended_at = time.monotonic()


def start_deletion(state: State, slot: Slot, settings: Settings) -> BackgroundTask[Deletion]:
    """Start to delete a record's token; a running sign-in for the record is cancelled."""
    return tasks_of(state).start(task_key(slot.record), Deletion(), partial(_delete, state, slot, settings))


async def _delete(state: State, slot: Slot, settings: Settings, deletion: Deletion) -> None:
    try:
        deletion.revocation = await state.device.records.tokens.delete(slot.record, settings)
        logger.info("%s: the token was deleted", slot.record)
    except MailError as error:
        logger.error("%s: the token could not be deleted: %s", slot.record, error, extra={"cause": error.cause})  # noqa: TRY400 - no bug
        deletion.error = error
    finally:
        deletion.end()
