"""SMTP authentication (RFC 4954)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailslot.sasl.authentication import ReconnectRequiredError, choose_mechanism
from mailslot.sasl.authentication import authenticate as authenticate_over
from mailslot.sasl.refusal import no_mechanism_error
from mailslot.sasl.transport import ExchangeStep, SaslTransport
from mailslot.smtp.limits import MAX_AUTH_COMMAND
from mailslot.smtp.states import State

if TYPE_CHECKING:
    from mailslot.sasl.credentials import Credentials
    from mailslot.smtp.base_dialogue import BaseSmtpDialogue


async def authenticate(
    dialogue: BaseSmtpDialogue[Any], credentials: Credentials, retry: ReconnectRequiredError | None = None
) -> None:
    """Authenticate; raises as `mailslot.sasl.authentication.authenticate` does.

    A mechanism that the server does not offer is not tried (RFC 4954 section 3).
    """
    async with dialogue.exclusive_use("sign_in"):
        dialogue.poll_unsolicited()
        offered = dialogue.protocol.capabilities.mechanisms
        mechanism = choose_mechanism(credentials, offered)
        if mechanism is None:
            raise no_mechanism_error(credentials, offered, dialogue.channel.endpoint.host)
        await authenticate_over(credentials, mechanism, _transport(dialogue), retry=retry)


def _transport(dialogue: BaseSmtpDialogue[Any]) -> SaslTransport:
    protocol, endpoint = dialogue.protocol, dialogue.channel.endpoint

    async def send(octets: bytes, transcribed_as: str) -> ExchangeStep:
        reply = await dialogue.execute(octets, transcribed_as)
        return ExchangeStep(reply, reply.text if protocol.state is State.AUTH else None)

    return SaslTransport(
        dialogue=dialogue,
        host=endpoint.host,
        port=endpoint.port,
        send_auth=lambda mechanism, initial, text: send(protocol.auth(mechanism, initial), text),
        send_response=lambda response, text: send(protocol.respond_to_challenge(response), text),
        send_cancel=lambda: send(protocol.cancel_auth(), "*"),
        max_command=MAX_AUTH_COMMAND,
        protocol="SMTP",
    )
