"""IMAP servers that break the protocol, send too much or nothing, with aioimaplib as the client."""

from __future__ import annotations

import asyncio
import base64
import logging
import tracemalloc
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from aioimaplib import aioimaplib

import virtual_time
from maildrops.scripted_imap import (
    CLOSE,
    DEFAULT_REPLIES,
    NOISE,
    PASSWORD,
    RECORD,
    Answer,
    ScriptedImapServer,
    run_scripted_imap,
)
from mailslot.errors import (
    ClosedError,
    DeletionsRefusedError,
    InputError,
    MailError,
    NetworkError,
    RefusedError,
    ServerError,
    SignInError,
)
from mailslot.service.device import Device
from mailslot.service.poll_loop import PollLoop
from mailslot.slots.connector import Connector
from mailslot.slots.records import Records
from mailslot.spool.spool import Spool
from mailslot.wire.transcript import Transcript
from mailslot_imap import idle, session
from service.polling_device import RecordingPipeline, mail
from service.sending_device import FastClocks

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import trustme

    from mailslot_imap.session import ImapSession

    Play = Callable[..., AbstractAsyncContextManager[ScriptedImapServer]]

pytestmark = pytest.mark.virtual_time


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return virtual_time.backend("asyncio")


@pytest.fixture
def play(tmp_path: Path, ca: trustme.CA, server_context: ssl.SSLContext) -> Play:
    return partial(run_scripted_imap, tmp_path, ca, server_context)


async def use(server: ScriptedImapServer, work: Callable[[ImapSession], Awaitable[None]]) -> None:
    async with server.open() as maildrop:
        await work(maildrop)


async def fetch_all(maildrop: ImapSession) -> None:
    for entry in await maildrop.listing():
        async for _ in maildrop.retrieve(entry):
            pass


async def leave_early(maildrop: ImapSession) -> None:
    for entry in await maildrop.listing():
        await anext(maildrop.retrieve(entry))
    await maildrop.listing()


async def test_the_usual_server(play: Play) -> None:
    async with play() as server:
        async with server.open() as maildrop:
            (entry,) = await maildrop.listing()
            assert (entry.uid, entry.size) == ("7.5", 5)
            assert [piece async for piece in maildrop.retrieve(entry)] == [b"abc\r\n"]
            await maildrop.delete(entry)
        told = ["CAPABILITY", "AUTHENTICATE", "CAPABILITY", "SELECT", "listing", "FETCH", "STORE", "EXPUNGE", "LOGOUT"]
        assert server.verbs == told


LATER = "sign_in_temporarily_unavailable"
OTHERS: list[tuple[dict[str, Answer], type[MailError], str, str]] = [
    ({"greeting": b"* BYE too many\r\n"}, RefusedError, "greeting", "server_busy"),
    ({"greeting": b"* PREAUTH welcome\r\n"}, ServerError, "greeting", "not_a_mail_server"),
    ({"greeting": b"+OK POP3\r\n"}, ServerError, "greeting", "not_a_mail_server"),
    ({"greeting": b"* OK " + b"x" * 70_000}, ServerError, "greeting", "not_a_mail_server"),
    ({"greeting": CLOSE}, NetworkError, "greeting", "connection_lost"),
    ({"CAPABILITY": b"%t OK done\r\n"}, ServerError, "capabilities", "protocol_error"),
    ({"CAPABILITY": b"WRONG OK done\r\n"}, ServerError, "capabilities", "protocol_error"),
    ({"CAPABILITY": b"%t OKAY done\r\n"}, ServerError, "capabilities", "protocol_error"),
    ({"CAPABILITY": b"* \xff\xff x\r\n%t OK done\r\n"}, ServerError, "capabilities", "protocol_error"),
    ({"CAPABILITY": b"* CAPABILITY\n%t OK done\n"}, ServerError, "capabilities", "protocol_error"),
    ({"CAPABILITY": b"+ go on\r\n"}, ServerError, "capabilities", "protocol_error"),
    ({"CAPABILITY": b"* LIST {99999999999}\r\n"}, ServerError, "capabilities", "protocol_error"),
    ({"CAPABILITY": b"* LIST {0}\r\n {0}\r\n" * 20_000}, ServerError, "capabilities", "protocol_error"),
    ({"CAPABILITY": b"* CAPABILITY IMAP4\r\n" * 12_000}, ServerError, "capabilities", "protocol_error"),
    ({"CAPABILITY": b"* CAPABILITY %b\r\n" % (b"X" * 60_000) * 20}, ServerError, "capabilities", "protocol_error"),
    ({"CAPABILITY": b"* OK noise\r\n" * 12_000}, ServerError, "capabilities", "protocol_error"),
    ({"AUTHENTICATE": b""}, NetworkError, "sign_in", "connection_lost"),
    ({"AUTHENTICATE": [b"+ \r\n", b""]}, NetworkError, "sign_in", "connection_lost"),
    ({"AUTHENTICATE": [b"+ \r\n", b"+ \r\n", b"%t BAD\r\n"]}, ServerError, "sign_in", "protocol_error"),
    ({"AUTHENTICATE": b"%t OK come in\r\n"}, ServerError, "sign_in", "protocol_error"),
    ({"AUTHENTICATE": [b"+ \r\n", b"%t NO [UNAVAILABLE] no\r\n"]}, SignInError, "sign_in", LATER),
    ({"AUTHENTICATE": b"* BYE [ALERT] go\r\n"}, NetworkError, "sign_in", "connection_lost"),
    ({"SELECT": b"%t OK done\r\n"}, ServerError, "transaction", "protocol_error"),
    ({"SELECT": b"%t NO [INUSE] locked\r\n"}, RefusedError, "transaction", "mailbox_in_use"),
    ({"SELECT": b"* 1 EXISTS\r\n" + CLOSE}, NetworkError, "transaction", "connection_lost"),
]  # fmt: skip


