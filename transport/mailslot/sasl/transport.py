"""The transport of a SASL exchange, which SMTP, POP3 and IMAP provide with their own commands."""

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
class ExchangeStep:
    """One reply during the exchange: a challenge in base64, or the final reply if `challenge` is None."""

    reply: Reply
    challenge: str | None


class SaslDialogue(Protocol):
    """What a transport needs of its dialogue, as in `mailslot.net.dialogue.Dialogue`."""

    @property
    def alive(self) -> bool:
        """Whether commands can still be sent."""
        ...

    @property
    def redactor(self) -> Redactor:
        """Masks secrets in replies."""
        ...

    def enter_stage(self, stage: Stage) -> None:
        """Set the current step, ``token`` or ``sign_in``."""
        ...

    async def abort(self) -> None:
        """Close the connection at once."""
        ...

    async def run_in_thread(self, function: Callable[[bytes], bytes], octets: bytes) -> bytes:
        """Call a slow function in a worker thread."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SaslTransport:
    """Carries a SASL exchange over a protocol. Its commands raise `OSError` or `EOFError` if the connection breaks.

    Attributes:
        dialogue: the dialogue.
        host: the server's name, as the caller gave it (RFC 7628 section 3.1).
        port: the server's port.
        send_auth: sends the command with the mechanism's name and an initial response (None for none, ``b""`` for an
            empty one). The last argument is the text for the transcript.
        send_response: sends the response to a challenge. The last argument is the text for the transcript.
        send_cancel: cancels the exchange.
        max_command: the maximum octets of the AUTH command with CRLF; 0 if the protocol takes no initial response.
        protocol: the name of the protocol, by which the cause of a refusal is found.
        describe: formats a reply for engineers.
        has_response_codes: whether replies have response codes in brackets; they are shown in capitals, so secrets
            are also masked in capitals.
    """

    dialogue: SaslDialogue
    host: str
    port: int
    send_auth: Callable[[str, bytes | None, str], Awaitable[ExchangeStep]]
    send_response: Callable[[bytes, str], Awaitable[ExchangeStep]]
    send_cancel: Callable[[], Awaitable[ExchangeStep]]
    max_command: int
    protocol: MailProtocol
    describe: Callable[[Reply], str] = str
    has_response_codes: bool = False

    def mask_secrets(self, secrets: Iterable[Secret]) -> None:
        """Mask these secrets in all further replies."""
        for secret in secrets:
            self.dialogue.redactor.add(secret)
            if self.has_response_codes:
                self.dialogue.redactor.add(Secret(secret.reveal().upper()))

    def fits_on_command_line(self, mechanism: str, initial: bytes) -> bool:
        """Tell whether an initial response fits into the AUTH command line."""
        return len(f"AUTH {mechanism} \r\n") + 4 * ((len(initial) + 2) // 3) <= self.max_command

    async def auth(self, mechanism: str, initial: bytes | None) -> ExchangeStep:
        """Send AUTH with an initial response; None for none, ``b""`` for an empty one."""
        return await self.send_auth(mechanism, initial, f"AUTH {mechanism}" + (" •••" if initial else ""))

    async def respond(self, response: bytes) -> ExchangeStep:
        """Send the response to a challenge."""
        public = response in {b"", b"\x01"}
        return await self.send_response(response, base64.b64encode(response).decode() if public else "•••")

    async def cancel(self) -> ExchangeStep:
        """Cancel the exchange."""
        return await self.send_cancel()

    def refusal(self, credentials: Credentials, result: AuthenticationResult) -> SignInError:
        """Return the error for a refused authentication."""
        detail = self.describe(result.reply)
        return authentication_error(
            credentials, result, self.host, self.dialogue.redactor, self.protocol, detail=detail
        )
