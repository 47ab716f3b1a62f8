"""One SASL exchange over any protocol, step by step (RFC 4422 section 3)."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

from mailslot.errors import ServerError
from mailslot.sasl.mechanism import MechanismError
from mailslot.sasl.result import AuthenticationResult

if TYPE_CHECKING:
    from mailslot.sasl.mechanism import Mechanism
    from mailslot.sasl.transport import SaslTransport, Step

_MALFORMED: Final = 501
_NO_MECHANISM: Final = 504
"""SMTP's replies to a command that it takes for wrong; those of POP3 and IMAP have no codes, and may mean anything."""


async def exchange(mechanism: Mechanism, transport: SaslTransport) -> AuthenticationResult:
    """Run one mechanism from its start to the server's last word (RFC 4422 section 3).

    An initial response goes on the command's own line where it fits. That of a mechanism that waits for the prompt
    does so only, and once, where the server refuses the command without it.
    """
    transport.mask(mechanism.secrets)
    initial = mechanism.start()
    fits = initial is not None and transport.fits(mechanism.name, initial)
    at_once = fits and not mechanism.waits_for_prompt
    mechanism.presented = at_once
    step = await transport.auth(mechanism.name, initial if at_once else None)
    if fits and not at_once and _refuses_bare(step) and transport.dialogue.alive:
        at_once = mechanism.presented = True
        step = await transport.auth(mechanism.name, initial)
        if step.challenge is None and step.reply.code == _NO_MECHANISM:
            # The same as before: it was not for the form of the command.
            return AuthenticationResult(accepted=False, reply=step.reply, reasons=None, presented=False)
    mechanism.presented = at_once or step.challenge is not None
    if mechanism.presented and initial is not None and not at_once:
        # The prompt for an initial response is empty; what some servers write there means nothing.
        step = await transport.respond(initial)
    # Each mechanism knows how many challenges it takes.
    while step.challenge is not None:
        try:
            response = await _response(mechanism, step.challenge, transport)
        except MechanismError as error:
            await _abort(transport)
            raise ServerError(
                "The mail server's part of the sign-in makes no sense.",
                stage="sign_in",
                cause="protocol_error",
                detail=str(error),
            ) from error
        step = await transport.respond(response)
    if step.reply.positive and not (mechanism.presented and mechanism.finished):
        raise ServerError(
            "The mail server accepted the sign-in before it was complete.",
            stage="sign_in",
            cause="protocol_error",
            reply=step.reply,
        )
    return AuthenticationResult(step.reply.positive, step.reply, mechanism.reasons, mechanism.presented)


def _refuses_bare(step: Step) -> bool:
    """Tell whether a server may refuse a command for having no initial response (RFC 4954 section 4)."""
    return step.challenge is None and step.reply.code in {_MALFORMED, _NO_MECHANISM}


def decode_challenge(text: str) -> bytes | None:
    """Return the octets of a challenge, or None where it is not base64 (RFC 4954 section 4, RFC 5034 section 4)."""
    try:
        return base64.b64decode(text.strip(" "), validate=True)
    except (binascii.Error, ValueError):
        return None


async def _response(mechanism: Mechanism, challenge: str, transport: SaslTransport) -> bytes:
    octets = decode_challenge(challenge)
    if octets is None:
        if not mechanism.free_prompts:
            raise MechanismError("a challenge that is not base64")
        octets = b""
    if mechanism.is_slow:
        response = await transport.dialogue.run_in_thread(mechanism.next, octets)
    else:
        response = mechanism.next(octets)
    transport.mask(mechanism.secrets)
    return response


async def _abort(transport: SaslTransport) -> None:
    try:
        await transport.cancel()
    except TimeoutError:
        raise
    except (OSError, EOFError):
        # Some servers close the connection at once; the sign-in is over either way.
        return
