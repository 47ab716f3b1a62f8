"""The last connection tests of each record, so that it can be said until when it worked."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync

from mailslot.vault import durable
from mailslot.vault.lock import blocking_lock

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.diagnosis.result import TestResult

MAX_ENTRIES: Final = 200
"""Tests that are remembered for each record."""

_MAX_OCTETS: Final = 4 * 1024 * 1024
_LATEST: Final = 253_370_764_800.0
"""9999-01-01, in seconds since the epoch: no later time can be told in every time zone."""

_WAIT: Final = 10.0
"""Seconds to wait for another process that writes."""


@dataclass(frozen=True, slots=True)
class PastTest:
    """A test that was made.

    Attributes:
        at: when it began, in seconds since the epoch.
        slot: through which slot.
        ok: whether every stage passed.
        stage: the first that failed; None where none did.
        cause: an id of the catalogue.
        facts: what the cause's sentence is filled with.
        detail: for an engineer.
        seconds: how long it took.
        transcript: what was said, without secrets; kept for the newest test only.
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


class History:
    """The tests of one device: a file for each record, a line for each test, the oldest first.

    Args:
        home: the home folder.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / "history"

    async def add(self, result: TestResult) -> None:
        """Remember a test; it is on the disk once this returns.

        Raises:
            MailError: another process holds the file all the time, or it cannot be opened.
            OSError: it could not be written.
        """
        await run_sync(self._add, result.record, _past(result))

    async def last(self, record: str, most: int = MAX_ENTRIES) -> list[PastTest]:
        """Return the last tests of a record, the newest first; what is damaged is left out."""
        return await run_sync(self._read, record, most)

    def _add(self, record: str, past: PastTest) -> None:
        path = self._path(record)
        with blocking_lock(path.with_suffix(".lock"), timeout=_WAIT):
            before = [replace(each, transcript=()) for each in reversed(self._read(record, MAX_ENTRIES - 1))]
            lines = [json.dumps(asdict(each)) for each in [*before, past]]
            durable.replace(path, "".join(f"{line}\n" for line in lines).encode())

    def _read(self, record: str, most: int) -> list[PastTest]:
        try:
            octets = durable.read(self._path(record), _MAX_OCTETS) or b""
        except OSError:
            # What was is worth less than what is: the next test begins the file anew.
            return []
        found = (past for line in reversed(octets.splitlines()) if (past := _parsed(line)) is not None)
        return list(islice(found, max(0, most)))

    def _path(self, record: str) -> Path:
        return self._folder / f"{record}.jsonl"


def _past(result: TestResult) -> PastTest:
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
    )


def _parsed(line: bytes) -> PastTest | None:
    """Return a line's test; None where it is none, such as one that a power cut has left half."""
    try:
        values: dict[str, Any] = json.loads(line)
        transcript: object = values["transcript"]
        values["transcript"] = tuple(values["transcript"])
        past = PastTest(**values)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return past if isinstance(transcript, list) and _is_sound(past) else None


def _is_sound(past: PastTest) -> bool:
    """Whether every field is of its kind, and can be shown."""
    facts: object = past.facts
    if not isinstance(facts, dict) or not isinstance(past.ok, bool):
        return False
    texts = [past.slot, past.cause, past.detail, *past.transcript, *past.facts.values()]
    texts += [] if past.stage is None else [past.stage]
    return all(map(_is_text, texts)) and _is_between(past.at, 0.0, _LATEST) and _is_between(past.seconds, 0.0, _LATEST)


def _is_text(value: object) -> bool:
    # Half a character, which JSON can hold, cannot be written anywhere.
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_between(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
