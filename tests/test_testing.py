"""``mailslot.testing``: scripted servers, and their errors for clients that deviate."""

from __future__ import annotations

import subprocess
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import mailslot.testing
from mailslot import (
    Endpoint,
    Entry,
    MailError,
    NetworkError,
    Password,
    Security,
    ServerError,
    connect_pop3,
    connect_smtp,
)
from mailslot.testing import ScriptError, parse_script, scripted_server
from pages import blocks, pages, run_python

if TYPE_CHECKING:
    import ssl

    from anyio.abc import ByteStream

pytestmark = pytest.mark.virtual_time

PAGE = pages()["docs/testing.md"]

HELLO = "S: 220 ready\nC: EHLO {any}\nS: 250 mail.example.com\n"
BYE = "C: QUIT\nS: 221 bye\n"
MESSAGE = b"Subject: x\r\n\r\n.\r\nHello.\r\n"
TAKEN = """C: MAIL FROM:<a@example.com>
S: 250 ok
C: RCPT TO:<b@example.com>
S: 250 ok
C: DATA
S: 354 go
C: {message}
S: 250 queued
"""


def offering(*extensions: str) -> str:
    *first, last = ["mail.example.com", *extensions]
    return HELLO.rpartition("S: ")[0] + "".join(f"S: 250-{each}\n" for each in first) + f"S: 250 {last}\n"


async def submit(endpoint: Endpoint, message: bytes = MESSAGE) -> None:
    async with connect_smtp(endpoint, timeout=5, final_timeout=5) as smtp:
        await smtp.submit("a@example.com", ["b@example.com"], message)


async def connected(endpoint: Endpoint) -> ByteStream:
    return await anyio.connect_tcp(endpoint.host, endpoint.port)


# What it says.


@pytest.mark.parametrize("chunk_size", [None, 1, 3])
@pytest.mark.parametrize("message", [None, MESSAGE], ids=["any message", "this message"])
async def test_a_message_is_received(chunk_size: int | None, message: bytes | None) -> None:
    async with scripted_server(HELLO + TAKEN + BYE, message=message, chunk_size=chunk_size) as server:
        await submit(server.endpoint)
    assert (server.messages, server.connections) == ([MESSAGE], 1)


async def test_an_empty_message_and_a_bdat_message() -> None:
    async with scripted_server(HELLO + TAKEN + BYE) as server:
        await submit(server.endpoint, b"")
    assert server.messages == [b""]
    chunk = """C: MAIL FROM:<a@example.com>
C: RCPT TO:<b@example.com>
S: 250 ok
S: 250 ok
C: BDAT {size} LAST
C: {octets}
S: 250 queued
"""
    async with (
        scripted_server(offering("PIPELINING", "CHUNKING") + chunk + BYE, message=MESSAGE) as server,
        connect_smtp(server.endpoint, chunking=True) as smtp,
    ):
        await smtp.submit("a@example.com", ["b@example.com"], MESSAGE)
    assert server.messages == [MESSAGE]


async def test_a_maildrop_over_tls(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> None:
    script = """S: +OK ready
C: CAPA
S: +OK
S: STLS
S: .
C: STLS
S: +OK
!starttls
C: CAPA
S: -ERR
C: USER bob
S: +OK
C: PASS secret
S: +OK
C: RETR 1
S: +OK
S: {message}
C: QUIT
S: +OK
"""
    async with scripted_server(script, message=MESSAGE, ssl_context=server_context, chunk_size=1) as server:
        assert server.endpoint.security is Security.STARTTLS
        async with connect_pop3(server.endpoint, Password("bob", "secret"), ssl_context=client_context) as pop:
            retrieval = pop.retrieve(Entry(1, "", 0))
            assert b"".join([chunk async for chunk in retrieval]) == MESSAGE


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("!close\n", NetworkError),
        ("!reset\n", NetworkError),
        ("!silence\n", NetworkError),
        ("S~ 250\n!close\n", NetworkError),
        ("S: nonsense\n", ServerError),
        ("S: 250 ok\nS: 250 to spare\n", ServerError),
    ],
)
async def test_a_dialogue_that_ends_early(end: str, error: type[MailError]) -> None:
    script = HELLO + "C: MAIL FROM:<a@example.com>\n" + end
    async with scripted_server(script) as server:
        with pytest.raises(error):
            await submit(server.endpoint)