@pytest.mark.parametrize(("answers", "kind", "stage", "cause"), OTHERS)
async def test_servers_that_prevent_a_session(
    play: Play, answers: Mapping[str, Answer], kind: type[MailError], stage: str, cause: str
) -> None:
    async with play(answers, timeout=1) as server:
        with anyio.fail_after(60), pytest.raises(MailError) as raised:
            async with server.open():
                pass
        assert (type(raised.value), raised.value.stage) == (kind, stage), repr(raised.value)
        assert raised.value.cause == cause


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"%t OK go on\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n", "tls_injection"),
        (b"%t OK go on\r\n*", "tls_injection"),
        (b"%t OK go on {9}\r\n", "tls_injection"),
        (b"%t BAD what?\r\n", "tls_not_offered"),
    ],
)
async def test_missing_encryption(play: Play, answer: bytes, cause: str) -> None:
    async with play({"STARTTLS": answer}, security="starttls") as server:
        with pytest.raises(MailError) as raised:
            async with server.open():
                pass
        assert (raised.value.stage, raised.value.cause) == ("tls", cause)
        assert not any(PASSWORD.encode() in line for line in server.heard)


async def test_plain_text_in_answer_to_a_client_hello_is_a_refusal(play: Play) -> None:
    async with play({"ClientHello": b"* BYE TLS is broken here\r\n" + CLOSE}, security="starttls") as server:
        with pytest.raises(RefusedError) as raised:
            async with server.open():
                pass
        assert (raised.value.stage, raised.value.cause) == ("tls", "tls_failed")
        assert str(raised.value).endswith(": TLS is broken here")


async def test_many_response_lines_in_one_packet(play: Play) -> None:
    """aioimaplib alone would call itself for each line, up to a `RecursionError`."""
    lines = b"".join(b"* OK line %d\r\n" % number for number in range(1_900))
    answer = lines + b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n%t OK done\r\n"
    answers = {"CAPABILITY": answer, "SELECT": lines + b"* 0 EXISTS\r\n%t OK done\r\n"}
    async with play(answers) as server, server.open() as maildrop:
        assert await maildrop.listing() == []


FETCHED: list[tuple[bytes, bytes | None]] = [
    (b"* 1 FETCH (BODY[] {5}\r\nabc\r\n UID 5)\r\n%t OK\r\n", b"abc\r\n"),
    (b"* 1 FETCH (FLAGS ())\r\n* 9 EXISTS\r\n* 1 FETCH (UID 5 BODY[] {2}\r\nab FLAGS ())\r\n%t OK\r\n", b"ab"),
    (b'* 1 FETCH (UID 5 BODY[] "a* b\\"\\\\")\r\n%t OK\r\n', b'a* b"\\'),
    (b"* 1 FETCH (UID 5 BODY[] {2}\r\nab)\r\n* 2 FETCH (UID 6 ENVELOPE {3}\r\nxyz)\r\n%t OK\r\n", b"ab"),
    (b"%t OK nothing\r\n", None),
    (b"* 1 FETCH (UID 5 BODY[] NIL)\r\n%t OK\r\n", None),
    (b'* 1 FETCH (UID 5 BODY[] "")\r\n%t OK\r\n', None),
    (b"* 1 FETCH (UID 5 BODY[] {0}\r\n)\r\n%t OK\r\n", None),
    (b"%t NO [EXPUNGEISSUED] gone\r\n", None),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "mail"), FETCHED)
