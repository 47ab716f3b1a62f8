"""What every dialogue with a server is: one turn at a time, and over at anything that is not a mere refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

import anyio
import anyio.to_thread

from mailslot.errors import ClosedError, MailError, NetworkError, RefusedError, ServerError, Stage
from mailslot.net.endpoint import in_seconds
from mailslot.net.tls import PlainTextError
from mailslot.wire.protocol_error import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from mailslot.net.endpoint import Endpoint
    from mailslot.wire.redact import Redactor
    from mailslot.wire.reply import Reply
    from mailslot.wire.transcript import Transcript

_WHEN: Final[dict[Stage, str]] = {
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
    """What every dialogue needs of its connection, whoever made it: `mailslot.net.channel.Channel`, or another."""

    @property
    def endpoint(self) -> Endpoint:
        """Where it leads."""
        ...

    @property
    def local_host(self) -> str:
        """Our own IP address on it."""
        ...

    def close(self) -> None:
        """Close at once; waits for nothing and may be called again."""
        ...


L = TypeVar("L", bound=Connection)


class Dialogue(Generic[L]):
    """A dialogue with a mail server over one channel.

    Attributes:
        stage: the step of the dialogue that goes on, for errors; whoever wants to watch is told when it changes.
        handed_over: whether a whole message is out and its answer is not in.
        channel: the connection.
        timeout: seconds for each wait.
        patience: seconds for the wait that goes on, or was the last one.
        transcript: where both sides' words are noted, or None.
        redactor: what masks secrets in the server's words; the same on a second connection, since its server
            may know what the first one was told.
    """

    def __init__(
        self,
        channel: L,
        *,
        timeout: float,
        transcript: Transcript | None,
        redactor: Redactor,
        on_stage: Callable[[Stage], None] | None = None,
    ) -> None:
        self._stage: Stage | None = None
        self._on_stage = on_stage
        self.handed_over = False
        self.channel = channel
        self.timeout = self.patience = timeout
        self.transcript = transcript
        self.redactor = redactor
        self._lock = anyio.Lock(fast_acquire=True)
        self._closed = False

    @property
    def stage(self) -> Stage:
        """The step that goes on."""
        return self._stage or "greeting"

    @stage.setter
    def stage(self, stage: Stage) -> None:
        if stage != self._stage:
            self._stage = stage
            if self._on_stage is not None:
                self._on_stage(stage)

    def enter(self, stage: Stage) -> None:
        """Note which step begins."""
        self.stage = stage

    @property
    def closed(self) -> bool:
        """Whether the connection is closed."""
        return self._closed

    @property
    def alive(self) -> bool:
        """Whether the dialogue can go on: the session is open, and the server has not said that it leaves."""
        return not self._closed

    def deadline(self, timeout: float | None = None) -> float:
        """Return when a wait that begins now has to end, for the channel: after the usual seconds, or others."""
        self.patience = self.timeout if timeout is None else timeout
        return anyio.current_time() + self.patience

    def note_tls(self) -> None:
        """Note in the transcript that TLS is up."""
        if self.transcript is not None:
            self.transcript.event("encrypted from here on")

    async def run_in_thread(self, work: Callable[[bytes], bytes], octets: bytes) -> bytes:
        """Do work that takes long without holding up anything else."""
        return await anyio.to_thread.run_sync(work, octets)

    async def abort(self) -> None:
        """Close the connection at once, without a word."""
        self._closed = True
        self.channel.close()

    def exclusive_use(self, stage: Stage) -> ExclusiveUse:
        """Return the right to speak, to be entered with ``async with``.

        Any exception in it closes the connection, a refusal after which the dialogue can go on excepted, and
        leaves it as a `MailError`. Entering raises `ClosedError` where the connection is closed.
        """
        return ExclusiveUse(self, stage, self._lock)

    def failure(self, error: BaseException) -> MailError | None:
        """Return what `error`, raised in a dialogue, is to the caller; None where it is passed on as it is."""
        host = self.channel.endpoint.host
        sorry = " The whole message was handed over; it may have arrived." if self.handed_over else ""
        if isinstance(error, MailError):
            return None
        if isinstance(error, (OSError, EOFError)):
            return self._lost(error, host, sorry)
        if isinstance(error, PlainTextError):
            return self._unencrypted(error, host)
        if isinstance(error, RemoteProtocolError):
            return self._broken(error, host, sorry)
        if isinstance(error, LocalProtocolError):
            return MailError(
                "This cannot be asked of the mail server now.",
                stage=self.stage,
                cause="unknown",
                detail=str(error),
            )
        return None

    def _lost(self, error: OSError | EOFError, host: str, sorry: str) -> NetworkError:
        when = _WHEN.get(self.stage, "in the middle of the session")
        # With a number it is the system's own, which has given the connection up.
        late = isinstance(error, TimeoutError) and error.errno is None
        if late:
            sentence = (
                f"The mail server {host} fell silent {when}: no answer within {in_seconds(self.patience)}.{sorry}"
            )
        else:
            sentence = f"The connection to the mail server {host} was lost {when}.{sorry}"
        return NetworkError(
            sentence,
            stage=self.stage,
            cause="in_doubt"
            if self.handed_over
            else "connection_timeout"
            if late and self.stage == "greeting"
            else "connection_lost",
            retryable=True,
            in_doubt=self.handed_over,
            detail="" if late else str(error),
            waited=self.patience if late else None,
        )

    def reply_in(self, line: bytes) -> Reply | None:  # noqa: ARG002 - a subclass knows its protocol
        """Return the reply that a line is, by itself; None where it is none."""
        return None

    def _unencrypted(self, error: PlainTextError, host: str) -> MailError:
        line = error.octets.partition(b"\n")[0].removesuffix(b"\r")
        reply = self.reply_in(line)
        if reply is None or reply.positive:
            words = self.redactor.mask(ascii(line.decode("ascii", "backslashreplace")))
            return NetworkError(
                f"The mail server {host} answered in plain text where encryption was due: {words}",
                stage="tls",
                cause="tls_failed",
                detail=str(error),
            )
        reply = self.redactor.masked(reply)
        if self.transcript is not None:
            self.transcript.server(str(reply))
        return RefusedError(
            f"The mail server {host} could not encrypt the connection: {reply.words}",
            stage="tls",
            cause="tls_failed",
            reply=reply,
            retryable=400 <= (reply.code or 0) < 500 or (reply.enhanced or "").startswith("SYS/TEMP"),
            detail=str(reply),
        )

    def _broken(self, error: RemoteProtocolError, host: str, sorry: str) -> MailError:
        cause = error.cause
        # It stays the cause of what is raised, and is read in tracebacks.
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
            cause = "in_doubt" if self.handed_over else "protocol_error"
            sentence = f"The mail server {host} sent something that is not the protocol.{sorry}"
        return ServerError(
            sentence,
            stage=self.stage,
            cause=cause,
            in_doubt=self.handed_over,
            detail=str(error),
        )


class ExclusiveUse:
    """The right to speak, for one exchange; see `Dialogue.exclusive_use`."""

    __slots__ = ("_dialogue", "_lock", "_stage")

    def __init__(self, dialogue: Dialogue[Any], stage: Stage, lock: anyio.Lock) -> None:
        self._dialogue = dialogue
        self._stage: Stage = stage
        self._lock = lock

    async def __aenter__(self) -> None:
        await self._lock.acquire()
        if self._dialogue.closed:
            self._lock.release()
            raise ClosedError(
                "The session with the mail server is closed.",
                stage=self._stage,
                cause="connection_lost",
            )
        self._dialogue.stage = self._stage
        self._dialogue.handed_over = False

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
            failure = dialogue.failure(error)
            if failure is not None:
                raise failure from error
        finally:
            dialogue.handed_over = False
            self._lock.release()
