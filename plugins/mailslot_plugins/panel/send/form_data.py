"""Parses ``multipart/form-data`` (RFC 7578) as it arrives, without I/O; no part is ever in memory as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MEDIA_TYPE: Final = "multipart/form-data"


class FormDataError(Exception):
    """The body is not ``multipart/form-data``; the message says why, in a sentence."""


@dataclass(frozen=True, slots=True)
class PartBegin:
    """A part begins.

    Attributes:
        name: the name of its field.
        filename: the name of its file; None if it is not a file.
    """

    name: str
    filename: str | None


@dataclass(frozen=True, slots=True)
class PartData:
    """Octets of the current part."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The current part ends."""


Event = PartBegin | PartData | PartEnd


def is_form_data(content_type: str) -> bool:
    """Return whether a ``Content-Type`` is ``multipart/form-data``."""
    return content_type.partition(";")[0].strip().lower() == MEDIA_TYPE


class FormDataReader:
    """Reads one body.

    Args:
        content_type: the ``Content-Type`` of the request.

    Attributes:
        complete: whether the end of the body was read.

    Raises:
        FormDataError: it has no usable boundary.
    """

    def __init__(self, content_type: str) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        self.complete = False
        self._events: list[Event] = []
        self._field, self._value = bytearray(), bytearray()
        self._headers: dict[str, str] = {}
        callbacks = {
            "on_part_begin": self._headers.clear,
            "on_header_field": self._add_field,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin,
            "on_part_data": self._add_data,
            "on_part_end": lambda: self._events.append(PartEnd()),
            "on_end": self._end,
        }
        if not boundary:
            raise FormDataError("The Content-Type names no boundary.")
        try:
            self._parser = MultipartParser(boundary, cast("MultipartCallbacks", callbacks))
        except FormParserError as error:
            raise FormDataError("The boundary is too long.") from error

    def feed(self, octets: bytes) -> list[Event]:
        """Parse the next octets of the body, and return their events.

        Raises:
            FormDataError: they are not valid in such a body.
        """
        if not self.complete:  # what follows is to be ignored (RFC 2046 section 5.1.1)
            try:
                self._parser.write(octets)
            except FormParserError as error:
                raise FormDataError("What was sent is not multipart/form-data.") from error
        events, self._events = self._events, []
        return events

    def _add_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._field.decode("latin-1").lower()] = self._value.decode("utf-8", "replace")
        self._field.clear()
        self._value.clear()

    def _begin(self) -> None:
        kind, options = _parse_disposition(self._headers.get("content-disposition", ""))
        if kind != "form-data" or "name" not in options:
            raise FormDataError("A part has no name: it needs Content-Disposition: form-data; name=…")
        self._events.append(PartBegin(options["name"], options.get("filename")))

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(PartData(data[start:end]))

    def _end(self) -> None:
        self.complete = True


def _parse_disposition(value: str) -> tuple[str, dict[str, str]]:
    """Return the kind and the parameters of a ``Content-Disposition``.

    Names are UTF-8 (RFC 7578 section 5.1), while the parser reads header fields as Latin-1.
    """
    kind, options = parse_options_header(value.encode().decode("latin-1"))
    return kind.decode("latin-1"), {key.decode("latin-1"): _decode(each) for key, each in options.items()}


def _decode(value: bytes) -> str:
    # Browsers write these three so (HTML, "multipart/form-data encoding algorithm").
    text = value.decode("utf-8", "replace")
    return text.replace("%22", '"').replace("%0D", "").replace("%0A", "")
