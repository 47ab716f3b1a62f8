"""Secrets that cannot be seen by accident."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback

import pytest

from mailslot import Secret

SECRET = Secret("hunter2")


@pytest.mark.parametrize(
    "shown",
    [str(SECRET), repr(SECRET), f"{SECRET}", f"{SECRET!r:>40}", f"{SECRET:>20}", "%s %r" % (SECRET, [SECRET])],  # noqa: UP031 - meant
)
def test_no_conversion_to_text_shows_it(shown: str) -> None:
    assert "hunter2" not in shown
    assert "•••" in shown


def test_logs_do_not_show_it(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("token %s, %r", SECRET, {"token": SECRET})
    assert "hunter2" not in caplog.text
    assert "•••" in caplog.text


def test_tracebacks_do_not_show_it() -> None:
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "hunter2" not in shown


def test_only_reveal_gives_it() -> None:
    assert SECRET.reveal() == "hunter2"
    assert Secret(SECRET).reveal() == "hunter2"


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps])
def test_it_is_not_copied(copied: object) -> None:
    with pytest.raises(TypeError):
        copied(SECRET)  # type: ignore[operator]  # any of the four


def test_comparison() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") == "a"
    assert Secret("a") != Secret("b")
    assert Secret("ä") != "a"
    assert Secret("a") != b"a"
    assert hash(Secret("a")) == hash(Secret("a"))
    assert {Secret("a"): 1}[Secret("a")] == 1


def test_equal_secrets_have_equal_hashes() -> None:
    assert {"a": 1}.get(Secret("a")) == 1  # type: ignore[call-overload]  # equal to a text, so found by it


def test_emptiness_and_length() -> None:
    assert not Secret("")
    assert Secret("a")
    assert len(Secret("four")) == 4