async def test_several_connections() -> None:
    async with scripted_server(f"{HELLO}{BYE}!connection\n# the same again\n\n{HELLO}{BYE}") as server:
        for _ in range(2):
            async with connect_smtp(server.endpoint):
                pass
    assert server.connections == 2


async def test_a_server_that_refuses_starttls() -> None:
    script = offering("STARTTLS") + "C: STARTTLS\nS: 454 not now\n"
    async with scripted_server(script, security=Security.STARTTLS) as server:
        with pytest.raises(MailError, match="will not encrypt"):
            async with connect_smtp(server.endpoint):
                pass


# What it says of the client.


async def test_a_different_line() -> None:
    script = HELLO + TAKEN.replace("<b@", "<c@") + BYE
    with pytest.raises(ScriptError) as found:
        async with scripted_server(script) as server:
            await submit(server.endpoint)
    dialogue = "".join(f"    {line}\n" for line in script.splitlines()[:6])
    assert str(found.value) == (
        f"In connection 1:\n{dialogue}The client sent something else:\n"
        r"    due:  RCPT TO:<c@example.com>\r\n" + "\n" + r"    sent: RCPT TO:<b@example.com>\r\n"
    )
    assert isinstance(found.value.__cause__, NetworkError)


async def test_a_different_message() -> None:
    with pytest.raises(ScriptError, match=r"something else in line 4:\n    due:  Hello\.\\r\\n\n    sent: Hi\\r\\n"):
        async with scripted_server(HELLO + TAKEN + BYE, message=MESSAGE) as server:
            await submit(server.endpoint, MESSAGE.replace(b"Hello.", b"Hi"))


async def deviation(script: str, sent: bytes, *, stay: bool = False, **arguments: Any) -> str:
    """Return what is said of a client that hears something, sends some octets, and leaves or stays."""
    with pytest.raises(ScriptError) as found:  # noqa: PT012 - it is the context's end that raises it
        async with (
            scripted_server(f"S: 220 ready\n{script}", **arguments) as server,
            await connected(server.endpoint) as stream,
        ):
            await stream.receive()
            await stream.send(sent)
            while stay:
                try:
                    await stream.receive()
                except anyio.EndOfStream:
                    break
    return str(found.value)


@pytest.mark.parametrize(("more", "shown"), [(b"250 ", "250 "), (b"x" * 999, "x" * 200 + "…")])
async def test_unexpected_commands(more: bytes, shown: str) -> None:
    result = await deviation("", more)
    assert result == f"In connection 1:\n    S: 220 ready\nThe client sent more: {shown}"


async def test_missing_commands() -> None:
    result = await deviation("C: EHLO {any}\n", b"EHLO")
    assert result.startswith("In connection 1:\n    S: 220 ready\n    C: EHLO {any}\nThe client left instead (")
    result = await deviation("C: NOOP\n", b"NO", stay=True, timeout=5)
    assert result == "In connection 1:\n    S: 220 ready\n    C: NOOP\nThe client did not send it, but: NO"


async def test_a_bare_line_feed_ends_a_line_and_no_message() -> None:
    assert (await deviation("C: EHLO x\n", b"EHLO x\n", stay=True)).endswith("\n    sent: EHLO x\\n")
    async with scripted_server("C: {message}\nS: 250 ok\n") as server, await connected(server.endpoint) as stream:
        for octets in (b".\n.\r\n", b"\r\n.", b"\r\n"):
            await stream.send(octets)
        assert await stream.receive() == b"250 ok\r\n"
    assert server.messages == [b"\n.\r\n\r\n"]


async def test_octets_ahead_of_the_handshake(server_context: ssl.SSLContext) -> None:
    script = "C: STARTTLS\n!starttls\nC: EHLO\n"
    result = await deviation(script, b"STARTTLS\r\nMORE", stay=True, ssl_context=server_context)
    assert result.endswith("    !starttls\nThe client sent octets ahead of the handshake: MORE")


