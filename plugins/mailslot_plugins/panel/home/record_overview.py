"""The overview of each record on the home page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from anyio.to_thread import run_sync

from mailslot.diagnosis.history import History
from mailslot.diagnosis.tested_settings import is_outdated, tested_settings
from mailslot.service.poller import STORE
from mailslot.slots.effective_settings import effective_settings
from mailslot.slots.settings import directory_of, protocol_of
from mailslot.slots.slot import is_account
from mailslot_plugins.panel.token.state import token_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.diagnosis.history import PastTest
    from mailslot.service.device import Device
    from mailslot.slots.settings import Settings
    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.token.state import TokenState


@dataclass(frozen=True, slots=True)
class RecordOverview:
    """The overview of a record.

    Attributes:
        name: the record.
        slots: its slots.
        settings: the settings in effect.
        is_set: whether it has been set up.
        token: the state of its token.
        test: its newest connection test; None if there is none.
        test_is_outdated: whether the settings have changed since.
        polled_at: the time of the last poll, in seconds since 1970; None if there was none.
        poll_cause: the cause if that poll failed; otherwise None.
        poll_sentence: the English sentence for it; otherwise empty.
        next_poll: the time of the next poll; None if unknown.
    """

    name: str
    slots: tuple[Slot, ...]
    settings: Settings
    is_set: bool
    token: TokenState
    test: PastTest | None
    test_is_outdated: bool
    polled_at: float | None
    poll_cause: str | None
    poll_sentence: str
    next_poll: float | None

    @property
    def purpose(self) -> str:
        """The end of the name of the text that says what it is for."""
        return ("account_pop" if self.is_pop else "account_smtp") if is_account(self.name) else self.name

    @property
    def is_well(self) -> bool:
        """Whether nothing about it needs attention."""
        test = self.test
        return (
            self.is_set
            and self.token.kind in {"ok", "none"}
            and (test is None or (test.ok and not self.test_is_outdated))
            and self.poll_cause is None
        )

    @property
    def is_pop(self) -> bool:
        """Whether it is a POP record."""
        return protocol_of(self.name, self.settings) == "POP"


async def record_overviews(device: Device) -> list[RecordOverview]:
    """Return the overviews of all records, in the order of their first slots.

    Raises:
        InputError: the settings cannot be used.
    """
    settings = await run_sync(device.records.settings.load)
    directory = directory_of(settings)
    history = History(device.records.place)
    polls = await device.store(STORE).items()
    found: list[RecordOverview] = []
    for name, own in settings.items():
        in_effect = effective_settings(own, protocol_of(name, own))
        tests = await history.last(name, 1)
        last = cast("Mapping[str, object]", polls.get(name, {}))
        at = cast("float | None", last.get("at"))
        interval = 60.0 * in_effect.check_interval
        found.append(
            RecordOverview(
                name=name,
                slots=directory.of(name),
                settings=in_effect,
                is_set=in_effect.server is not None,
                token=await token_state(device, name, own),
                test=tests[0] if tests else None,
                test_is_outdated=bool(tests)
                and is_outdated(tests[0], await run_sync(tested_settings, device.records, name)),
                polled_at=at,
                poll_cause=cast("str | None", last.get("cause")),
                poll_sentence=str(last.get("sentence", "")),
                next_poll=max(at + interval, device.now()) if at is not None and interval else None,
            )
        )
    return found
