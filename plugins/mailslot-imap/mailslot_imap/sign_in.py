"""Signing in over IMAP: AUTHENTICATE (RFC 9051 section 6.2.2), and LOGIN where a server knows no mechanism."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import anyio.to_thread

from mailslot.errors import SignInError
from mailslot.sasl.credentials import OAuth
from mailslot.sasl.exchange import Step, Verdict
from mailslot.sasl.refusal import refused
from mailslot.sasl.sign_in import SignInAgainError, choose
from mailslot.sasl.sign_in import sign_in as sign_in_over
from mailslot.wire.reply import Reply
from mailslot.wire.secret import Secret
from mailslot_imap.refusals import cause_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.errors import Stage
    from mailslot.sasl.credentials import Credentials, Password
    from mailslot_imap.commands import PendingCommand
    from mailslot_imap.dialogue import ImapDialogue


async def sign_in(dialogue: ImapDialogue, credentials: Credentials, again: SignInAgainError | None = None) -> None:
    """Sign in; see `mailslot.sasl.sign_in.sign_in` for what may be raised."""
    endpoint = dialogue.channel.endpoint
    async with dialogue.turn("sign_in"):
        carrier = ImapCarrier(dialogue)
        offered = [name[5:] for name in sorted(dialogue.capabilities) if name.startswith("AUTH=")]
        mechanism = choose(credentials, offered)
        if mechanism is not None:
            await sign_in_over(credentials, mechanism, carrier, host=endpoint.host, port=endpoint.port, again=again)
        elif isinstance(credentials, OAuth) or "LOGINDISABLED" in dialogue.capabilities:
            raise SignInError(
                f"The mail server {endpoint.host} does not offer a way to sign in with "
                f"{'an access token' if isinstance(credentials, OAuth) else 'a password'}.",
                cause="sign_in_method_not_offered",
                reply=None,
                detail=f"AUTH={' '.join(offered) or '(nothing)'}",
            )
        else:
            await _by_login(dialogue, carrier, credentials)
        dialogue.client.signed_in()


async def _by_login(dialogue: ImapDialogue, carrier: ImapCarrier, credentials: Password) -> None:
    """Sign in by LOGIN, with literals: they take every character, and keep the password out of the command."""
    carrier.keep_secret(credentials.password)
    user, password = credentials.user.encode(), credentials.password.reveal().encode()
    command = dialogue.command("LOGIN", f"{{{len(user)}}}")
    await dialogue.begin(command)
    if await dialogue.prompted(command) is not None:
        await dialogue.respond(user + b" {%d}" % len(password), f"{credentials.user} {{…}}")
        if await dialogue.prompted(command) is not None:
            await dialogue.respond(password)
    reply = await dialogue.answer(command)
    if not reply.positive:
        raise carrier.refusal(credentials, Verdict(accepted=False, reply=reply, reasons=None))


class ImapCarrier:
    """Carries a sign-in over IMAP."""

    def __init__(self, dialogue: ImapDialogue) -> None:
        self._dialogue = dialogue
        self._command: PendingCommand | None = None

    @property
    def alive(self) -> bool:
        """Whether another AUTHENTICATE can follow."""
        return self._dialogue.alive

    def enter(self, stage: Stage) -> None:
        """Note which step begins."""
        self._dialogue.stage = stage

    def keep_secret(self, secret: Secret) -> None:
        """Learn what must be masked."""
        self._dialogue.redactor.add(secret)
        # A response code is given in capitals, whatever the server made of it.
        self._dialogue.redactor.add(Secret(secret.reveal().upper()))

    def fits(self, mechanism: str, initial: bytes) -> bool:  # noqa: ARG002 - it never does
        """Whether an initial response can go on the line of the command: never, since the command is kept as text."""
        return False

    async def auth(self, mechanism: str, initial: bytes | None) -> Step:  # noqa: ARG002 - see `fits`
        """Send AUTHENTICATE."""
        self._command = self._dialogue.command("AUTHENTICATE", mechanism)
        await self._dialogue.begin(self._command)
        return await self._step(self._command)

    async def respond(self, response: bytes) -> Step:
        """Send a response."""
        coded = base64.b64encode(response)
        return await self._say(coded, coded.decode() if response in {b"", b"\x01"} else "•••")

    async def cancel(self) -> Step:
        """Send ``*``."""
        return await self._say(b"*", "*")

    async def compute(self, work: Callable[[bytes], bytes], challenge: bytes) -> bytes:
        """Do work in a thread."""
        return await anyio.to_thread.run_sync(work, challenge)

    def refusal(self, credentials: Credentials, verdict: Verdict) -> SignInError:
        """Return the error for a refused sign-in."""
        dialogue, detail = self._dialogue, self._dialogue.refusal(verdict.reply).detail
        return refused(credentials, verdict, dialogue.channel.endpoint.host, dialogue.redactor, cause_of, detail=detail)

    async def _say(self, octets: bytes, noted: str) -> Step:
        assert self._command is not None  # noqa: S101 - `auth` comes first
        await self._dialogue.respond(octets, noted)
        return await self._step(self._command)

    async def _step(self, command: PendingCommand) -> Step:
        prompt = await self._dialogue.prompted(command)
        if prompt is None:
            return Step(await self._dialogue.answer(command), None)
        text = prompt.decode("utf-8", "replace")
        return Step(Reply(None, None, text, positive=True), text)