async def test_a_connection_that_stays_open() -> None:
    async with AsyncExitStack() as stack:
        with pytest.raises(ScriptError, match=r"^The client left a connection open\.$"):
            async with scripted_server("S: 220\n", timeout=5) as server:
                await (await stack.enter_async_context(await connected(server.endpoint))).receive()


async def test_too_many_and_too_few_connections() -> None:
    assert await deviation("!connection\n", b"") == "The client made 1 of 2 connections."
    with pytest.raises(ScriptError, match="connection 2; the script has 1"):  # noqa: PT012 - it is the context's end
        async with scripted_server("S: 220\n") as server, await connected(server.endpoint) as first:
            await first.receive()
            async with await connected(server.endpoint) as second:
                with pytest.raises(anyio.EndOfStream):
                    await second.receive()


async def test_an_exception_of_the_code_is_raised_unchanged() -> None:
    with pytest.raises(LookupError, match="ours"):
        async with scripted_server(HELLO):
            raise LookupError("ours")
    with anyio.move_on_after(5) as scope:
        async with scripted_server("C: NOOP\n") as server, await connected(server.endpoint) as stream:
            await stream.send(b"QUIT\r\n")
            await anyio.sleep_forever()
    assert scope.cancelled_caught


# Scripts.


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("S: 220\nX: 1", r"line 2 of the script, 'X: 1': it is not a valid line of a script"),
        ("!hang", r"line 1 of the script, '!hang': it is not a valid line of a script"),
        ("S: {tokn}", r"line 1 of the script, 'S: \{tokn\}': \{tokn\} is unknown"),
        ("C: {octets}", r"line 1 of the script, 'C: \{octets\}': no message is given"),
        ("C: MAIL SIZE={size}", r"\{size\} is unknown"),
        ("S: {message}", r"no message is given"),
    ],
)
async def test_an_invalid_script(script: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse_script(script)
    with pytest.raises(ValueError, match=fault):
        async with scripted_server(script):
            pass


async def test_a_handshake_needs_a_certificate() -> None:
    with pytest.raises(ValueError, match="no ssl_context"):
        async with scripted_server("!tls\n"):
            pass


def test_a_script_may_be_indented() -> None:
    script = """
        S: 220 ready
        # and
        !close
        """
    [steps] = parse_script(script)
    assert [(step.kind, step.octets) for step in steps] == [("send", b"220 ready\r\n"), ("close", b"")]


def test_placeholders() -> None:
    [[sent, due]] = parse_script(
        r'S: \x41{3*ab} {b64:{"a":"{who}"}}' + "\n" + "C: {any} {who} {port} {size}",
        message=b"1234",
        placeholders={"who": "x{port}"},
        port=25,
    )
    assert sent.octets == b"Aababab eyJhIjoieDI1In0=\r\n"
    assert due.matches(b"anything at all x25 25 4\r\n")
    assert not due.matches(b"an\nything x25 25 4\r\n")
    assert not due.matches(b"anything x25 25 5\r\n")


# The module, and its page.


async def test_the_examples_run() -> None:
    names = run_python(PAGE, "testing.md")
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 3
    for test in tests:
        await test()


async def test_the_documented_error_is_the_real_one() -> None:
    names = run_python(PAGE, "testing.md")
    with pytest.raises(ScriptError) as found:
        async with scripted_server(names["FULL_MAILBOX"]) as server, connect_smtp(server.endpoint) as smtp:
            await smtp.submit("scanner@example.com", ["bob@example.com"], b"\r\n")
    assert [f"{found.value}\n"] == list(blocks(PAGE, "text"))


def test_importing_mailslot_does_not_load_it() -> None:
    code = "import sys, mailslot\nprint('mailslot.testing' in sys.modules, flush=True)\nbefore = {*sys.modules}\n"
    code += "import mailslot.testing\nnew = {name.partition('.')[0] for name in {*sys.modules} - before}\n"
    code += "print(sorted(new - sys.stdlib_module_names - {'typing_extensions'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, brought = done.stdout.splitlines()
    assert loaded == "False"
    assert brought == "['anyio', 'idna', 'mailslot', 'sniffio']"


def test_all_exports_exist() -> None:
    assert all(getattr(mailslot.testing, name).__doc__ for name in mailslot.testing.__all__)
