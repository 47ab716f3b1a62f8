"""A dialogue with a server: one exchange at a time, closed by any error other than a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

import anyio.to_thread

from mailslot.errors import ClosedError, MailError, NetworkError, RefusedError, ServerError, Stage
from mailslot.net.endpoint import format_seconds
from mailslot.net.event_loop import current_clock
from mailslot.net.tls import PlainTextError, refused_certificate_error
from mailslot.net.turn_lock import TurnLock
from mailslot.wire.protocol_error import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from mailslot.net.endpoint import Endpoint
    from mailslot.wire.redact import Redactor
    from mailslot.wire.reply import Reply
    from mailslot.wire.transcript import Transcript

_STAGE_PHRASES: Final[dict[Stage, str]] = {
    "tls": "before encryption began",
    "greeting": "before it greeted",
    "capabilities": "when it was asked what it can do",
    "sign_in": "during the sign-in",
    "envelope": "when it was given the sender and the recipients",
    "data": "while it was given the message",
    "transaction": "in the middle of the session",
    "quit": "at the end of the session",
}


class Connection(Protocol):
    """What a dialogue needs of its connection, such as `mailslot.net.channel.Channel`."""

    @property
    def endpoint(self) -> Endpoint:
        """The server."""
        ...

    @property
    def local_host(self) -> str:
        """Our own IP address on this connection."""
        ...

    def close(self) -> None:
        """Close at once, without waiting; may be called again."""
        ...


ConnectionT = TypeVar("ConnectionT", bound=Connection)


class Dialogue(Generic[ConnectionT]):
    """A dialogue with a mail server over one connection.

    Attributes:
        stage: the current step, for errors; `on_stage` is called when it changes.
        in_doubt: whether a whole message was sent and its reply has not come.
        channel: the connection.
        timeout: seconds for each wait.
        current_timeout: the timeout of the current wait, or of the last one.
        closed: whether the connection is closed.
        current_time: the clock of the event loop.
        transcript: where both sides' lines are recorded, or None.
        redactor: masks secrets in replies. A second connection uses the same one, since the server may quote
            secrets that were sent over the first.
    """

    def __init__(
        self,
        channel: ConnectionT,
        *,
        timeout: float,
        transcript: Transcript | None,
        redactor: Redactor,
        on_stage: Callable[[Stage], None] | None = None,
    ) -> None:
        self._stage: Stage | None = None
        self._on_stage = on_stage
        self.in_doubt = False
        self.channel = channel
        self.timeout = self.current_timeout = timeout
        self.transcript = transcript
        self.redactor = redactor
        self._lock = TurnLock()
        self.closed = False
        self.current_time = current_clock()

    @property
    def stage(self) -> Stage:
        """The current step."""
        return self._stage or "greeting"

    @stage.setter
    def stage(self, stage: Stage) -> None:
        if stage != self._stage:
            self._stage = stage
            if self._on_stage is not None:
                self._on_stage(stage)

    def enter_stage(self, stage: Stage) -> None:
        """Set the current step."""
        self.stage = stage

    @property
    def alive(self) -> bool:
        """Whether commands can still be sent: the connection is open, and the server is not closing it."""
        return not self.closed

    def start_wait(self) -> float:
        """Return the usual seconds of a wait, which begins now."""
        self.current_timeout = self.timeout
        return self.timeout

    def new_deadline(self, timeout: float | None = None) -> float:
        """Return the deadline of a wait that begins now; `timeout` replaces the usual one."""
        self.current_timeout = self.timeout if timeout is None else timeout
        return self.current_time() + self.current_timeout

    def transcribe_tls(self) -> None:
        """Record in the transcript that TLS is active."""
        if self.transcript is not None:
            self.transcript.event("encrypted from here on")

    async def run_in_thread(self, function: Callable[[bytes], bytes], octets: bytes) -> bytes:
        """Call a slow function in a worker thread."""
        return await anyio.to_thread.run_sync(function, octets)

    async def abort(self) -> None:
        """Close the connection at once, without QUIT."""
        self.closed = True
        self.channel.close()

    def exclusive_use(self, stage: Stage) -> ExclusiveUse:
        """Return a context manager for exclusive use of the connection, for one exchange; it can be entered again.

        Any exception closes the connection and is raised as a `MailError`, except for a refusal after which the
        dialogue can continue. Entering raises `ClosedError` if the connection is closed.
        """
        return ExclusiveUse(self, stage, self._lock)

    def to_mail_error(self, error: BaseException) -> MailError | None:
        """Return the `MailError` for an exception that was raised in a dialogue; None to raise it unchanged."""
        host = self.channel.endpoint.host
        doubt_note = " The whole message was handed over; it may have arrived." if self.in_doubt else ""
        if isinstance(error, MailError):
            return None
        if isinstance(error, (OSError, EOFError)):
            return self._connection_error(error, host, doubt_note)
        if isinstance(error, PlainTextError):
            return self._plain_text_error(error, host)
        if isinstance(error, RemoteProtocolError):
            return self._protocol_error(error, host, doubt_note)
        if isinstance(error, LocalProtocolError):
            return MailError(
                "This cannot be asked of the mail server now.",
                stage=self.stage,
                cause="unknown",
                detail=str(error),
            )
        return None

    def _connection_error(self, error: OSError | EOFError, host: str, doubt_note: str) -> NetworkError:
        if not self.in_doubt and (refused := refused_certificate_error(error, host, self.stage)) is not None:
            return refused
        when = _STAGE_PHRASES.get(self.stage, "in the middle of the session")
        # A TimeoutError with an errno comes from the kernel, which has given up the connection.
        timed_out = isinstance(error, TimeoutError) and error.errno is None
        if timed_out:
            waited = format_seconds(self.current_timeout)
            sentence = f"The mail server {host} fell silent {when}: no answer within {waited}.{doubt_note}"
        else:
            sentence = f"The connection to the mail server {host} was lost {when}.{doubt_note}"
        return NetworkError(
            sentence,
            stage=self.stage,
            cause="in_doubt"
            if self.in_doubt
            else "connection_timeout"
            if timed_out and self.stage == "greeting"
            else "connection_lost",
            retryable=True,
            in_doubt=self.in_doubt,
            detail="" if timed_out else str(error),
            waited=self.current_timeout if timed_out else None,
        )

    def parse_reply_line(self, line: bytes) -> Reply | None:  # noqa: ARG002 - a subclass knows its protocol
        """Return the reply in a single line; None if it is not a reply."""
        return None

    def _plain_text_error(self, error: PlainTextError, host: str) -> MailError:
        line = error.octets.partition(b"\n")[0].removesuffix(b"\r")
        reply = self.parse_reply_line(line)
        if reply is None or reply.positive:
            shown = self.redactor.mask(ascii(line.decode("ascii", "backslashreplace")))
            return NetworkError(
                f"The mail server {host} answered in plain text where encryption was due: {shown}",
                stage="tls",
                cause="tls_failed",
                detail=str(error),
            )
        reply = self.redactor.mask_reply(reply)
        if self.transcript is not None:
            self.transcript.server(str(reply))
        return RefusedError(
            f"The mail server {host} could not encrypt the connection: {reply.one_line}",
            stage="tls",
            cause="tls_failed",
            reply=reply,
            retryable=400 <= (reply.code or 0) < 500 or (reply.enhanced or "").startswith("SYS/TEMP"),
            detail=str(reply),
        )

    def _protocol_error(self, error: RemoteProtocolError, host: str, doubt_note: str) -> MailError:
        cause = error.cause
        # The original error is shown in tracebacks as the __cause__.
        error.args = (self.redactor.mask(str(error)),)
        if cause == "tls_injection":
            sentence = f"Octets slipped in between the mail server {host} and us before encryption began."
            return NetworkError(sentence, stage="tls", cause=cause, detail=str(error))
        if self.stage == "greeting":
            if cause == "tls_port_mismatch":
                sentence = f"Port {self.channel.endpoint.port} of {host} begins with encryption."
                return NetworkError(sentence, stage=self.stage, cause=cause, detail=str(error))
            cause = "not_a_mail_server"
            sentence = f"What answers at {host}, port {self.channel.endpoint.port}, is not such a mail server."
        else:
            cause = "in_doubt" if self.in_doubt else "protocol_error"
            sentence = f"The mail server {host} sent something that is not the protocol.{doubt_note}"
        return ServerError(
            sentence,
            stage=self.stage,
            cause=cause,
            in_doubt=self.in_doubt,
            detail=str(error),
        )


class ExclusiveUse:
    """Exclusive use of a connection for one exchange; see `Dialogue.exclusive_use`."""

    __slots__ = ("_dialogue", "_lock", "_stage")

    def __init__(self, dialogue: Dialogue[Any], stage: Stage, lock: TurnLock) -> None:
        self._dialogue = dialogue
        self._stage: Stage = stage
        self._lock = lock

    async def __aenter__(self) -> None:
        if not self._lock.acquire_nowait():
            await self._lock.acquire()
        if self._dialogue.closed:
            self._lock.release()
            raise ClosedError(
                "The session with the mail server is closed.",
                stage=self._stage,
                cause="connection_lost",
            )
        self._dialogue.stage = self._stage
        self._dialogue.in_doubt = False

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        dialogue = self._dialogue
        try:
            if error is None:
                return
            if isinstance(error, RefusedError) and dialogue.alive:
                return
            await dialogue.abort()
            failure = dialogue.to_mail_error(error)
            if failure is not None:
                raise failure from error
        finally:
            dialogue.in_doubt = False
            self._lock.release()
