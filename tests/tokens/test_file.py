"""A token in a file, and a constant token."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from mailslot import InputError, Secret, TokenError
from mailslot_plugins.tokens import file, static

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_file_is_read_at_each_request(tmp_path: Path) -> None:
    path = tmp_path / "token"
    source = file.source({"path": str(path)})
    with pytest.raises(TokenError, match=r"cannot be read: there is no such file\.") as refused:
        await source.token()
    assert refused.value.cause == "token_source_failed"
    path.write_text("first\n")
    assert (await source.token()).value == "first"
    path.write_text("later\n")  # as long, and perhaps at the same time
    assert (await source.token()).value == "later"
    (tmp_path / "new").write_text(json.dumps({"access_token": "third", "expires_at": time.time() + 60}))
    (tmp_path / "new").rename(path)
    token = await source.token(force=True)
    assert token.value == "third"
    assert token.expires_at is not None
    await source.forget()
    assert path.exists()


async def test_expires_in_counts_from_the_modification_time(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(json.dumps({"access_token": "T", "expires_in": 3600}))
    written = time.time() - 3000
    os.utime(path, (written, written))
    source = file.source({"path": path})
    token = await source.token()
    assert token.expires_at is not None
    assert abs(token.expires_at - written - 3600) < 1
    os.utime(path, (written - 700, written - 700))
    with pytest.raises(TokenError, match="has expired") as refused:
        await source.token()
    assert refused.value.cause == "token_source_failed"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "no token"),
        (b"\xff\xfe", "something other"),
        (b"{", "damaged"),
        (b"two words", "something other"),
        (b'{"a":' * 10_000, "damaged"),
        (b"x" * 65_537, "more than 64 KiB"),
    ],
)
async def test_output_that_is_no_token(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(TokenError, match=sentence) as refused:
        await file.source({"path": path}).token()
    assert str(path) in str(refused.value)


async def test_paths_that_are_not_regular_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(TokenError, match="cannot be read"):
            await file.source({"path": path}).token()


@pytest.mark.parametrize("settings", [{}, {"path": ""}, {"path": "relative"}, {"path": 5}])
def test_unusable_paths(settings: dict[str, object]) -> None:
    with pytest.raises(InputError):
        file.source(settings)


async def test_a_static_token() -> None:
    for token in ("T", Secret("T")):
        source = static.source({"token": token})
        assert (await source.token()).value == "T"
        await source.forget()
        with pytest.raises(InputError):
            await source.token()
    for settings in ({}, {"token": ""}, {"token": 5}, {"token": "two words"}):
        with pytest.raises(InputError):
            static.source(settings)
