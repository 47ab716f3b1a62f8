"""Operations of the API: the handler of each, and its description for the OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mailslot.errors import MailError
from mailslot_plugins.panel.api.json_schema import closed_object_schema
from mailslot_plugins.panel.api.validation import read_body, read_query
from mailslot_plugins.panel.problem import ProblemError, mail_error_response, problem_response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from starlette.requests import Request

    from mailslot.service.device import Device
    from mailslot_plugins.panel.api.json_schema import Schema
    from mailslot_plugins.panel.security.keys import ApiKey

Method = Literal["GET", "POST", "PATCH", "DELETE"]

BASE: Final = "/api"

METHODS_WITH_BODY: Final = frozenset({"POST", "PATCH"})
"""The methods whose requests have a body, which may be an empty object."""

_NOTHING: Final = closed_object_schema()


@dataclass(frozen=True, slots=True)
class Call:
    """A validated request to the API.

    Attributes:
        request: the HTTP request.
        query: the query parameters.
        body: the JSON object in the body; empty if there is none.
    """

    request: Request
    query: Mapping[str, Any]
    body: Mapping[str, Any]

    @property
    def device(self) -> Device:
        """The device."""
        device: Device = self.request.app.state.device
        return device

    @property
    def language(self) -> str:
        """The language of sentences in the response."""
        return str(self.request.state.language)


class Handler(Protocol):
    """A function that performs an operation; its name is the operation's id in the OpenAPI document."""

    __name__: str

    async def __call__(self, call: Call, /) -> Response:
        """Perform the operation.

        Raises:
            ProblemError: it cannot be performed; answered with this status.
            MailError: it cannot be performed; the status depends on the cause.
        """
        ...


@dataclass(frozen=True, slots=True)
class ResponseSpec:
    """The description of a response.

    Attributes:
        description: what it contains.
        schema: the schema of its JSON; None if it is not JSON.
        media_type: the type of any other content; empty if there is none.
        headers: its headers, each with a description.
    """

    description: str
    schema: Schema | None = None
    media_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of the API.

    Attributes:
        method: its HTTP method.
        path: its path below `BASE`, with the path parameters of its group in braces.
        handler: performs it.
        summary: what it does, in a sentence.
        responses: its successful responses, by status.
        query: the schemas of its query parameters.
        headers: the schemas of the request headers that it supports.
        body: the schema of its request body; None if there is none.
        form: returns the schema of a body of type ``multipart/form-data``, which the handler reads itself; pipelines
            are loaded. None for any other body.
        reads_documents: whether an API key needs the permission to read received documents (403).
        conflicts: whether it can fail because of the device's state (409).
        conditional: whether it supports ``If-Match`` (412).
    """

    method: Method
    path: str
    handler: Handler
    summary: str
    responses: Mapping[int, ResponseSpec]
    query: Mapping[str, Schema] = field(default_factory=dict[str, "Schema"])
    headers: Mapping[str, Schema] = field(default_factory=dict[str, "Schema"])
    body: Schema | None = None
    form: Callable[[], Schema] | None = None
    reads_documents: bool = False
    conflicts: bool = False
    conditional: bool = False


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON response."""
    return JSONResponse(value, status, headers)


def make_routes(operations: Iterable[Operation]) -> list[Route]:
    """Return the routes of operations, one for each path."""
    paths: dict[str, dict[str, Operation]] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method] = each
    return [
        Route(f"{BASE}{path}", partial(_dispatch, by_method), methods=[*by_method, "OPTIONS"])
        for path, by_method in paths.items()
    ]


async def _dispatch(by_method: Mapping[str, Operation], request: Request) -> Response:
    if request.method == "OPTIONS":
        allowed = [*by_method, "OPTIONS", *(["HEAD"] if "GET" in by_method else [])]
        return Response(status_code=204, headers={"Allow": ", ".join(sorted(allowed))})
    operation = by_method["GET" if request.method == "HEAD" else request.method]
    try:
        if operation.reads_documents:
            _check_may_read(request)
        query = read_query(request.query_params, operation.query)
        reads_body = operation.method in METHODS_WITH_BODY and operation.form is None
        body = await read_body(request, operation.body or _NOTHING) if reads_body else {}
        return await operation.handler(Call(request, query, body))
    except ProblemError as error:
        return problem_response(error.status, str(error), key=error.key, headers=error.headers)
    except MailError as error:
        return mail_error_response(error)


def _check_may_read(request: Request) -> None:
    key: ApiKey | None = request.state.key
    if key is not None and not key.documents:
        raise ProblemError(
            403,
            "This key may not read received documents: create one on the Device page that may.",
            key="Authorization",
        )