async def test_fetch_responses(play: Play, answer: bytes, mail: bytes | None) -> None:
    async with play({"FETCH": answer}) as server, server.open() as maildrop:
        (entry,) = await maildrop.listing()
        for _ in range(2):
            if mail is None:
                with pytest.raises(RefusedError):
                    await anext(maildrop.retrieve(entry))
            else:
                assert b"".join([piece async for piece in maildrop.retrieve(entry)]) == mail


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"* 1 FETCH (UID 6 BODY[] {5}\r\nabc\r\n)\r\n%t OK\r\n", "protocol_error"),
        (b"* 1 FETCH (UID 5 BODY[] {2}\r\nab)\r\n" * 2 + b"%t OK\r\n", "protocol_error"),
        (b"* 1 FETCH (UID 5 BODY[] {3}\r\nabc with more\r\n)\r\n%t OK\r\n", "protocol_error"),
        (b"* 1 FETCH (UID 5 BODY[] {3}\r\nabc\r\nmore\r\n)\r\n%t OK\r\n", "protocol_error"),
        (b"* 1 FETCH (UID 5 BODY[] {3}\r\nabc\r\n%t OK\r\n", "protocol_error"),
        (b"* 1 FETCH (UID 5 BODY[] {3}\r\nabc\r\n* 2 FETCH (FLAGS ())\r\n%t OK\r\n", "protocol_error"),
        (b"* LIST (x) {99999999}\r\n", "protocol_error"),
        (b"* 1 FETCH (ENVELOPE {99999999}\r\n", "protocol_error"),
        (b"+ {99999999}\r\n", "protocol_error"),
        (b"\r\n", "protocol_error"),
        (b"* 1 FETCH (UID 5 BODY[] {9}\r\nab" + CLOSE, "connection_lost"),
        (b"* 1 FETCH (UID 5 BODY[] {9}\r\nab", "connection_lost"),
        (NOISE, "connection_lost"),
        (b"* 1 FETCH (UID 5 BODY[] {2}\r\nab)\r\n" + NOISE, "connection_lost"),
        (b"* BYE Session invalidated - AccessTokenExpired\r\n", "connection_lost"),
        (b"* 1 FETCH (UID 5" + b" {1}\r\nx" * 30_000, "protocol_error"),
    ],
)
async def test_a_truncated_mail_is_never_complete(play: Play, answer: bytes, cause: str) -> None:
    async with play({"FETCH": answer}, timeout=1) as server:
        with anyio.fail_after(30), pytest.raises(MailError) as raised:
            await use(server, fetch_all)
        assert raised.value.cause == cause
        assert "LOGOUT" not in server.verbs


async def test_sequence_numbers_that_change_during_the_listing(play: Play) -> None:
    """Another client deletes the first mail: the second and the third are told of under the same number."""
    listing = b"".join(
        b"* %d FETCH (UID %d RFC822.SIZE 5)\r\n%b" % each
        for each in ((1, 5, b""), (2, 6, b"* 1 EXPUNGE\r\n"), (2, 7, b""), (1, 6, b""))
    )
    async with play({"listing": listing + b"%t OK done\r\n"}) as server, server.open() as maildrop:
        entries = await maildrop.listing()
        assert [(entry.number, entry.uid) for entry in entries] == [(1, "7.5"), (2, "7.6"), (3, "7.7")]
        with pytest.raises(ServerError):
            await anext(maildrop.retrieve(entries[1]))
        assert b"UID FETCH 6 " in server.heard[-1]


