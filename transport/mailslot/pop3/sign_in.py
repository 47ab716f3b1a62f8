"""Signing in over POP3: AUTH (RFC 5034), and USER and PASS (RFC 1939 section 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.to_thread

from mailslot.pop3.limits import MAX_COMMAND
from mailslot.pop3.protocol import Answer, Challenge
from mailslot.pop3.refusals import cause_of
from mailslot.sasl.credentials import OAuth
from mailslot.sasl.exchange import Step, Verdict
from mailslot.sasl.refusal import refused
from mailslot.sasl.sign_in import SignInAgainError, choose
from mailslot.sasl.sign_in import sign_in as sign_in_over
from mailslot.wire.reply import Reply
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.errors import SignInError, Stage
    from mailslot.pop3.dialogue import Pop3Dialogue
    from mailslot.sasl.credentials import Credentials, Password


async def sign_in(dialogue: Pop3Dialogue, credentials: Credentials, again: SignInAgainError | None = None) -> None:
    """Sign in; see `mailslot.sasl.sign_in.sign_in` for what may be raised.

    A bearer mechanism is tried even where the server does not offer it: some leave it out of CAPA, or refuse
    CAPA. XOAUTH2 is taken then, since those servers know no other.
    """
    endpoint = dialogue.channel.endpoint
    async with dialogue.turn("sign_in"):
        carrier = Pop3Carrier(dialogue)
        mechanism = choose(credentials, dialogue.protocol.capabilities.mechanisms)
        if not isinstance(credentials, OAuth) and mechanism is None:
            await _by_user_and_pass(dialogue, carrier, credentials)
            return
        if mechanism is None:
            mechanism = (credentials.mechanism if isinstance(credentials, OAuth) else None) or "XOAUTH2"
        await sign_in_over(credentials, mechanism, carrier, host=endpoint.host, port=endpoint.port, again=again)


async def _by_user_and_pass(dialogue: Pop3Dialogue, carrier: Pop3Carrier, credentials: Password) -> None:
    carrier.keep_secret(credentials.password)
    reply = await dialogue.ask(dialogue.protocol.user(credentials.user))
    if reply.positive:
        reply = await dialogue.ask(dialogue.protocol.password(credentials.password.reveal()), "PASS •••")
    if not reply.positive:
        raise carrier.refusal(credentials, Verdict(accepted=False, reply=reply, reasons=None))


class Pop3Carrier:
    """Carries a sign-in over POP3."""

    def __init__(self, dialogue: Pop3Dialogue) -> None:
        self._dialogue = dialogue

    @property
    def alive(self) -> bool:
        """Whether another AUTH can follow."""
        return self._dialogue.alive

    def enter(self, stage: Stage) -> None:
        """Note which step begins."""
        self._dialogue.stage = stage

    def keep_secret(self, secret: Secret) -> None:
        """Learn what must be masked."""
        self._dialogue.redactor.add(secret)
        # A response code is given in capitals, whatever the server made of it.
        self._dialogue.redactor.add(Secret(secret.reveal().upper()))

    def fits(self, mechanism: str, initial: bytes) -> bool:
        """Whether the AUTH line stays within a command's limit (RFC 5034 section 4)."""
        return len(f"AUTH {mechanism} \r\n") + 4 * ((len(initial) + 2) // 3) <= MAX_COMMAND

    async def auth(self, mechanism: str, initial: bytes | None) -> Step:
        """Send AUTH."""
        noted = f"AUTH {mechanism}" + (" •••" if initial else "")
        return await self._step(self._dialogue.protocol.auth(mechanism, initial), noted)

    async def respond(self, response: bytes) -> Step:
        """Send a response."""
        octets = self._dialogue.protocol.respond(response)
        public = response in {b"", b"\x01"}
        return await self._step(octets, octets.decode().rstrip() if public else "•••")

    async def cancel(self) -> Step:
        """Send ``*``."""
        return await self._step(self._dialogue.protocol.cancel(), "*")

    async def compute(self, work: Callable[[bytes], bytes], challenge: bytes) -> bytes:
        """Do work in a thread."""
        return await anyio.to_thread.run_sync(work, challenge)

    def refusal(self, credentials: Credentials, verdict: Verdict) -> SignInError:
        """Return the error for a refused sign-in."""
        dialogue = self._dialogue
        return refused(credentials, verdict, dialogue.channel.endpoint.host, dialogue.redactor, cause_of)

    async def _step(self, octets: bytes, noted: str) -> Step:
        dialogue = self._dialogue
        with anyio.fail_after(dialogue.timeout):
            await dialogue.say(octets, noted)
            event = await dialogue.event()
        if isinstance(event, Challenge):
            return Step(Reply(None, None, event.text, positive=True), event.text)
        assert isinstance(event, Answer)  # noqa: S101 - no listing or message is open here
        return Step(event.reply, None)
