"""What a program is told where something cannot be done: a problem document (RFC 9457), its title the one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse

from mailslot.errors import InputError, MailError
from mailslot.slots.settings_document import SettingsFileError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

PROBLEM: Final = "application/problem+json"

_STATUS: Final = {
    "invalid_input": 422,
    "not_permitted": 403,
    "unknown_job": 404,
    "unknown_mail": 404,
}
"""The status of an `InputError` by its cause; of any other, the device is not in the state for what was asked."""

_OURS: Final = 503
"""The status of what the device cannot do now, whatever is asked: its files are broken, full or busy."""


class NotDoneError(Exception):
    """What was asked cannot be done, for a reason of HTTP's rather than of mail's.

    Attributes:
        status: the HTTP status.
        key: the field, parameter or header that it is about; empty for none.
        headers: what the answer carries besides.
    """

    def __init__(self, status: int, sentence: str, *, key: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.key = key
        self.headers = headers


def problem(status: int, sentence: str, *, key: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer that something cannot be done.

    Args:
        status: the HTTP status.
        sentence: why.
        key: the field, parameter or header that it is about; empty for none.
        headers: what the answer carries besides.
    """
    return _response(_document(status, sentence, key=key), headers)


def problem_of(error: MailError) -> Response:
    """Return the answer for an error."""
    return _response(problem_document(error))


def problem_document(error: MailError) -> dict[str, Any]:
    """Return an error as JSON holds it."""
    key = error.key if isinstance(error, InputError) else ""
    theirs = isinstance(error, InputError) and not isinstance(error, SettingsFileError)
    status = _STATUS.get(error.cause, 409) if theirs else _OURS
    return _document(status, str(error), cause=error.cause, stage=error.stage, detail=error.detail, key=key)


def _document(
    status: int, title: str, *, cause: str | None = None, stage: str | None = None, detail: str = "", key: str = ""
) -> dict[str, Any]:
    return {"title": title, "status": status, "cause": cause, "stage": stage, "detail": detail, "key": key}


def _response(document: dict[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(document, document["status"], headers, PROBLEM)
