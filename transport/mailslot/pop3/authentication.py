"""POP3 authentication: AUTH (RFC 5034), or USER and PASS (RFC 1939 section 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from mailslot.pop3.limits import MAX_COMMAND
from mailslot.pop3.protocol import ChallengeReceived, StatusReceived
from mailslot.sasl.authentication import ReconnectRequiredError, choose_mechanism
from mailslot.sasl.authentication import authenticate as authenticate_over
from mailslot.sasl.credentials import OAuth
from mailslot.sasl.result import AuthenticationResult
from mailslot.sasl.transport import ExchangeStep, SaslTransport
from mailslot.wire.reply import Reply

if TYPE_CHECKING:
    from mailslot.pop3.dialogue import Pop3Dialogue
    from mailslot.sasl.credentials import Credentials, Password


async def authenticate(
    dialogue: Pop3Dialogue, credentials: Credentials, retry: ReconnectRequiredError | None = None
) -> None:
    """Authenticate; raises as `mailslot.sasl.authentication.authenticate` does.

    A bearer mechanism is tried even if the server does not offer it: some servers omit it from CAPA, or refuse CAPA.
    It is XOAUTH2 then, the only one that those servers know.
    """
    async with dialogue.exclusive_use("sign_in"):
        transport = _transport(dialogue)
        mechanism = choose_mechanism(credentials, dialogue.protocol.capabilities.mechanisms)
        if not isinstance(credentials, OAuth) and mechanism is None:
            await _authenticate_by_user_pass(dialogue, transport, credentials)
            return
        await authenticate_over(credentials, mechanism or credentials.mechanism or "XOAUTH2", transport, retry=retry)


async def _authenticate_by_user_pass(dialogue: Pop3Dialogue, transport: SaslTransport, credentials: Password) -> None:
    transport.mask_secrets([credentials.password])
    reply = await dialogue.execute(dialogue.protocol.user(credentials.user))
    if reply.positive:
        reply = await dialogue.execute(dialogue.protocol.password(credentials.password.reveal()), "PASS •••")
    if not reply.positive:
        raise transport.refusal(credentials, AuthenticationResult(accepted=False, reply=reply, error_challenge=None))


def _transport(dialogue: Pop3Dialogue) -> SaslTransport:
    protocol, endpoint = dialogue.protocol, dialogue.channel.endpoint

    async def send(octets: bytes, transcribed_as: str) -> ExchangeStep:
        with anyio.fail_after(dialogue.timeout):
            await dialogue.send_commands(octets, transcribed_as)
            event = await dialogue.next_event()
        if isinstance(event, ChallengeReceived):
            return ExchangeStep(Reply(None, None, event.text, positive=True), event.text)
        assert isinstance(event, StatusReceived)  # noqa: S101 - no listing or message is open here
        return ExchangeStep(event.reply, None)

    return SaslTransport(
        dialogue=dialogue,
        host=endpoint.host,
        port=endpoint.port,
        send_auth=lambda mechanism, initial, text: send(protocol.auth(mechanism, initial), text),
        send_response=lambda response, text: send(protocol.respond_to_challenge(response), text),
        send_cancel=lambda: send(protocol.cancel_auth(), "*"),
        max_command=MAX_COMMAND,
        protocol="POP3",
        has_response_codes=True,
    )
