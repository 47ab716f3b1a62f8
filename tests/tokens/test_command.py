"""A token from another program: its output, and how it is stopped."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot import InputError, TokenError
from mailslot_plugins.tokens.command import source

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mailslot import AccessToken

TOKEN = "ya29.A0ARrdaM-abcdefghij0123456789_KLMNOP"


def python(program: str) -> list[str]:
    return [sys.executable, "-S", "-c", program]


async def ask(settings: Mapping[str, object]) -> AccessToken:
    with anyio.fail_after(120):
        return await source(settings).token()


@pytest.mark.parametrize(
    ("printed", "lifetime"),
    [
        (TOKEN, None),
        (f"  {TOKEN}\r\n", None),
        ({}, None),
        ({"expires_in": 3600, "token_type": "Bearer"}, 3600),
        ({"expires_in": "3600"}, 3600),
        ({"expires_at": 900}, 900),
        ({"expires_at": "900", "expires_in": 5}, 900),
        ({"expires_at": "tomorrow"}, None),
        ({"expires_in": True}, None),
    ],
)
async def test_output_of_the_command(printed: str | dict[str, object], lifetime: float | None) -> None:
    now = time.time()
    if isinstance(printed, dict):
        members = {"access_token": TOKEN, **printed}
        match members.get("expires_at"):
            case int(seconds):
                members["expires_at"] = now + seconds
            case "900":
                members["expires_at"] = str(now + 900)
        printed = json.dumps(members)
    token = await ask({"command": ["/bin/echo", printed]})
    assert token.value == TOKEN
    if lifetime is None:
        assert token.expires_at is None
    else:
        assert token.expires_at is not None
        assert abs(token.expires_at - now - lifetime) < 300


@pytest.mark.parametrize(
    ("printed", "sentence", "cause"),
    [
        ("", "no token", "token_source_failed"),
        ("two words", "something other than a token", "token_source_failed"),
        (f"{TOKEN}\n{TOKEN}", "something other than a token", "token_source_failed"),
        ("{", "damaged or cut off", "token_source_failed"),
        ("{}", 'without "access_token"', "token_source_failed"),
        ('{"access_token": 5}', 'without "access_token"', "token_source_failed"),
        (json.dumps({"access_token": TOKEN, "expires_in": -5}), "has expired", "token_source_failed"),
        (json.dumps({"access_token": TOKEN, "expires_at": 1}), "has expired", "token_source_failed"),
    ],
)
async def test_output_that_is_no_token(printed: str, sentence: str, cause: str) -> None:
    with pytest.raises(TokenError, match=sentence) as refused:
        await ask({"command": ["/bin/echo", printed]})
    assert refused.value.cause == cause
    assert str(refused.value).startswith("The command /bin/echo ")
    assert TOKEN not in f"{refused.value} {refused.value.detail}"


async def test_no_shell_unless_configured(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    for command in (f"/bin/echo {TOKEN}; touch {victim}", ["/bin/echo", f"{TOKEN}; touch {victim}"]):
        with pytest.raises(TokenError, match="something other"):
            await ask({"command": command})
    assert not victim.exists()
    assert (await ask({"command": f"/bin/echo '{TOKEN}'"})).value == TOKEN
    token = await ask({"command": f"true && echo {TOKEN}; touch {victim}", "shell": True})
    assert token.value == TOKEN
    assert victim.exists()


async def test_the_command_fails() -> None:
    program = f"import sys; print('{TOKEN}'); print('cannot reach {TOKEN} at host', file=sys.stderr); sys.exit(3)"
    with pytest.raises(TokenError, match="failed with exit code 3") as refused:
        await ask({"command": python(program)})
    assert refused.value.detail == "cannot reach ••• at host"
    assert refused.value.cause == "token_source_failed"


async def test_unknown_secrets_are_masked_too() -> None:
    secrets = [
        "1//0gAbCdEfGhIjKlMnOpQ",
        "GOCSPX-abcdef0123456789",
        "9f86d081884c7d659a2feaa0c55ad015",
        "eyJ0.eyJ1.c2ln1234567",
    ]
    program = f"import sys; sys.stderr.write({'x ' * 3000 + ' '.join(secrets) + chr(27) + '[31m end'!r}); sys.exit(1)"
    with pytest.raises(TokenError) as refused:
        await ask({"command": python(program)})
    detail = refused.value.detail
    assert not any(secret in detail for secret in secrets)
    assert detail.endswith("end")
    assert len(detail) <= 1000
    assert detail.isprintable()


async def test_a_secret_truncated_by_the_limit_is_masked() -> None:
    secret = "1//0gAbCdEfGhIjKlMnOpQ"
    program = f"import sys; sys.stderr.write('{secret}' + ' ' * 1987 + 'end'); sys.exit(1)"
    with pytest.raises(TokenError) as refused:
        await ask({"command": python(program)})
    assert refused.value.detail == "end"


async def test_a_missing_command() -> None:
    with pytest.raises(TokenError, match="The command /no/such/program cannot be run: No such file") as refused:
        await ask({"command": ["/no/such/program", "secret-argument"]})
    assert "secret-argument" not in f"{refused.value} {refused.value.detail}"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_endless_output_is_ended(stream: str) -> None:
    program = f"import sys\nwhile True: sys.{stream}.write('x' * 65536)"
    with pytest.raises(TokenError, match="more than 64 KiB"):
        await ask({"command": python(program)})


@pytest.mark.parametrize("way", ["time", "cancellation"])
async def test_its_child_processes_are_killed_too(tmp_path: Path, way: str) -> None:
    note = tmp_path / "pids"
    command = f"sleep 300 & echo $! $$ > {note}.tmp; mv {note}.tmp {note}; wait"
    if way == "time":
        for seconds in (0.5, 10, 90):  # longer, where the machine did not come so far
            with pytest.raises(TokenError, match=rf"did not end within {seconds} seconds"):
                await ask({"command": command, "shell": True, "timeout": seconds})
            if note.exists():
                break
    else:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, {"command": command, "shell": True})
            while not note.exists():  # noqa: ASYNC110 - it is another process
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
    for pid in map(int, note.read_text().split()):
        await ended(pid)


async def test_leftover_processes_do_not_block() -> None:
    assert (await ask({"command": f"sleep 300 & echo {TOKEN}", "shell": True})).value == TOKEN


async def test_it_has_no_standard_input() -> None:
    ours, there = os.pipe()
    kept = os.dup(0)
    os.dup2(ours, 0)
    try:
        await reads_to_its_end()
    finally:
        os.dup2(kept, 0)
        for number in (ours, there, kept):
            os.close(number)


async def reads_to_its_end() -> None:
    assert (await ask({"command": python(f"import sys; print('{TOKEN}' + sys.stdin.read())")})).value == TOKEN


async def test_it_is_run_only_when_needed(tmp_path: Path) -> None:
    count = tmp_path / "count"
    count.touch()
    once = f"echo x >> {count}; echo "
    known = source({"command": once + """'{"access_token": "T'$RANDOM'", "expires_in": 3600}'""", "shell": True})
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(known.token)
    assert len(count.read_text().split()) == 1
    await known.token(force=True)
    assert len(count.read_text().split()) == 2
    await known.forget()
    await known.token()
    assert len(count.read_text().split()) == 3
    for settings in (
        {"command": once + "T", "shell": True},
        {"command": once + """'{"access_token": "T", "expires_in": 30}'""", "shell": True},
    ):
        count.write_text("")
        unknown = source(settings)
        await unknown.token()
        await unknown.token()
        assert len(count.read_text().split()) == 2


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"command": ""},
        {"command": []},
        {"command": [""]},
        {"command": ["echo", 5]},
        {"command": ["echo", "\0"]},
        {"command": "echo 'unclosed"},
        {"command": 5},
        {"command": ["echo"], "shell": True},
        {"command": "echo", "timeout": 0},
        {"command": "echo", "timeout": "soon"},
        {"command": "echo", "timeout": 601},
    ],
)
def test_unusable_settings(settings: Mapping[str, object]) -> None:
    with pytest.raises(InputError):
        source(settings)


async def ended(pid: int) -> None:
    """Wait until a process is gone, or only waits to be counted out."""
    with anyio.fail_after(120):
        while True:
            with suppress(ProcessLookupError):
                os.kill(pid, 0)
                state = await anyio.Path(f"/proc/{pid}/stat").read_text()
                if state.rpartition(")")[2].split()[0] != "Z":
                    await anyio.sleep(0.01)
                    continue
            return