async def test_a_cancelled_session_is_closed(play: Play) -> None:
    before = len(asyncio.all_tasks())
    async with play({"FETCH": b"* 1 FETCH (UID 5 BODY[] {9}\r\nab"}) as server:
        with anyio.move_on_after(0.3) as scope:
            await use(server, fetch_all)
        assert scope.cancelled_caught
        assert "LOGOUT" not in server.verbs
    await anyio.sleep(0.01)
    assert len(asyncio.all_tasks()) == before


async def test_an_endless_folder(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session._ListingCommand, "max_lines", 1_000)
    lines = b"".join(b"* %d FETCH (UID %d RFC822.SIZE 1)\r\n" % (number, number) for number in range(1, 2_000))
    async with play({"listing": lines + b"%t OK\r\n"}) as server:
        with pytest.raises(ServerError):
            async with server.open() as maildrop:
                await maildrop.listing()


async def test_large_folders_are_listed_fast_and_in_little_memory(play: Play) -> None:
    """aioimaplib alone would look at all lines again for each of them."""
    lines = b"".join(b"* %d FETCH (UID %d RFC822.SIZE 1)\r\n" % (number, number) for number in range(1, 5_001))
    async with play({"listing": lines + b"%t OK\r\n"}) as server, server.open() as maildrop:
        tracemalloc.start()
        try:
            assert len(await maildrop.listing()) == 5_000
            assert tracemalloc.get_traced_memory()[1] < 6_000_000
        finally:
            tracemalloc.stop()


# What becomes of mails


@pytest.mark.parametrize(
    ("answers", "settings", "told"),
    [
        ({"STORE": b"%t NO [NOPERM] no\r\n"}, {}, "STORE"),
        ({"EXPUNGE": b"%t NO no\r\n"}, {}, "EXPUNGE"),
        ({"EXPUNGE": CLOSE}, {}, "EXPUNGE"),
        ({"MOVE": b"%t NO [TRYCREATE] no such folder\r\n"}, {"maildrop_options": "move_to=Done"}, "MOVE"),
    ],
)
async def test_incomplete_deletions_are_reported(
    play: Play, answers: Mapping[str, Answer], settings: Mapping[str, object], told: str
) -> None:
    async with play(answers, **settings) as server:
        with pytest.raises(MailError) as raised:
            async with server.open() as maildrop:
                await maildrop.delete(*await maildrop.listing())
        assert raised.value.stage == "quit"
        assert told in server.verbs


@pytest.mark.parametrize("options", [[], ["move_to=Done"]])
async def test_a_server_without_uidplus(play: Play, options: list[str]) -> None:
    """EXPUNGE alone would delete what others have marked, too."""
    plain = b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n%t OK done\r\n"
    async with play({"CAPABILITY": plain}, maildrop_options=options or None) as server:
        async with server.open() as maildrop:
            (entry,) = await maildrop.listing()
            with pytest.raises(DeletionsRefusedError) as raised:
                await maildrop.delete(entry)
            assert list(raised.value.refused) == [entry.number]
        assert not {"STORE", "EXPUNGE", "MOVE"} & set(server.verbs)


