"""What the first page shows of each record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from anyio.to_thread import run_sync

from mailslot.diagnosis.history import History
from mailslot.service.poller import STORE
from mailslot.slots.effective_settings import effective_settings
from mailslot.slots.slot import PROTOCOLS, slots_of
from mailslot_plugins.panel.token.state import token_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.diagnosis.history import PastTest
    from mailslot.service.device import Device
    from mailslot.slots.settings import Settings
    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.token.state import TokenState


@dataclass(frozen=True, slots=True)
class Overview:
    """A record at a glance.

    Attributes:
        name: the record.
        doors: its slots.
        settings: what holds.
        is_set: whether somebody has set it up.
        token: its token's state.
        test: its newest connection test; None without one.
        polled_at: when mail was looked for last, in seconds since 1970; None for never.
        poll_cause: why that went wrong; None where it did not.
        poll_sentence: that in English; empty where nothing went wrong.
        next_poll: when it is due again; None where nobody knows.
    """

    name: str
    doors: tuple[Slot, ...]
    settings: Settings
    is_set: bool
    token: TokenState
    test: PastTest | None
    polled_at: float | None
    poll_cause: str | None
    poll_sentence: str
    next_poll: float | None

    @property
    def is_pop(self) -> bool:
        """Whether mail is fetched through it."""
        return PROTOCOLS[self.name] == "POP"


async def overviews(device: Device) -> list[Overview]:
    """Return all records, in the order of their first slots.

    Raises:
        InputError: the settings cannot be used.
    """
    settings = await run_sync(device.records.settings.load)
    history = History(device.home)
    polls = await device.store(STORE).items()
    found: list[Overview] = []
    for name, mine in settings.items():
        holds = effective_settings(mine, PROTOCOLS[name])
        tests = await history.last(name, 1)
        last = cast("Mapping[str, object]", polls.get(name, {}))
        at = cast("float | None", last.get("at"))
        interval = 60.0 * holds.check_interval
        found.append(
            Overview(
                name=name,
                doors=slots_of(name),
                settings=holds,
                is_set=holds.server is not None,
                token=await token_state(device, name),
                test=tests[0] if tests else None,
                polled_at=at,
                poll_cause=cast("str | None", last.get("cause")),
                poll_sentence=str(last.get("sentence", "")),
                next_poll=max(at + interval, device.now()) if at is not None and interval else None,
            )
        )
    return found
