"""Problem documents (RFC 9457), the error responses of the API; the title is the sentence for the person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse

from mailslot.errors import InputError, MailError
from mailslot.slots.settings_document import SettingsFileError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

PROBLEM_JSON: Final = "application/problem+json"

_STATUS: Final = {
    "invalid_input": 422,
    "not_permitted": 403,
    "recipient_refused": 422,
    "message_too_large": 413,
    "unknown_job": 404,
    "unknown_mail": 404,
}
"""The status of an `InputError` by its cause. For other causes it is 409: the state of the device does not allow it."""

_DEVICE_FAULT: Final = 503
"""The status of faults of the device itself, such as a full disk or a damaged file."""


class ProblemError(Exception):
    """A request cannot be performed, for a reason at the level of HTTP.

    Attributes:
        status: the HTTP status.
        key: the field, parameter or header concerned; may be empty.
        headers: additional headers of the response.
    """

    def __init__(self, status: int, sentence: str, *, key: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.key = key
        self.headers = headers


def problem_response(
    status: int, sentence: str, *, key: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """Return the response for a problem.

    Args:
        status: the HTTP status.
        sentence: the reason.
        key: the field, parameter or header concerned; may be empty.
        headers: additional headers of the response.
    """
    return _response(_document(status, sentence, key=key), headers)


def mail_error_response(error: MailError) -> Response:
    """Return the response for a `MailError`."""
    return _response(problem_document(error))


def problem_document(error: MailError) -> dict[str, Any]:
    """Return the problem document of a `MailError`."""
    key = error.key if isinstance(error, InputError) else ""
    is_input_error = isinstance(error, InputError) and not isinstance(error, SettingsFileError)
    status = _STATUS.get(error.cause, 409) if is_input_error else _DEVICE_FAULT
    return _document(status, str(error), cause=error.cause, stage=error.stage, detail=error.detail, key=key)


def _document(
    status: int, title: str, *, cause: str | None = None, stage: str | None = None, detail: str = "", key: str = ""
) -> dict[str, Any]:
    return {"title": title, "status": status, "cause": cause, "stage": stage, "detail": detail, "key": key}


def _response(document: dict[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(document, document["status"], headers, PROBLEM_JSON)
