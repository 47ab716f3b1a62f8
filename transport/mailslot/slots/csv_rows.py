"""Tables in CSV, as spreadsheets and devices write them: their encodings, separators and lines."""

from __future__ import annotations

import codecs
import csv
import io
import re
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SEPARATORS: Final = (",", ";", "\t")

MAX_LINE: Final = 256 * 1024
"""Characters of a line; a cell may have half as many (`csv.field_size_limit`)."""

_COMMENT: Final = re.compile(r'["\s]*[#@]')  # Canon, Ricoh and Konica Minolta write such lines before the header
_FORMULA: Final = ("=", "+", "-", "@")


def decode_csv(octets: bytes) -> str:
    """Return the text of a table in UTF-8 or, with a byte order mark, UTF-16.

    Raises:
        InputError: it is in another encoding; the sentence names the line.
    """
    if octets.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return octets.decode("utf-16", "replace")
    try:
        return octets.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"Line {line} is not in UTF-8: save the file as CSV in UTF-8.", stage="envelope", detail=str(error)
        ) from None


def csv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not empty, each with its line; the first one is the header.

    The separator is the one that occurs most often in the header: a comma, a semicolon or a tab.

    Raises:
        InputError: a line is not CSV, or too long.
    """
    lines = text.splitlines(keepends=True)
    if (at := next((at for at, line in enumerate(lines, 1) if len(line) > MAX_LINE), 0)) > 0:
        raise InputError(f"Line {at} is not CSV: it has more than {MAX_LINE} characters.", stage="envelope")
    start = next((at for at, line in enumerate(lines) if line.strip(',;\t" \r\n') and not _COMMENT.match(line)), 0)
    header = re.sub(r'"[^"]*"', "", lines[start]) if lines else ""
    reader = csv.reader(lines[start:], delimiter=max(SEPARATORS, key=header.count), strict=True)
    line = start + 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield line, row
            line = start + reader.line_num + 1
    except csv.Error as error:
        # The text of the error for a quotation mark that is not closed says nothing of it.
        long = "field limit" in str(error)
        reason = (
            f"a cell has more than {csv.field_size_limit()} characters; is a quotation mark not closed?"
            if long
            else f"{error}."
        )
        raise InputError(f"Line {line} is not CSV: {reason}", stage="envelope") from None


def write_csv_rows(rows: Iterable[Sequence[str]], separator: str = ",") -> bytes:
    """Return rows as CSV: UTF-8 with a byte order mark, so that spreadsheets recognise it."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator).writerows(rows)
    return codecs.BOM_UTF8 + text.getvalue().encode()


def as_cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def from_cell(text: str) -> str:
    """Return the text of a cell, without what `as_cell` has put before it."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text
