"""The common core of servers with SASL mechanisms (RFC 4954 section 4, RFC 5034 section 4)."""

from __future__ import annotations

import base64
import binascii
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from mailslot.sasl.mechanism import MechanismError
from mailslot.sasl.server import SuppliedSecret
from mailslot.wire.command_input import CommandError, LineTooLongError
from mailslot.wire.server_core import Event, Recorder, ServerCore, Verb

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.sasl.server import Mechanisms, ServerMechanism
    from mailslot.wire.reply import Reply


@dataclass(frozen=True, slots=True)
class ExchangeReplies:
    """A protocol's replies to an incomplete sign-in."""

    unknown_mechanism: Reply
    malformed: Reply
    cancelled: Reply
    line_too_long: Reply


class SaslServerCore(ServerCore[Event, Verb, Recorder], Generic[Event, Verb, Recorder]):
    """The core of a session with AUTH; a protocol defines how challenges are sent."""

    _exchange_replies: ClassVar[ExchangeReplies]
    _exchange_verbs: ClassVar[tuple[Any, Any]]
    """The verbs of AUTH and of a SASL response."""
    _credentials: ClassVar[type[Any]]
    """Creates the event of a sign-in from the user, the secret, and the name of the mechanism."""
    _mechanism: ServerMechanism
    _refusal: Reply | None = None
    """The refusal that follows the response to an error challenge."""

    @property
    @abstractmethod
    def _in_exchange(self) -> bool:
        """Whether a response is due."""

    @abstractmethod
    def _answer(self, verb: Verb, answer: Reply) -> None:
        """Send the reply to a permitted command, and change the state accordingly."""

    @abstractmethod
    def _challenge(self, verb: Verb, octets: bytes) -> None:
        """Reply with a challenge."""

    @abstractmethod
    def _read_command(self, line: bytes) -> None:
        """Take a line that is not a response; raise `CommandError` to refuse it."""

    def _read_line(self, limit: int) -> bool:
        """Take a line of up to `limit` octets from the input; return False if more octets are needed."""
        try:
            line = self._input.next_line(limit)
            if line is None:
                return False
            self._turn += 1
            if self._in_exchange:
                self._read_response(line)
            else:
                self._read_command(line)
        except LineTooLongError:
            self._recorder.event("a line that is too long")
            self._refuse_bad_command(self._exchange_replies.line_too_long)
        except CommandError as error:
            self._refuse_bad_command(error.reply)
        return True

    def _begin_exchange(self, argument: str, mechanisms: Mechanisms) -> None:
        """Begin a sign-in.

        Args:
            argument: the mechanism, in any case, and an optional initial response in base64, ``=`` for an empty one.
            mechanisms: functions that create a mechanism, by its name.

        Raises:
            CommandError: there is no such mechanism, or the response cannot be decoded.
        """
        name, _, initial = argument.partition(" ")
        make = mechanisms.get(name.upper())
        if make is None:
            raise CommandError(self._exchange_replies.unknown_mechanism)
        self._mechanism, self._refusal = make(), None
        response = initial.strip().encode("utf-8", "replace")
        if response:
            step = self._decode_and(self._mechanism.start, b"" if response == b"=" else response)
        else:
            step = self._mechanism.start(None)
        self._continue_with(self._exchange_verbs[0], step)

    def _read_response(self, line: bytes) -> None:
        self._recorder.response(line)
        verb, line = self._exchange_verbs[1], line.strip()
        if line == b"*":
            raise CommandError(self._exchange_replies.cancelled)
        if self._refusal is not None:
            self._answer(verb, self._refusal)
        else:
            self._continue_with(verb, self._decode_and(self._mechanism.next, line))

    def _decode_and(self, step: Callable[[bytes], bytes | SuppliedSecret], response: bytes) -> bytes | SuppliedSecret:
        try:
            # Some clients omit the padding.
            return step(base64.b64decode(response + b"=" * (-len(response) % 4), validate=True))
        except (binascii.Error, MechanismError):
            raise CommandError(self._exchange_replies.malformed) from None

    def _continue_with(self, verb: Verb, step: bytes | SuppliedSecret) -> None:
        if isinstance(step, SuppliedSecret):
            self._recorder.add_secret(step.secret)
            self._events.append((self._credentials(step.user, step.secret, self._mechanism.name), verb))
        else:
            self._challenge(verb, step)

    def _explain(self, verb: Verb, refusal: Reply, *, temporary: bool) -> bool:
        """Reply with an error challenge if the mechanism has one; return whether it has."""
        if verb not in self._exchange_verbs or refusal.positive or temporary:
            return False
        challenge = self._mechanism.explain_refusal()
        if challenge is None:
            return False
        self._refusal = refusal
        self._challenge(verb, challenge)
        return True

    def _refuse_bad_command(self, answer: Reply) -> None:
        if self._end_if_too_many_bad_commands():
            return
        if self._in_exchange:
            self._answer(self._exchange_verbs[1], answer)
        else:
            self._send(answer)
