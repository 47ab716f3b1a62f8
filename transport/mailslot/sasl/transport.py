"""How a protocol carries a sign-in: one transport, which SMTP, POP3 and others fill in with their own commands."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mailslot.sasl.refusal import authentication_error
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from mailslot.causes.refusal import Protocol as MailProtocol
    from mailslot.errors import SignInError, Stage
    from mailslot.sasl.credentials import Credentials
    from mailslot.sasl.result import AuthenticationResult
    from mailslot.wire.redact import Redactor
    from mailslot.wire.reply import Reply


@dataclass(frozen=True, slots=True)
class Step:
    """What the server said in a sign-in: a challenge in base64, or its last word where that is None."""

    reply: Reply
    challenge: str | None


class SaslDialogue(Protocol):
    """What a transport needs of the dialogue: `mailslot.net.dialogue.Dialogue` has it."""

    @property
    def alive(self) -> bool:
        """Whether commands can still be sent."""
        ...

    @property
    def redactor(self) -> Redactor:
        """What masks secrets in the server's words."""
        ...

    def enter(self, stage: Stage) -> None:
        """Note which step begins: ``token`` or ``sign_in``."""
        ...

    async def run_in_thread(self, work: Callable[[bytes], bytes], octets: bytes) -> bytes:
        """Do work that takes long without holding up anything else."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SaslTransport:
    """Carries a sign-in over a protocol. Its commands raise `OSError` or `EOFError` where the connection breaks.

    Attributes:
        dialogue: the session.
        host: the server's name as the caller gave it (RFC 7628 section 3.1).
        port: its port.
        send_auth: sends the command that begins, with the mechanism's name and an initial response; None sends none,
            ``b""`` an empty one. The last argument is what the transcript says.
        send_response: answers a challenge; the last argument is what the transcript says.
        send_cancel: gives the sign-in up.
        max_command: octets that the command ``AUTH`` may have with its end of line; 0 where the protocol takes no
            initial response on it.
        protocol: which one that is; what a refusal means goes by it.
        describe: writes a reply for an engineer.
        has_response_codes: whether the protocol has response codes in brackets, which are given in capitals, whatever
            the server put there.
    """

    dialogue: SaslDialogue
    host: str
    port: int
    send_auth: Callable[[str, bytes | None, str], Awaitable[Step]]
    send_response: Callable[[bytes, str], Awaitable[Step]]
    send_cancel: Callable[[], Awaitable[Step]]
    max_command: int
    protocol: MailProtocol
    describe: Callable[[Reply], str] = str
    has_response_codes: bool = False

    def mask(self, secrets: Iterable[Secret]) -> None:
        """Learn what must be masked in all that the server says."""
        for secret in secrets:
            self.dialogue.redactor.add(secret)
            if self.has_response_codes:
                self.dialogue.redactor.add(Secret(secret.reveal().upper()))

    def fits(self, mechanism: str, initial: bytes) -> bool:
        """Tell whether an initial response can go on the line of the command."""
        return len(f"AUTH {mechanism} \r\n") + 4 * ((len(initial) + 2) // 3) <= self.max_command

    async def auth(self, mechanism: str, initial: bytes | None) -> Step:
        """Begin; None sends no initial response, ``b""`` an empty one."""
        return await self.send_auth(mechanism, initial, f"AUTH {mechanism}" + (" •••" if initial else ""))

    async def respond(self, response: bytes) -> Step:
        """Answer a challenge."""
        public = response in {b"", b"\x01"}
        return await self.send_response(response, base64.b64encode(response).decode() if public else "•••")

    async def cancel(self) -> Step:
        """Give up."""
        return await self.send_cancel()

    def refusal(self, credentials: Credentials, result: AuthenticationResult) -> SignInError:
        """Return the error for a refused sign-in."""
        detail = self.describe(result.reply)
        return authentication_error(
            credentials, result, self.host, self.dialogue.redactor, self.protocol, detail=detail
        )
