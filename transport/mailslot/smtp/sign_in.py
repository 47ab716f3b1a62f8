"""Signing in over SMTP (RFC 4954)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio.to_thread

from mailslot.errors import SignInError
from mailslot.sasl.credentials import OAuth
from mailslot.sasl.exchange import Step
from mailslot.sasl.refusal import refused
from mailslot.sasl.sign_in import SignInAgainError, choose
from mailslot.sasl.sign_in import sign_in as sign_in_over
from mailslot.smtp.limits import MAX_INITIAL_RESPONSE
from mailslot.smtp.refusals import cause_of
from mailslot.smtp.states import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.errors import Stage
    from mailslot.sasl.credentials import Credentials
    from mailslot.sasl.exchange import Verdict
    from mailslot.smtp.talk import SmtpTalk
    from mailslot.wire.secret import Secret


async def sign_in(dialogue: SmtpTalk[Any], credentials: Credentials, again: SignInAgainError | None = None) -> None:
    """Sign in; see `mailslot.sasl.sign_in.sign_in` for what may be raised.

    A mechanism that the server does not offer is not tried (RFC 4954 section 3).
    """
    endpoint = dialogue.channel.endpoint
    async with dialogue.turn("sign_in"):
        offered = dialogue.protocol.capabilities.mechanisms
        mechanism = choose(credentials, offered)
        if mechanism is None:
            raise _not_offered(credentials, offered, endpoint.host)
        await sign_in_over(
            credentials,
            mechanism,
            SmtpCarrier(dialogue),
            host=endpoint.host,
            port=endpoint.port,
            again=again,
        )


class SmtpCarrier:
    """Carries a sign-in over SMTP (RFC 4954)."""

    def __init__(self, dialogue: SmtpTalk[Any]) -> None:
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

    def fits(self, mechanism: str, initial: bytes) -> bool:
        """Whether the AUTH line stays within a command's limit."""
        return len(f"AUTH {mechanism} \r\n") + 4 * ((len(initial) + 2) // 3) <= MAX_INITIAL_RESPONSE

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
        reply = await self._dialogue.ask(octets, noted)
        return Step(reply, reply.text if self._dialogue.protocol.state is State.SIGN_IN else None)


def _not_offered(credentials: Credentials, offered: frozenset[str], host: str) -> SignInError:
    way = "OAuth 2.0" if isinstance(credentials, OAuth) else "a password"
    return SignInError(
        f"The mail server {host} does not offer to sign in with {way}.",
        cause="sign_in_method_not_offered",
        reply=None,
        detail=f"offered: {' '.join(sorted(offered)) or 'nothing'}",
    )
