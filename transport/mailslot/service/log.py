"""Log formats: JSON for programs, plain lines for people; both contain the fields in ``extra``.

``logger.info("Delivered", extra={"job": 7})`` becomes ``{"time": …, "level": "info", "message": "Delivered", "job":
7}``. No traceback is written. Of an unexpected exception, only the type and location are logged, since its text may
quote secrets.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mailslot.entry_points import plugin_packages
from mailslot.errors import MailError
from mailslot.exit_guard import original_error
from mailslot.service.log_handler import LogHandler
from mailslot.wire.secret import MASK

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

_MINUTE: Final = 60.0

CONTEXT_FIELDS: Final = (
    "staff", "tenant", "device", "slot", "record", "pipeline", "task", "job", "mail", "cause", "state", "http_status",
    "refusal", "attempts", "seconds", "messages"
)  # fmt: skip
"""The names in a record's ``extra`` that are logged."""

# Three parts of base64url (RFC 7519), Google's access and refresh tokens, and a bearer header.
_TOKEN_LIKE: Final = re.compile(
    r"eyJ[\w-]{10,}\.[\w-]{10,}(?:\.[\w-]*)*|\bya29\.[\w.-]{10,}|\b1//[\w-]{20,}|(?<=[Bb]earer )[\w.~+/-]{8,}=*"
)


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for a record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        line |= _context(record)
        return json.dumps(line, ensure_ascii=False, default=str)


class PlainLines(logging.Formatter):
    """Formats a record as one plain line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for a record."""
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        level = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        context = " ".join(f"{name}={value}" for name, value in _context(record).items() if value is not None)
        return f"{time} {level}{_message(record)}" + (f"  ({context})" if context else "")


def set_up_logging(stream: TextIO, *, plain: bool) -> LogHandler:
    """Set up logging to a stream: the library and the plugins at INFO, everything else at WARNING.

    Args:
        stream: the stream, which must have a file descriptor.
        plain: whether to log plain lines; otherwise JSON.

    Returns:
        the handler; flush it before writing to the stream directly.
    """
    handler = LogHandler(stream.fileno())
    handler.setFormatter(PlainLines() if plain else JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in plugin_packages():
        logging.getLogger(name).setLevel(logging.INFO)
    return handler


class RepeatFilter:
    """Suppresses repeated messages within a minute.

    Args:
        monotonic: returns seconds on a clock that cannot be set.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._words = ""
        self._at = 0.0

    def is_new(self, message: str) -> bool:
        """Return whether a message should be logged now."""
        now = self._monotonic()
        if message == self._words and now - self._at < _MINUTE:
            return False
        self._words, self._at = message, now
        return True


def describe_error(error: BaseException) -> str:
    """Describe an error for the log: the sentence of a `MailError`, else the type and where it was raised."""
    error = original_error(error)
    if isinstance(error, MailError):
        return str(error)
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {error.strerror or type(error).__name__}"
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = ", called at ".join(
        f"{Path(frame.filename).name}:{frame.lineno} ({frame.name})" for frame in reversed(frames)
    )
    return f"{type(error).__name__}, raised at {places}" if places else type(error).__name__


def _message(record: logging.LogRecord) -> str:
    message = record.getMessage()
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        message = f"{message} ({describe_error(error)})"
    # Each record is one line, even if its message contains line breaks.
    return _TOKEN_LIKE.sub(MASK, " ".join(message.split()))


def _context(record: logging.LogRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in CONTEXT_FIELDS if hasattr(record, name)}
