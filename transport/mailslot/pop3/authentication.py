"""Signing in over POP3: AUTH (RFC 5034), and USER and PASS (RFC 1939 section 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from mailslot.pop3.limits import MAX_COMMAND
from mailslot.pop3.protocol import ChallengeReceived, StatusReceived
from mailslot.sasl.authentication import ReconnectRequiredError, choose_mechanism
from mailslot.sasl.authentication import authenticate as sign_in_over
from mailslot.sasl.credentials import OAuth
from mailslot.sasl.result import AuthenticationResult
from mailslot.sasl.transport import SaslTransport, Step
from mailslot.wire.reply import Reply

if TYPE_CHECKING:
    from mailslot.pop3.dialogue import Pop3Dialogue
    from mailslot.sasl.credentials import Credentials, Password


async def authenticate(
    dialogue: Pop3Dialogue, credentials: Credentials, again: ReconnectRequiredError | None = None
) -> None:
    """Sign in; see `mailslot.sasl.authentication.authenticate` for what may be raised.

    A bearer mechanism is tried even where the server does not offer it: some leave it out of CAPA, or refuse
    CAPA. XOAUTH2 is taken then, since those servers know no other.
    """
    async with dialogue.exclusive_use("sign_in"):
        transport = _transport(dialogue)
        mechanism = choose_mechanism(credentials, dialogue.protocol.capabilities.mechanisms)
        if not isinstance(credentials, OAuth) and mechanism is None:
            await _by_user_and_pass(dialogue, transport, credentials)
            return
        await sign_in_over(credentials, mechanism or credentials.mechanism or "XOAUTH2", transport, again=again)


async def _by_user_and_pass(dialogue: Pop3Dialogue, transport: SaslTransport, credentials: Password) -> None:
    transport.mask([credentials.password])
    reply = await dialogue.ask(dialogue.protocol.user(credentials.user))
    if reply.positive:
        reply = await dialogue.ask(dialogue.protocol.password(credentials.password.reveal()), "PASS •••")
    if not reply.positive:
        raise transport.refusal(credentials, AuthenticationResult(accepted=False, reply=reply, reasons=None))


def _transport(dialogue: Pop3Dialogue) -> SaslTransport:
    protocol, endpoint = dialogue.protocol, dialogue.channel.endpoint

    async def send(octets: bytes, noted: str) -> Step:
        with anyio.fail_after(dialogue.timeout):
            await dialogue.say(octets, noted)
            event = await dialogue.event()
        if isinstance(event, ChallengeReceived):
            return Step(Reply(None, None, event.text, positive=True), event.text)
        assert isinstance(event, StatusReceived)  # noqa: S101 - no listing or message is open here
        return Step(event.reply, None)

    return SaslTransport(
        dialogue=dialogue,
        host=endpoint.host,
        port=endpoint.port,
        send_auth=lambda mechanism, initial, noted: send(protocol.auth(mechanism, initial), noted),
        send_response=lambda response, noted: send(protocol.respond(response), noted),
        send_cancel=lambda: send(protocol.cancel(), "*"),
        max_command=MAX_COMMAND,
        protocol="POP3",
        has_response_codes=True,
    )
