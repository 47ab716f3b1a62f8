"""A log that is not read or cannot be written blocks nothing."""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING

import pytest

from mailslot.service.log import JsonLines
from mailslot.service.log_handler import MAX_WAITING, LogHandler

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES = MAX_WAITING + 500
FULL_DISK = "/dev/full"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


def fill(descriptor: int) -> int:
    """Write to a pipe until it takes no more; return how many octets that were."""
    os.set_blocking(descriptor, False)
    written = 0
    try:
        while True:
            written += os.write(descriptor, b"." * 1024)
    except BlockingIOError:
        return written
    finally:
        os.set_blocking(descriptor, True)


def handler_on(descriptor: int) -> LogHandler:
    handler = LogHandler(descriptor)
    handler.setFormatter(JsonLines())
    return handler


def log(handler: LogHandler, words: str) -> None:
    handler.handle(logging.makeLogRecord({"levelno": logging.INFO, "levelname": "INFO", "msg": words}))


@pytest.mark.parametrize("blocking", [True, False])
def test_a_slow_log_reader_blocks_nobody(pipe: tuple[int, int], blocking: bool) -> None:
    reading, writing = pipe
    filled = fill(writing)
    os.set_blocking(writing, blocking)
    handler = handler_on(writing)
    for number in range(LINES):
        log(handler, f"line {number}")
    handler.flush()
    with os.fdopen(os.dup(reading), "rb") as file:
        file.read(filled)
        messages = [json.loads(file.readline())["message"]]
        while "left out" not in messages[-1]:
            messages.append(json.loads(file.readline())["message"])
        lost = int(messages.pop().split()[0])
        # It is told as soon as anything can be written; what waits comes behind it.
        while len(messages) + lost < LINES:
            messages.append(json.loads(file.readline())["message"])
    # Which ones are left out depends on when the writer gave a line up; none comes twice, or out of turn.
    numbers = [int(message.split()[1]) for message in messages]
    assert numbers == sorted(set(numbers))
    assert len(messages) >= MAX_WAITING
    log(handler, "done")
    handler.flush()
    assert b'"done"' in os.read(reading, 10_000)


def test_a_full_disk_that_is_freed(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    descriptor = os.open(FULL_DISK, os.O_WRONLY)
    handler = handler_on(descriptor)
    for words in ("one", "two"):
        log(handler, words)
    handler.flush()
    os.dup2(writing, descriptor)
    log(handler, "three")
    handler.flush()
    lines = [json.loads(line) for line in os.read(reading, 10_000).splitlines()]
    assert [line["message"] for line in lines] == [
        "three",
        "2 lines of the log were left out, since they could not be written",
    ]
    assert lines[1]["level"] == "warning"
