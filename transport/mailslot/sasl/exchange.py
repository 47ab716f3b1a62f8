"""The SASL exchange over any protocol (RFC 4422 section 3)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mailslot.errors import ServerError
from mailslot.sasl.mechanism import MechanismError
from mailslot.sasl.result import AuthenticationResult
from mailslot.wire.reply import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.sasl.mechanism import Mechanism
    from mailslot.sasl.transport import ExchangeStep, SaslTransport
    from mailslot.wire.reply import Reply

_SYNTAX_ERROR: Final = 501
_UNRECOGNIZED_MECHANISM: Final = 504
"""SMTP's replies to an AUTH command that it cannot parse; POP3 and IMAP have no such codes."""


async def run_exchange(mechanism: Mechanism, transport: SaslTransport) -> AuthenticationResult:
    """Run a mechanism up to the server's final reply (RFC 4422 section 3).

    The initial response is sent with the command if it fits. A mechanism that defers its initial response sends it with
    the command only if the server refuses the command without one, and then once.
    """
    transport.mask_secrets(mechanism.secrets)
    initial = mechanism.start()
    fits = initial is not None and transport.fits_on_command_line(mechanism.name, initial)
    at_once = fits and not mechanism.defers_initial_response
    mechanism.credentials_sent = at_once
    step = await transport.auth(mechanism.name, initial if at_once else None)
    if fits and not at_once and _requires_initial_response(step) and transport.dialogue.alive:
        at_once = mechanism.credentials_sent = True
        step = await transport.auth(mechanism.name, initial)
        if step.challenge is None and step.reply.code == _UNRECOGNIZED_MECHANISM:
            # The same reply as before, so the reason was not the missing initial response.
            return AuthenticationResult(accepted=False, reply=step.reply, error_challenge=None, credentials_sent=False)
    mechanism.credentials_sent = at_once or step.challenge is not None
    if mechanism.credentials_sent and initial is not None and not at_once:
        # The prompt for an initial response should be empty; ignore the text that some servers send.
        step = await transport.respond(initial)
    # Each mechanism limits the number of challenges itself.
    while step.challenge is not None:
        try:
            response = await _respond_to(mechanism, step.challenge, transport)
        except MechanismError as error:
            await _abort(transport)
            raise ServerError(
                "The mail server's part of the sign-in makes no sense.",
                stage="sign_in",
                cause="protocol_error",
                detail=str(error),
            ) from error
        try:
            step = await transport.respond(response)
        except (OSError, EOFError):
            if not mechanism.error_challenge:
                raise
            # The server has said why it refuses the token, and has closed the connection without a final reply.
            await transport.dialogue.abort()
            refusal = _refusal_of(mechanism.error_challenge, step.reply, transport)
            return AuthenticationResult(accepted=False, reply=refusal, error_challenge=mechanism.error_challenge)
    if step.reply.positive and not (mechanism.credentials_sent and mechanism.is_complete):
        raise ServerError(
            "The mail server accepted the sign-in before it was complete.",
            stage="sign_in",
            cause="protocol_error",
            reply=step.reply,
        )
    return AuthenticationResult(step.reply.positive, step.reply, mechanism.error_challenge, mechanism.credentials_sent)


def _requires_initial_response(step: ExchangeStep) -> bool:
    """Tell whether a server may have refused AUTH because it had no initial response (RFC 4954 section 4)."""
    return step.challenge is None and step.reply.code in {_SYNTAX_ERROR, _UNRECOGNIZED_MECHANISM}


def decode_challenge(text: str) -> bytes | None:
    """Return the octets of a challenge; None if it is not base64 (RFC 4954 section 4, RFC 5034 section 4)."""
    try:
        return base64.b64decode(text.strip(" "), validate=True)
    except (binascii.Error, ValueError):
        return None


async def _respond_to(mechanism: Mechanism, challenge: str, transport: SaslTransport) -> bytes:
    octets = decode_challenge(challenge)
    if octets is None:
        if not mechanism.accepts_any_prompt:
            raise MechanismError("a challenge that is not base64")
        octets = b""
    if mechanism.is_slow:
        response = await transport.dialogue.run_in_thread(mechanism.next, octets)
    else:
        response = mechanism.next(octets)
    transport.mask_secrets(mechanism.secrets)
    return response


def _refusal_of(error_challenge: Mapping[str, str], challenge: Reply, transport: SaslTransport) -> Reply:
    """Return the reply with an error challenge as a refusal, in words instead of base64."""
    status = printable(error_challenge.get("status", "not given"))
    return replace(challenge, text=f"status {transport.dialogue.redactor.mask(status)}", positive=False)


async def _abort(transport: SaslTransport) -> None:
    try:
        await transport.cancel()
    except TimeoutError:
        raise
    except (OSError, EOFError):
        # Some servers close the connection at once; the exchange is over either way.
        return
