"""Signing in over IMAP: AUTHENTICATE (RFC 9051 section 6.2.2), and LOGIN where a server knows no mechanism."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from mailslot.sasl.authentication import ReconnectRequiredError, choose_mechanism
from mailslot.sasl.authentication import authenticate as sign_in_over
from mailslot.sasl.credentials import OAuth
from mailslot.sasl.refusal import not_offered
from mailslot.sasl.result import AuthenticationResult
from mailslot.sasl.transport import SaslTransport, Step
from mailslot.wire.reply import Reply

if TYPE_CHECKING:
    from mailslot.sasl.credentials import Credentials, Password
    from mailslot_imap.commands import PendingCommand
    from mailslot_imap.dialogue import ImapDialogue


async def authenticate(
    dialogue: ImapDialogue, credentials: Credentials, again: ReconnectRequiredError | None = None
) -> None:
    """Sign in; see `mailslot.sasl.authentication.authenticate` for what may be raised."""
    async with dialogue.exclusive_use("sign_in"):
        commands = _SignInCommands(dialogue)
        offered = [name[5:] for name in sorted(dialogue.capabilities) if name.startswith("AUTH=")]
        mechanism = choose_mechanism(credentials, offered)
        if mechanism is not None:
            await sign_in_over(credentials, mechanism, commands.transport, again=again)
        elif isinstance(credentials, OAuth) or "LOGINDISABLED" in dialogue.capabilities:
            raise not_offered(credentials, offered, dialogue.channel.endpoint.host)
        else:
            await _by_login(dialogue, commands.transport, credentials)
        dialogue.client.signed_in()


async def _by_login(dialogue: ImapDialogue, transport: SaslTransport, credentials: Password) -> None:
    """Sign in by LOGIN, with literals: they take every character, and keep the password out of the command."""
    transport.mask([credentials.password])
    user, password = credentials.user.encode(), credentials.password.reveal().encode()
    command = dialogue.command("LOGIN", f"{{{len(user)}}}")
    await dialogue.begin(command)
    if await dialogue.prompted(command) is not None:
        await dialogue.respond(user + b" {%d}" % len(password), f"{credentials.user} {{…}}")
        if await dialogue.prompted(command) is not None:
            await dialogue.respond(password)
    reply = await dialogue.answer(command)
    if not reply.positive:
        raise transport.refusal(credentials, AuthenticationResult(accepted=False, reply=reply, reasons=None))


class _SignInCommands:
    """What is sent in a sign-in.

    An initial response never goes on the line of the command, since the command is kept as text.
    """

    def __init__(self, dialogue: ImapDialogue) -> None:
        self._dialogue = dialogue
        self._command: PendingCommand | None = None

    @property
    def transport(self) -> SaslTransport:
        """These commands as the transport of a sign-in."""
        dialogue, endpoint = self._dialogue, self._dialogue.channel.endpoint
        return SaslTransport(
            dialogue=dialogue,
            host=endpoint.host,
            port=endpoint.port,
            send_auth=self._authenticate,
            send_response=lambda response, noted: self._say(base64.b64encode(response), noted),
            send_cancel=lambda: self._say(b"*", "*"),
            max_command=0,
            protocol="IMAP",
            describe=lambda reply: dialogue.refusal(reply).detail,
            has_response_codes=True,
        )

    async def _authenticate(self, mechanism: str, _initial: bytes | None, _noted: str) -> Step:
        self._command = self._dialogue.command("AUTHENTICATE", mechanism)
        await self._dialogue.begin(self._command)
        return await self._step(self._command)

    async def _say(self, octets: bytes, noted: str) -> Step:
        assert self._command is not None  # noqa: S101 - `_authenticate` comes first
        await self._dialogue.respond(octets, noted)
        return await self._step(self._command)

    async def _step(self, command: PendingCommand) -> Step:
        prompt = await self._dialogue.prompted(command)
        if prompt is None:
            return Step(await self._dialogue.answer(command), None)
        text = prompt.decode("utf-8", "replace")
        return Step(Reply(None, None, text, positive=True), text)
