"""IMAP authentication: AUTHENTICATE (RFC 9051 section 6.2.2), or LOGIN if the server has no common mechanism."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from mailslot.sasl.authentication import ReconnectRequiredError, choose_mechanism
from mailslot.sasl.authentication import authenticate as authenticate_over
from mailslot.sasl.credentials import OAuth
from mailslot.sasl.refusal import no_mechanism_error
from mailslot.sasl.result import AuthenticationResult
from mailslot.sasl.transport import ExchangeStep, SaslTransport
from mailslot.wire.reply import Reply

if TYPE_CHECKING:
    from mailslot.sasl.credentials import Credentials, Password
    from mailslot_imap.commands import PendingCommand
    from mailslot_imap.dialogue import ImapDialogue


async def authenticate(
    dialogue: ImapDialogue, credentials: Credentials, retry: ReconnectRequiredError | None = None
) -> None:
    """Authenticate; raises as `mailslot.sasl.authentication.authenticate` does."""
    async with dialogue.exclusive_use("sign_in"):
        exchange = _AuthenticateExchange(dialogue)
        offered = [name[5:] for name in sorted(dialogue.capabilities) if name.startswith("AUTH=")]
        mechanism = choose_mechanism(credentials, offered)
        if mechanism is not None:
            await authenticate_over(credentials, mechanism, exchange.transport, retry=retry)
        elif isinstance(credentials, OAuth) or "LOGINDISABLED" in dialogue.capabilities:
            raise no_mechanism_error(credentials, offered, dialogue.channel.endpoint.host)
        else:
            await _authenticate_by_login(dialogue, exchange.transport, credentials)
        dialogue.client.mark_authenticated()


async def _authenticate_by_login(dialogue: ImapDialogue, transport: SaslTransport, credentials: Password) -> None:
    """Authenticate by LOGIN, with literals, which allow any character and keep the password out of the command."""
    transport.mask_secrets([credentials.password])
    user, password = credentials.user.encode(), credentials.password.reveal().encode()
    command = dialogue.new_command("LOGIN", f"{{{len(user)}}}")
    await dialogue.send_command(command)
    if await dialogue.await_prompt(command) is not None:
        await dialogue.respond(user + b" {%d}" % len(password), f"{credentials.user} {{…}}")
        if await dialogue.await_prompt(command) is not None:
            await dialogue.respond(password)
    reply = await dialogue.read_tagged_response(command)
    if not reply.positive:
        raise transport.refusal(credentials, AuthenticationResult(accepted=False, reply=reply, error_challenge=None))


class _AuthenticateExchange:
    """The AUTHENTICATE exchange.

    The initial response is never sent with the command, since aioimaplib keeps commands as text.
    """

    def __init__(self, dialogue: ImapDialogue) -> None:
        self._dialogue = dialogue
        self._command: PendingCommand | None = None

    @property
    def transport(self) -> SaslTransport:
        """The SASL transport over this exchange."""
        dialogue, endpoint = self._dialogue, self._dialogue.channel.endpoint
        return SaslTransport(
            dialogue=dialogue,
            host=endpoint.host,
            port=endpoint.port,
            send_auth=self._authenticate,
            send_response=lambda response, transcribed_as: self._respond(base64.b64encode(response), transcribed_as),
            send_cancel=lambda: self._respond(b"*", "*"),
            max_command=0,
            protocol="IMAP",
            describe=lambda reply: dialogue.refusal(reply).detail,
            has_response_codes=True,
        )

    async def _authenticate(self, mechanism: str, _initial: bytes | None, _transcribed_as: str) -> ExchangeStep:
        self._command = self._dialogue.new_command("AUTHENTICATE", mechanism)
        await self._dialogue.send_command(self._command)
        return await self._step(self._command)

    async def _respond(self, octets: bytes, transcribed_as: str) -> ExchangeStep:
        assert self._command is not None  # noqa: S101 - `_authenticate` comes first
        await self._dialogue.respond(octets, transcribed_as)
        return await self._step(self._command)

    async def _step(self, command: PendingCommand) -> ExchangeStep:
        prompt = await self._dialogue.await_prompt(command)
        if prompt is None:
            return ExchangeStep(await self._dialogue.read_tagged_response(command), None)
        text = prompt.decode("utf-8", "replace")
        return ExchangeStep(Reply(None, None, text, positive=True), text)
