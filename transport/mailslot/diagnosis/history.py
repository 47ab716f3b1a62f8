"""The last connection tests of each record, which show until when it worked."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync

from mailslot.home.folder import home_of

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.diagnosis.result import TestResult
    from mailslot.home.home import Home

MAX_ENTRIES: Final = 200
"""Number of tests kept for each record."""

_MAX_OCTETS: Final = 4 * 1024 * 1024
_LATEST: Final = 253_370_764_800.0
"""9999-01-01, in seconds since the epoch: no later time can be shown in every time zone."""

_WAIT: Final = 10.0
"""Seconds to wait for another process that is writing."""


@dataclass(frozen=True, slots=True)
class PastTest:
    """An earlier test.

    Attributes:
        at: when it began, in seconds since the epoch.
        slot: the slot that was tested.
        ok: whether every stage passed.
        stage: the stage that failed; None if none did.
        cause: an id of the catalogue.
        facts: values for the cause's sentence.
        detail: for an engineer.
        seconds: how long it took.
        transcript: the dialogue without secrets; kept for the newest test only.
        settings: the result of `mailslot.diagnosis.tested_settings.tested_settings`; empty if unknown.
    """

    at: float
    slot: str
    ok: bool
    stage: str | None
    cause: str
    facts: dict[str, str]
    detail: str
    seconds: float
    transcript: tuple[str, ...] = ()
    settings: str = ""


class History:
    """The tests of a device: one document for each record, one line for each test, the oldest first."""

    def __init__(self, home: Path | Home) -> None:
        self._home = home_of(home)

    async def add(self, result: TestResult) -> None:
        """Add a test; it is on the disk when this returns.

        Raises:
            MailError: another process keeps the file locked, or it cannot be opened.
            OSError: the file cannot be written.
        """
        await run_sync(self._add, result.record, _past_test(result))

    async def last(self, record: str, limit: int = MAX_ENTRIES) -> list[PastTest]:
        """Return the last tests of a record, the newest first, without damaged ones."""
        return await run_sync(self._read, record, limit)

    def _add(self, record: str, test: PastTest) -> None:
        with self._home.blocking_lock(f"history-{record}", timeout=_WAIT):
            earlier = [replace(each, transcript=()) for each in reversed(self._read(record, MAX_ENTRIES - 1))]
            lines = [json.dumps(asdict(each)) for each in [*earlier, test]]
            self._home.documents.replace({_name(record): "".join(f"{line}\n" for line in lines).encode()})

    def _read(self, record: str, limit: int) -> list[PastTest]:
        try:
            octets = self._home.documents.read(_name(record), _MAX_OCTETS) or b""
        except OSError:
            # The next test begins a new file.
            return []
        found = (test for line in reversed(octets.splitlines()) if (test := _parse(line)) is not None)
        return list(islice(found, max(0, limit)))


def _name(record: str) -> str:
    return f"history/{record}.jsonl"


def _past_test(result: TestResult) -> PastTest:
    return PastTest(
        at=result.at,
        slot=result.slot,
        ok=result.ok,
        stage=result.stage,
        cause=result.diagnosis.cause,
        facts=dict(result.diagnosis.facts),
        detail=result.diagnosis.detail,
        seconds=round(sum(stage.seconds for stage in result.stages), 4),
        transcript=result.transcript,
        settings=result.settings,
    )


def _parse(line: bytes) -> PastTest | None:
    """Return a line's test; None if it is damaged, such as after a power cut."""
    try:
        values: dict[str, Any] = json.loads(line)
        transcript: object = values["transcript"]
        values["transcript"] = tuple(values["transcript"])
        test = PastTest(**values)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return test if isinstance(transcript, list) and _is_sound(test) else None


def _is_sound(test: PastTest) -> bool:
    """Whether every field has its type, and can be shown."""
    facts: object = test.facts
    if not isinstance(facts, dict) or not isinstance(test.ok, bool):
        return False
    texts = [test.slot, test.cause, test.detail, test.settings, *test.transcript, *test.facts.values()]
    texts += [] if test.stage is None else [test.stage]
    return all(map(_is_text, texts)) and _is_between(test.at, 0.0, _LATEST) and _is_between(test.seconds, 0.0, _LATEST)


def _is_text(value: object) -> bool:
    # JSON can contain lone surrogates, which cannot be encoded.
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_between(value: object, least: float, limit: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= limit
