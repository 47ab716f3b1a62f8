"""The document that describes the API (OpenAPI 3.1), made from the operations themselves."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import mailslot
from mailslot_plugins.panel.api import alerts, device, jobs, sections, slots, tasks, token
from mailslot_plugins.panel.api.check import JSON, MERGE
from mailslot_plugins.panel.api.documents import DOCUMENTS
from mailslot_plugins.panel.api.operation import BASE, SENDS
from mailslot_plugins.panel.api.places import PLACES
from mailslot_plugins.panel.problem import PROBLEM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailslot_plugins.panel.api.operation import Gives, Operation

GROUPS: Final = {
    "slots": slots.operations,
    "token": token.operations,
    "test and poll": tasks.operations,
    "jobs and mail": jobs.operations,
    "alerts": alerts.operations,
    "sections": sections.operations,
    "device": device.operations,
}
"""All operations, by what they are about."""

_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_SECTION: Final = "{section}"
_KEY: Final = "key"

_PROBLEMS: Final = {
    400: "What was sent is not JSON.",
    401: "No key was shown, or none that is good.",
    403: "A session has not shown the token of its forms, the request comes from another site, or whoever has made it "
    "may not set this.",
    404: "There is no such thing.",
    408: "What was sent did not come in time.",
    409: "The device is not in the state for it.",
    412: "Somebody has changed it since.",
    413: "Too much was sent.",
    415: "What was sent is of another type.",
    422: "A field or parameter is not known, or its value not allowed.",
    503: "The device cannot do it now, such as where a file cannot be written.",
}

_ABOUT: Final = """\
What the pages of the panel show and do, for programs. Show a key, which is made on the page Device, as \
`Authorization: Bearer KEY`. The session of a browser does as well, with the token of its forms as `X-CSRF-Token` \
wherever something changes.

What cannot be done is answered by a problem document (RFC 9457), whose `title` is the one sentence for a person.\
"""


@cache
def openapi() -> dict[str, Any]:
    """Return the document. Every plugin is loaded for it: call it in a thread."""
    paths: dict[str, dict[str, Any]] = {}
    for tag, operations in GROUPS.items():
        for name, each in (named for operation in operations for named in _spelt_out(operation)):
            paths.setdefault(f"{BASE}{each.path}", {})[each.method.lower()] = _operation(name, each, tag)
    return {
        "openapi": "3.1.0",
        "info": {"title": "mailslot", "version": mailslot.__version__, "description": _ABOUT},
        "security": [{_KEY: []}],
        "tags": [{"name": tag} for tag in GROUPS],
        "paths": paths,
        "components": {
            "securitySchemes": {_KEY: {"type": "http", "scheme": "bearer", "description": "A key to the API."}},
            "schemas": DOCUMENTS,
        },
    }


def _spelt_out(operation: Operation) -> Iterator[tuple[str, Operation]]:
    """Give an operation with its name; one on any section as one on each, since they have little in common."""
    name = operation.handle.__name__
    if _SECTION not in operation.path:
        yield name, operation
        return
    for section in sections.all_sections():
        body = None if operation.body is None else sections.change_schema(section)
        yield (
            f"{name}_{section.name}",
            replace(operation, path=operation.path.replace(_SECTION, section.name), body=body),
        )


def _operation(name: str, operation: Operation, tag: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": name,
        "tags": [tag],
        "summary": operation.summary,
        "parameters": [*_of_path(operation), *_of_query(operation)],
        "responses": {str(status): _gives(gives) for status, gives in operation.gives.items()}
        | {
            str(status): {"description": _PROBLEMS[status], "content": {PROBLEM: {"schema": _ref("Problem")}}}
            for status in problems(operation)
            if status not in operation.gives
        },
    }
    if operation.guarded:
        text = "The ETag of what is to be changed: it is refused where somebody else has changed it since."
        found["parameters"].append(
            {"name": "If-Match", "in": "header", "description": text, "schema": {"type": "string"}}
        )
    if operation.body is not None:
        types = (JSON, MERGE) if operation.method == "PATCH" else (JSON,)
        found["requestBody"] = {
            "content": {each: {"schema": operation.body} for each in types},
            "required": bool(operation.body["required"]),
        }
    return found


def problems(operation: Operation) -> list[int]:
    """Return the statuses of what can be in the way of an operation."""
    found = {401, 408, 413, 422, 503}
    if operation.method != "GET":
        found.add(403)
    if "{" in operation.path:
        found.add(404)
    if operation.method in SENDS:
        found |= {400, 415}
    if operation.conflicts:
        found.add(409)
    if operation.guarded:
        found.add(412)
    return sorted(found)


def _of_path(operation: Operation) -> list[dict[str, Any]]:
    names = _PARAMETER.findall(operation.path)
    return [{"name": name, "in": "path", "required": True, "schema": PLACES[name]} for name in names]


def _of_query(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "query",
            "description": schema.get("description", ""),
            "schema": {word: value for word, value in schema.items() if word != "description"},
        }
        for name, schema in operation.query.items()
    ]


def _gives(gives: Gives) -> dict[str, Any]:
    found: dict[str, Any] = {"description": gives.description}
    if gives.schema is not None:
        found["content"] = {JSON: {"schema": gives.schema}}
    elif gives.media_type:
        found["content"] = {gives.media_type: {}}
    if gives.headers:
        found["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in gives.headers.items()
        }
    return found


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
