"""Signing in over SMTP (RFC 4954)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailslot.sasl.authentication import ReconnectRequiredError, choose_mechanism
from mailslot.sasl.authentication import authenticate as sign_in_over
from mailslot.sasl.refusal import not_offered
from mailslot.sasl.transport import SaslTransport, Step
from mailslot.smtp.limits import MAX_INITIAL_RESPONSE
from mailslot.smtp.states import State

if TYPE_CHECKING:
    from mailslot.sasl.credentials import Credentials
    from mailslot.smtp.base_dialogue import BaseSmtpDialogue


async def authenticate(
    dialogue: BaseSmtpDialogue[Any], credentials: Credentials, again: ReconnectRequiredError | None = None
) -> None:
    """Sign in; see `mailslot.sasl.authentication.authenticate` for what may be raised.

    A mechanism that the server does not offer is not tried (RFC 4954 section 3).
    """
    async with dialogue.exclusive_use("sign_in"):
        offered = dialogue.protocol.capabilities.mechanisms
        mechanism = choose_mechanism(credentials, offered)
        if mechanism is None:
            raise not_offered(credentials, offered, dialogue.channel.endpoint.host)
        await sign_in_over(credentials, mechanism, _transport(dialogue), again=again)


def _transport(dialogue: BaseSmtpDialogue[Any]) -> SaslTransport:
    protocol, endpoint = dialogue.protocol, dialogue.channel.endpoint

    async def send(octets: bytes, noted: str) -> Step:
        reply = await dialogue.ask(octets, noted)
        return Step(reply, reply.text if protocol.state is State.AUTH else None)

    return SaslTransport(
        dialogue=dialogue,
        host=endpoint.host,
        port=endpoint.port,
        send_auth=lambda mechanism, initial, noted: send(protocol.auth(mechanism, initial), noted),
        send_response=lambda response, noted: send(protocol.respond(response), noted),
        send_cancel=lambda: send(protocol.cancel(), "*"),
        max_command=MAX_INITIAL_RESPONSE,
        protocol="SMTP",
    )
