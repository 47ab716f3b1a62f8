"""The demo: a scanned page is sent to a maildrop and fetched back, with three kinds of mail service.

Then devices that know only passwords send and fetch it through the gateway.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import asdict
from email import message_from_bytes, policy
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import anyio
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mailslot import MailError, OAuth, StaticToken, Transcript, connect_pop3, connect_smtp
from mailslot.cli.console import print_json
from mailslot.message import Attachment, Message
from mailslot_plugins.sandbox.demo_gateway import GATEWAY, run_gateway_journey
from mailslot_plugins.sandbox.demo_step import Stopwatch
from mailslot_plugins.sandbox.personality import DOVECOT, EXCHANGE, GMAIL
from mailslot_plugins.sandbox.sandbox import run_sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mailslot import AccessToken
    from mailslot_plugins.sandbox.demo_step import Step
    from mailslot_plugins.sandbox.sandbox import Sandbox

PERSONALITIES = (DOVECOT, GMAIL, EXCHANGE)
ADDRESS = "scanner@example.com"


def demo(
    *,
    once: Annotated[bool, typer.Option("--once", help="Run the demo and exit, without the panel.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document (with --once).")] = False,
    backend: Annotated[Literal["asyncio", "trio"], typer.Option(help="The asynchronous library to use.")] = "asyncio",
) -> None:
    """Try it: send a page, fetch it back, then open a device's panel.

    The mail servers are built in, and nothing is real. The panel runs until Ctrl-C.

    Examples:
        mailslot demo
        mailslot demo --once
    """
    if as_json and not once:
        raise typer.BadParameter("--json goes with --once", param_hint="--json")
    steps = anyio.run(_run_journeys, as_json, backend=backend)
    if as_json:
        print_json([asdict(step) for step in steps])
    if not all(step.ok for step in steps):
        sys.exit("The demo failed; see the rows marked with ✗.")
    if not once:
        from mailslot_plugins.sandbox.demo_panel import run_demo_panel  # noqa: PLC0415 - the panel takes a while to import

        try:
            anyio.run(run_demo_panel, scanned_page(), backend=backend)
        except KeyboardInterrupt:
            sys.stdout.write("\n")


async def _run_journeys(quiet: bool) -> list[Step]:  # noqa: FBT001 - anyio.run passes by position
    page = scanned_page()
    steps: list[Step] = []
    console = Console(quiet=quiet)
    console.print(f"A scanned page, {page.name} of {page.stat().st_size:,} octets, goes to {ADDRESS} and comes back.")
    for personality in PERSONALITIES:
        with console.status(f"{personality.name} …"):
            async with run_sandbox(personality=personality) as sandbox:
                journey_steps = [step async for step in _run_journey(sandbox, page)]
        console.print(_table(f"{personality.name}, as the sandbox plays it", journey_steps))
        steps += journey_steps
    console.print("A dead token is refused in three different ways; the cause in brackets is the same.")
    with console.status(f"{GATEWAY} …"):
        async with run_sandbox() as sandbox:
            journey_steps = [step async for step in run_gateway_journey(sandbox, page)]
    console.print(_table(f"{GATEWAY}, for devices that know only passwords", journey_steps))
    return steps + journey_steps


async def _run_journey(sandbox: Sandbox, page: Path) -> AsyncIterator[Step]:
    """Use one service: authenticate, send, fetch, compare, and use an expired token."""
    name = sandbox.personality.name
    context = sandbox.client_context()
    token = sandbox.provider.issue(ADDRESS, jwt=True, size=3000)
    auth = OAuth(ADDRESS, StaticToken(token.value))
    message = Message(
        sender=ADDRESS,
        to=[ADDRESS],
        subject="A scanned page",
        text="One page, scanned by the demo.\n",
        attachments=[Attachment.from_path(page)],
    )
    stopwatch = Stopwatch()
    transcript = Transcript()
    async with connect_smtp(sandbox.smtp, auth, ssl_context=context, transcript=transcript) as smtp:
        yield stopwatch.step(name, "sign in to SMTP", _describe_authentication(transcript, token), ok=True)
        receipt = await smtp.submit(ADDRESS, [ADDRESS], message)
        came = f"{message.size:,} octets taken: {receipt.reply}"
        yield stopwatch.step(name, "submit the page", came, ok=receipt.accepted == (ADDRESS,))
    transcript = Transcript()
    async with connect_pop3(sandbox.pop3s, auth, ssl_context=context, transcript=transcript) as pop:
        yield stopwatch.step(name, "sign in to POP3", _describe_authentication(transcript, token), ok=True)
        [entry] = await pop.listing()
        fetched = b"".join([piece async for piece in pop.retrieve(entry)])
        yield stopwatch.step(name, "fetch it back", f"{len(fetched):,} octets, unique-id {entry.uid}", ok=True)
        await pop.delete(entry)
    sent = b"".join([piece async for piece in message.chunks()])
    is_identical = fetched == sent and _attachment_of(fetched) == await anyio.Path(page).read_bytes()
    digest = hashlib.sha256(fetched).hexdigest()[:12]
    came = f"every octet is the same (SHA-256 {digest}…)" if is_identical else "the octets differ"
    yield stopwatch.step(name, "compare", came, ok=is_identical)
    sandbox.provider.expire(token)
    try:
        async with connect_smtp(sandbox.smtp, auth, ssl_context=context):
            yield stopwatch.step(name, "use the dead token", "it was accepted", ok=False)
    except MailError as error:
        yield stopwatch.step(name, "use the dead token", f"{error} [{error.cause}]", ok=error.cause == "token_refused")


def _describe_authentication(transcript: Transcript, token: AccessToken) -> str:
    mechanism = next(line.split()[2] for line in transcript.lines if line.startswith("C: AUTH "))
    return f"by {mechanism} over TLS, with a token of {len(token.value):,} characters"


def _attachment_of(octets: bytes) -> bytes:
    [part] = message_from_bytes(octets, policy=policy.default).iter_attachments()
    content: bytes = part.get_content()
    return content


def _table(title: str, steps: list[Step]) -> Table:
    table = Table(title=title, title_justify="left", expand=True)
    table.add_column("Step", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("What came of it", ratio=1, overflow="fold")
    table.add_column("ms", justify="right", no_wrap=True)
    for step in steps:
        mark = "[green]✓[/green]" if step.ok else "[red]✗[/red]"
        table.add_row(step.what, mark, escape(step.came), f"{step.seconds * 1000:.0f}")
    return table


def scanned_page() -> Path:
    """Return the page: installed beside this module, or in ``fixtures`` in a checkout."""
    installed = Path(__file__).parent / "scan" / "page.pdf"
    return installed if installed.exists() else Path(__file__).parents[3] / "fixtures" / "scan" / "page.pdf"
