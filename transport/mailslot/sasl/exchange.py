"""One SASL exchange over any protocol, step by step (RFC 4422 section 3)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from mailslot.errors import ServerError
from mailslot.sasl.bearer import OAuthBearer, XOAuth2
from mailslot.sasl.mechanism import Mechanism, MechanismError
from mailslot.sasl.password import Login
from mailslot.sasl.scram import ScramSha256

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailslot.errors import SignInError, Stage
    from mailslot.sasl.credentials import Credentials
    from mailslot.wire.reply import Reply
    from mailslot.wire.secret import Secret


_MALFORMED: Final = 501
_NO_MECHANISM: Final = 504
"""SMTP's replies to a command that it takes for wrong; those of POP3 and IMAP have no codes, and may mean anything."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the server said in a sign-in: a challenge in base64, or its last word where that is None."""

    reply: Reply
    challenge: str | None


class Carrier(Protocol):
    """How a protocol carries a sign-in. Its methods raise `OSError` or `EOFError` where the line breaks."""

    @property
    def alive(self) -> bool:
        """Whether another sign-in can be tried on the same connection."""
        ...

    def enter(self, stage: Stage) -> None:
        """Note which step begins: ``token`` or ``sign_in``."""
        ...

    def keep_secret(self, secret: Secret) -> None:
        """Learn what must be masked in all that the server says."""
        ...

    def fits(self, mechanism: str, initial: bytes) -> bool:
        """Whether an initial response can go on the line of the command."""
        ...

    async def auth(self, mechanism: str, initial: bytes | None) -> Step:
        """Begin; None sends no initial response, ``b""`` an empty one."""
        ...

    async def respond(self, response: bytes) -> Step:
        """Answer a challenge."""
        ...

    async def cancel(self) -> Step:
        """Give up."""
        ...

    async def compute(self, work: Callable[[bytes], bytes], challenge: bytes) -> bytes:
        """Do work that takes long without holding up anything else."""
        ...

    def refusal(self, credentials: Credentials, verdict: Verdict) -> SignInError:
        """Return the error for a refused sign-in."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a sign-in ended.

    Attributes:
        accepted: whether the server said yes and could be believed.
        reply: its last word.
        reasons: a bearer refusal's JSON, empty where it was not readable; None where there was none.
        presented: whether the credentials were sent; else the mechanism itself was refused.
    """

    accepted: bool
    reply: Reply
    reasons: Mapping[str, str] | None
    presented: bool = True


async def exchange(mechanism: Mechanism, carrier: Carrier) -> Verdict:
    """Run one mechanism from its start to the server's last word (RFC 4422 section 3).

    A bearer token does not go on the command's own line: hardly one fits it (RFC 4954 section 4, RFC 5034
    section 4), and servers that cut the line refuse the token as if it were bad. Only a server that refuses the
    command without it gets it there, once, where it fits.
    """
    carrier.keep_secret(mechanism.secret)
    bearer = mechanism if isinstance(mechanism, (XOAuth2, OAuthBearer)) else None
    initial = None if bearer else mechanism.start()
    at_once = initial is not None and carrier.fits(mechanism.name, initial)
    step = await carrier.auth(mechanism.name, initial if at_once else None)
    if bearer and _refuses_bare(step) and carrier.alive and carrier.fits(mechanism.name, bearer.initial):
        at_once = True
        step = await carrier.auth(mechanism.name, bearer.start())
        if step.challenge is None and step.reply.code == _NO_MECHANISM:
            # The same as before: it was not for the form of the command.
            return Verdict(accepted=False, reply=step.reply, reasons=None, presented=False)
    presented = at_once or step.challenge is not None
    if presented and bearer and not at_once:
        initial = bearer.start()
    if presented and initial is not None and not at_once:
        # The prompt for an initial response is empty; what some servers write there means nothing.
        step = await carrier.respond(initial)
    # Each mechanism knows how many challenges it takes.
    while step.challenge is not None:
        try:
            response = await _response(mechanism, step.challenge, carrier)
        except MechanismError as error:
            await _give_up(carrier)
            raise ServerError(
                "The mail server's part of the sign-in makes no sense.",
                stage="sign_in",
                cause="protocol_error",
                detail=str(error),
            ) from error
        step = await carrier.respond(response)
    if step.reply.positive and not (presented and mechanism.finished):
        raise ServerError(
            "The mail server accepted the sign-in before it was complete.",
            stage="sign_in",
            cause="protocol_error",
            reply=step.reply,
        )
    return Verdict(step.reply.positive, step.reply, bearer.reasons if bearer else None, presented)


def _refuses_bare(step: Step) -> bool:
    """Tell whether a server may refuse a command for having no initial response (RFC 4954 section 4)."""
    return step.challenge is None and step.reply.code in {_MALFORMED, _NO_MECHANISM}


def decode_challenge(text: str) -> bytes | None:
    """Return the octets of a challenge, or None where it is not base64 (RFC 4954 section 4, RFC 5034 section 4)."""
    try:
        return base64.b64decode(text.strip(" "), validate=True)
    except (binascii.Error, ValueError):
        return None


async def _response(mechanism: Mechanism, challenge: str, carrier: Carrier) -> bytes:
    octets = decode_challenge(challenge)
    if octets is None:
        if not isinstance(mechanism, Login):
            raise MechanismError("a challenge that is not base64")
        octets = b""
    if isinstance(mechanism, ScramSha256):
        response = await carrier.compute(mechanism.next, octets)
        carrier.keep_secret(mechanism.verifier)
        return response
    return mechanism.next(octets)


async def _give_up(carrier: Carrier) -> None:
    try:
        await carrier.cancel()
    except TimeoutError:
        raise
    except (OSError, EOFError):
        # Some servers close the connection at once; the sign-in is over either way.
        return
