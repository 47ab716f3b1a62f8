"""One thing that can be asked of the API: its handler, and all that the document says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mailslot.errors import MailError
from mailslot_plugins.panel.api.check import read_body, read_query
from mailslot_plugins.panel.api.schema import entry
from mailslot_plugins.panel.problem import NotDoneError, problem, problem_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request

    from mailslot.service.device import Device
    from mailslot_plugins.panel.api.schema import Schema

Method = Literal["GET", "POST", "PATCH", "DELETE"]

BASE: Final = "/api"

SENDS: Final = frozenset({"POST", "PATCH"})
"""The methods by which something is sent, if only an empty object."""

_NOTHING: Final = entry()


@dataclass(frozen=True, slots=True)
class Call:
    """What was asked.

    Attributes:
        request: by which request.
        query: the parameters behind the question mark, checked.
        body: what was sent, checked; empty where nothing was.
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
        """What sentences of the catalogue are said in."""
        return str(self.request.state.language)


class Handler(Protocol):
    """A function that does what was asked; its name is the operation's in the document."""

    __name__: str

    async def __call__(self, call: Call, /) -> Response:
        """Do it.

        Raises:
            NotDoneError: it cannot be done.
            MailError: likewise.
        """
        ...


@dataclass(frozen=True, slots=True)
class Gives:
    """An answer.

    Attributes:
        description: what it is.
        schema: of its JSON; None where it has none.
        media_type: of what it has instead; empty for nothing.
        headers: what it carries besides, with a description each.
    """

    description: str
    schema: Schema | None = None
    media_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked.

    Attributes:
        method: how.
        path: where, below `BASE`; with parameters of `mailslot_plugins.panel.api.places.PLACES`.
        handle: does it.
        summary: what it does, in a sentence.
        gives: what it answers where it can be done, by status.
        query: the schemas of its parameters behind the question mark.
        body: the schema of what is sent; None for nothing.
        conflicts: whether the device may not be in the state for it.
        guarded: whether ``If-Match`` is heeded.
    """

    method: Method
    path: str
    handle: Handler
    summary: str
    gives: Mapping[int, Gives]
    query: Mapping[str, Schema] = field(default_factory=dict[str, "Schema"])
    body: Schema | None = None
    conflicts: bool = False
    guarded: bool = False


def answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer of JSON."""
    return JSONResponse(value, status, headers)


def routes_of(operations: Iterable[Operation]) -> list[Route]:
    """Return the routes of operations, one for each path."""
    paths: dict[str, dict[str, Operation]] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method] = each
    return [
        Route(f"{BASE}{path}", partial(_answer, by_method), methods=[*by_method, "OPTIONS"])
        for path, by_method in paths.items()
    ]


async def _answer(by_method: Mapping[str, Operation], request: Request) -> Response:
    if request.method == "OPTIONS":
        allowed = [*by_method, "OPTIONS", *(["HEAD"] if "GET" in by_method else [])]
        return Response(status_code=204, headers={"Allow": ", ".join(sorted(allowed))})
    operation = by_method["GET" if request.method == "HEAD" else request.method]
    try:
        query = read_query(request.query_params, operation.query)
        body = await read_body(request, operation.body or _NOTHING) if operation.method in SENDS else {}
        return await operation.handle(Call(request, query, body))
    except NotDoneError as error:
        return problem(error.status, str(error), key=error.key, headers=error.headers)
    except MailError as error:
        return problem_of(error)