async def test_logout_does_not_wait(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_LOGOUT_TIMEOUT", 0.2)
    async with play({"LOGOUT": b""}) as server:
        with anyio.fail_after(20):
            async with server.open() as maildrop:
                await maildrop.delete(*await maildrop.listing())
        assert server.verbs[-2:] == ["EXPUNGE", "LOGOUT"]


async def test_a_mail_that_is_left_early_ends_the_session(play: Play) -> None:
    async with play() as server:
        with pytest.raises(ClosedError):
            await use(server, leave_early)


# Signing in, and secrets


async def test_login_without_sasl_mechanisms(play: Play) -> None:
    plain = b"* CAPABILITY IMAP4rev1\r\n%t OK done\r\n"
    async with play({"CAPABILITY": plain}, account="bøb") as server:
        transcript = Transcript()
        async with server.open(transcript=transcript):
            pass
        at = next(number for number, line in enumerate(server.heard) if b"LOGIN" in line)
        assert server.heard[at].endswith(b" LOGIN {4}")
        assert server.heard[at + 1 : at + 3] == ["bøb {21}".encode(), PASSWORD.encode()]
        assert PASSWORD not in str(transcript)


async def test_logindisabled(play: Play) -> None:
    async with play({"CAPABILITY": b"* CAPABILITY IMAP4rev1 LOGINDISABLED\r\n%t OK done\r\n"}) as server:
        with pytest.raises(SignInError) as raised:
            async with server.open():
                pass
        assert raised.value.cause == "sign_in_method_not_offered"


async def test_echoed_secrets_are_masked(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    coded = base64.b64encode(f"\0alice\0{PASSWORD}".encode())
    refusal = b"* OK %b\r\n%%t NO [AUTHENTICATIONFAILED] %b is no %b\r\n" % (coded, PASSWORD.encode(), coded)
    async with play({"AUTHENTICATE": [b"+ \r\n", refusal]}) as server:
        transcript = Transcript()
        with pytest.raises(SignInError) as raised:
            async with server.open(transcript=transcript):
                pass
        error = raised.value
        for said in (str(transcript), f"{error} {error.detail} {error!r} {error.reply}", caplog.text):
            assert PASSWORD not in said
            assert coded.decode()[8:20] not in said


async def test_the_log_filter_affects_only_our_connections(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    aioimaplib.IMAP4ClientProtocol(None).data_received(b"")
    assert "Received" in caplog.text


# Push


async def watch(server: ScriptedImapServer, told: list[float]) -> None:
    await server.maildrop.watch(server.profile, server.options, lambda: told.append(anyio.current_time()))


async def test_a_server_without_idle_notifications(play: Play) -> None:
    told: list[float] = []
    async with play({"CAPABILITY": b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n%t OK done\r\n"}) as server:
        await watch(server, told)
    async with play({"IDLE": b"%t NO not now\r\n"}) as server:
        with pytest.raises(RefusedError):
            await watch(server, told)
    assert told == []


async def test_a_connection_lost_while_idle(play: Play) -> None:
    told: list[float] = []
    async with play({"IDLE": b"+ idling\r\n* 2 EXISTS\r\n* BYE AccessTokenExpired\r\n"}) as server:
        with pytest.raises(NetworkError) as raised:
            await watch(server, told)
    assert raised.value.retryable
    assert len(told) == 2


async def test_idle_is_renewed_and_a_dead_connection_is_noticed(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "RESTART_AFTER", 0.2)
    told: list[float] = []
    async with play() as server:
        with anyio.move_on_after(1):
            await watch(server, told)
        assert server.verbs.count("IDLE") > 1
        assert len(told) == 1
    async with play({"IDLE": [b"+ idling\r\n", b""]}, timeout=1) as server:
        with anyio.fail_after(20), pytest.raises(NetworkError):
            await watch(server, told)


async def test_a_watch_is_resumed_after_a_disconnect(play: Play, tmp_path: Path) -> None:
    """Each time, new mail is looked for; a failed poll is retried."""
    octets = mail("one")
    answers: dict[str, Answer] = {
        "IDLE": b"+ idling\r\n* BYE Session invalidated - AccessTokenExpired\r\n",
        "FETCH": b"* 1 FETCH (UID 5 BODY[] {%d}\r\n%b)\r\n%%t OK done\r\n" % (len(octets), octets),
        "SELECT": [b"%t NO [UNAVAILABLE] later\r\n"],
    }
    clocks, keeper = FastClocks(200), RecordingPipeline(polls=RECORD)
    async with (
        play(answers, check_interval=0, first_poll="all", timeout=60) as server,
        Spool(tmp_path) as spool,
        Connector(Records(tmp_path)) as connector,
    ):
        device = Device(Records(tmp_path), connector, spool, clocks=clocks.clocks, speed=200)
        polling = PollLoop(device, RECORD, keeper)
        async with anyio.create_task_group() as group:
            group.start_soon(polling.run)
            group.start_soon(polling.watch)
            with anyio.fail_after(60):
                while server.verbs.count("IDLE") < 2 or server.verbs.count("SELECT") < 2:  # noqa: ASYNC110 - no event
                    await anyio.sleep(0.01)
                server.answers = {**server.answers, "SELECT": DEFAULT_REPLIES["SELECT"]}
                while not keeper.subjects:  # noqa: ASYNC110 - likewise
                    await anyio.sleep(0.01)
            group.cancel_scope.cancel()
    assert keeper.subjects == ["one"]


async def test_trio_is_refused_with_a_clear_error(play: Play) -> None:
    async with play() as server:

        async def main() -> None:
            async with server.open():
                pass

        with pytest.raises(InputError, match="asyncio alone"):
            await anyio.to_thread.run_sync(lambda: anyio.run(main, backend="trio"))
