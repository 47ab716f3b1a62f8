"""The work of deleting a token, which may have to wait for the provider."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING

from mailslot.errors import MailError
from mailslot_plugins.panel.token.retrieval import key_of
from mailslot_plugins.panel.token.sign_in import RECENT

if TYPE_CHECKING:
    from starlette.datastructures import State

    from mailslot.oauth.revocation import Revocation
    from mailslot.slots.settings import Settings
    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.background import BackgroundTask, BackgroundTasks

logger = logging.getLogger(__name__)


class Deletion:
    """A deletion.

    Attributes:
        revocation: what came of telling the provider; None before, and where it failed here.
        error: why the token is still there; None where it is not.
    """

    def __init__(self) -> None:
        self.revocation: Revocation | None = None
        self.error: MailError | None = None
        self._ended_at: float | None = None

    @property
    def is_recent(self) -> bool:
        """Whether it goes on, or ended just now."""
        return self._ended_at is None or time.monotonic() - self._ended_at < RECENT

    def end(self) -> None:
        """Note that it is over."""
        self._ended_at = time.monotonic()


def start_deletion(state: State, slot: Slot, settings: Settings) -> BackgroundTask[Deletion]:
    """Begin to delete a record's token; a sign-in for the same record is left.

    Args:
        state: the application's.
        slot: one of its slots.
        settings: the record's.
    """
    work: BackgroundTasks = state.work
    return work.start(key_of(slot.record), Deletion(), partial(_delete, state, slot, settings))


async def _delete(state: State, slot: Slot, settings: Settings, deletion: Deletion) -> None:
    try:
        deletion.revocation = await state.device.records.tokens.delete(slot.record, settings)
        logger.info("%s: the token was deleted", slot.record)
    except MailError as error:
        logger.error("%s: the token could not be deleted: %s", slot.record, error, extra={"cause": error.cause})  # noqa: TRY400 - no bug
        deletion.error = error
    finally:
        deletion.end()
