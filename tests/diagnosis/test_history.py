"""The tests that were made: bounded, whole after any end, and the same for several processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mailslot.diagnosis.diagnosis import Diagnosis
from mailslot.diagnosis.history import MAX_ENTRIES, History
from mailslot.diagnosis.result import TestResult as Result
from mailslot.diagnosis.stages import StageResult


def result(cause: str = "ok", *, at: float | None = None, record: str = "smtp") -> Result:
    return Result(
        slot="network.smtp",
        record=record,
        at=time.time() if at is None else at,
        ok=cause == "ok",
        stage=None if cause == "ok" else "sign_in",
        diagnosis=Diagnosis(cause, {"host": "mail.example.com"}, "a detail"),
        stages=(StageResult("resolve", ok=True, seconds=0.25), StageResult("connect", ok=True, seconds=0.5)),
        transcript=("C: NOOP", "S: 250 ok • ü"),
    )


async def test_the_last_success_is_remembered(tmp_path: Path) -> None:
    history = History(tmp_path)
    assert await history.last("smtp") == []
    for at, cause in ((1000.0, "ok"), (2000.0, "ok"), (3000.0, "token_refused")):
        await history.add(result(cause, at=at))
    await history.add(result(record="fax-pop"))
    newest, before, oldest = await history.last("smtp")
    assert (newest.at, newest.ok, newest.stage, newest.cause) == (3000.0, False, "sign_in", "token_refused")
    assert (newest.facts, newest.detail, newest.seconds) == ({"host": "mail.example.com"}, "a detail", 0.75)
    assert newest.transcript == ("C: NOOP", "S: 250 ok • ü")
    # What was said before is not worth its room.
    assert (before.transcript, oldest.transcript) == ((), ())
    assert next(past.at for past in (newest, before, oldest) if past.ok) == 2000.0
    assert [past.at for past in await history.last("smtp", 2)] == [3000.0, 2000.0]
    assert await history.last("smtp", 0) == []


async def test_the_history_is_bounded(tmp_path: Path) -> None:
    history = History(tmp_path)
    await history.add(result(at=0.0))
    path = tmp_path / "history" / "smtp.jsonl"
    path.write_bytes(path.read_bytes() * (MAX_ENTRIES + 50))
    await history.add(result(at=1.0))
    found = await history.last("smtp")
    assert len(found) == MAX_ENTRIES == len(path.read_bytes().splitlines())
    assert found[0].at == 1.0
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "damage", [b'{"at": 1, "slot": "netw', b"\x00" * 100, b"[1, 2]\n", b'{"at": "x"}\n', b"\xff\xfe\n", b"null\n"]
)
async def test_a_damaged_line_loses_no_other_line(tmp_path: Path, damage: bytes) -> None:
    history = History(tmp_path)
    await history.add(result(at=1.0))
    with (tmp_path / "history" / "smtp.jsonl").open("ab") as file:
        file.write(damage)
    assert [past.at for past in await history.last("smtp")] == [1.0]
    await history.add(result(at=2.0))
    assert [past.at for past in await history.last("smtp")] == [2.0, 1.0]


async def test_a_history_file_of_another_owner(tmp_path: Path) -> None:
    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "smtp.jsonl").write_bytes(b"x" * (5 * 1024 * 1024))
    history = History(tmp_path)
    assert await history.last("smtp") == []
    await history.add(result(at=2.0))
    assert [past.at for past in await history.last("smtp")] == [2.0]


ADD = """
import anyio, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from diagnosis.test_history import result
from mailslot.diagnosis.history import History

async def main():
    for number in range(40):
        await History(Path(sys.argv[1])).add(result(at=float(sys.argv[2]) + number))

anyio.run(main)
"""


def test_concurrent_processes_lose_no_entries(tmp_path: Path) -> None:
    code = ADD.format(tests=str(Path(__file__).parents[1]))
    running = [subprocess.Popen([sys.executable, "-c", code, tmp_path, str(first)]) for first in (1000, 2000, 3000)]
    assert [process.wait(300) for process in running] == [0, 0, 0]
    lines = (tmp_path / "history" / "smtp.jsonl").read_text().splitlines()
    found = sorted(json.loads(line)["at"] for line in lines)
    assert found == [float(first + number) for first in (1000, 2000, 3000) for number in range(40)]


@pytest.mark.parametrize(
    "wrong",
    [
        '"at": NaN',
        '"at": 1e400',
        '"at": -1e12',
        '"at": 1e12',
        '"at": true',
        f'"at": 1{"0" * 400}',
        '"seconds": "soon"',
        '"seconds": Infinity',
        '"transcript": "abc"',
        '"transcript": [1]',
        '"transcript": null',
        '"facts": {"host": 5}',
        '"facts": []',
        '"stage": 7',
        '"slot": null',
        '"detail": {}',
        '"cause": []',
        '"ok": 1',
        '"detail": "\\ud800"',
        '"facts": ' + "[" * 100_000,
    ],
    ids=lambda wrong: wrong[:24],
)
async def test_every_field_is_validated(tmp_path: Path, wrong: str) -> None:
    history = History(tmp_path)
    await history.add(result(at=1.0))
    path = tmp_path / "history" / "smtp.jsonl"
    key = wrong.partition(":")[0]
    rest = ", ".join(
        part
        for part in (
            '"at": 2.0',
            '"slot": "s"',
            '"ok": true',
            '"stage": null',
            '"cause": "ok"',
            '"facts": {}',
            '"detail": ""',
            '"seconds": 0.1',
            '"transcript": []',
        )
        if not part.startswith(key)
    )
    sound = "{" + rest + "}\n"
    with path.open("a") as file:
        file.write(sound.replace("}\n", f", {wrong}}}\n") if "[[" not in wrong else f"{{{wrong}\n")
    assert [past.at for past in await history.last("smtp")] == [1.0]
