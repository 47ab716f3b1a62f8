"""The OpenAPI 3.1 document of the API, generated from its operations."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import mailslot
from mailslot_plugins.panel.api import device, jobs, received, sections, slots, tasks, token
from mailslot_plugins.panel.api.group import OperationGroup, load_pipeline_groups
from mailslot_plugins.panel.api.operation import BASE, METHODS_WITH_BODY
from mailslot_plugins.panel.api.path_parameters import PATH_PARAMETERS
from mailslot_plugins.panel.api.schemas import SCHEMAS
from mailslot_plugins.panel.api.validation import JSON, MERGE
from mailslot_plugins.panel.problem import PROBLEM_JSON
from mailslot_plugins.panel.send.form_data import MEDIA_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mailslot_plugins.panel.api.json_schema import Schema
    from mailslot_plugins.panel.api.operation import Operation, ResponseSpec

OWN_GROUPS: Final = (
    OperationGroup("slots", slots.operations, PATH_PARAMETERS, SCHEMAS),
    OperationGroup("token", token.operations),
    OperationGroup("test and poll", tasks.operations),
    OperationGroup("jobs and mail", (*jobs.operations, *received.operations)),
    OperationGroup("sections", sections.operations),
    OperationGroup("device", device.operations),
)
"""The panel's own operations. The first group brings the parameters and schemas for all of them."""

_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_SECTION: Final = "{section}"
_KEY: Final = "key"

_PROBLEMS: Final = {
    400: "The request is not JSON.",
    401: "No key was sent, or an invalid one.",
    403: "The request lacks the CSRF token of its session, comes from another site, or may not set or read this.",
    404: "It does not exist.",
    408: "The request did not arrive in time.",
    409: "The state of the device does not allow it.",
    412: "Somebody else has changed it in the meantime.",
    413: "The request is too large.",
    415: "The request has the wrong content type.",
    422: "A field or parameter is unknown, or its value is not allowed.",
    503: "The device cannot do it now, for example because a file cannot be written.",
}

_ABOUT: Final = """\
The functions of the panel's pages, for programs. Send an API key, created on the Device page, as \
`Authorization: Bearer KEY`. A browser session works, too, with its CSRF token as `X-CSRF-Token` for every change.

Errors are problem documents (RFC 9457), whose `title` is one sentence for a person.\
"""


def load_groups() -> tuple[OperationGroup, ...]:
    """Return the panel's own operations and those of pipelines. Pipelines are loaded: call it in a thread."""
    return (*OWN_GROUPS, *load_pipeline_groups(OWN_GROUPS))


@lru_cache(maxsize=1)
def openapi(groups: tuple[OperationGroup, ...]) -> dict[str, Any]:
    """Return the OpenAPI document. All plugins are loaded, for their settings: call it in a thread.

    Args:
        groups: the operations, as `load_groups` returns them.
    """
    parameters = {name: schema for group in groups for name, schema in group.path_parameters.items()}
    paths: dict[str, dict[str, Any]] = {}
    for group in groups:
        for name, each in (named for operation in group.operations for named in _expand_sections(operation)):
            method = _operation(name, each, group.name, parameters)
            paths.setdefault(f"{BASE}{each.path}", {})[each.method.lower()] = method
    return {
        "openapi": "3.1.0",
        "info": {"title": "mailslot", "version": mailslot.__version__, "description": _ABOUT},
        "security": [{_KEY: []}],
        "tags": [{"name": group.name} for group in groups],
        "paths": paths,
        "components": {
            "securitySchemes": {_KEY: {"type": "http", "scheme": "bearer", "description": "An API key."}},
            "schemas": {name: schema for group in groups for name, schema in group.schemas.items()},
        },
    }


def _expand_sections(operation: Operation) -> Iterator[tuple[str, Operation]]:
    """Yield an operation with its id; an operation on sections once for each, since their settings differ."""
    name = operation.handler.__name__
    if _SECTION not in operation.path:
        yield name, operation
        return
    for section in sections.all_sections():
        body = None if operation.body is None else sections.change_schema(section)
        yield (
            f"{name}_{section.name}",
            replace(operation, path=operation.path.replace(_SECTION, section.name), body=body),
        )


def _operation(name: str, operation: Operation, tag: str, parameters: Mapping[str, Schema]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": name,
        "tags": [tag],
        "summary": operation.summary,
        "parameters": [
            *_path_parameters(operation, parameters),
            *_named_parameters("query", operation.query),
            *_named_parameters("header", operation.headers),
        ],
        "responses": {str(status): _response(spec) for status, spec in operation.responses.items()}
        | {
            str(status): {"description": _PROBLEMS[status], "content": {PROBLEM_JSON: {"schema": _ref("Problem")}}}
            for status in problem_statuses(operation)
            if status not in operation.responses
        },
    }
    if operation.conditional:
        text = "The ETag of the version to change; the request is refused if somebody else has changed it since."
        found["parameters"].append(
            {"name": "If-Match", "in": "header", "description": text, "schema": {"type": "string"}}
        )
    if operation.body is not None:
        types = (JSON, MERGE) if operation.method == "PATCH" else (JSON,)
        found["requestBody"] = {
            "content": {each: {"schema": operation.body} for each in types},
            "required": bool(operation.body["required"]),
        }
    if operation.form is not None:
        found["requestBody"] = {"content": {MEDIA_TYPE: {"schema": operation.form()}}, "required": True}
    return found


def problem_statuses(operation: Operation) -> list[int]:
    """Return the statuses of the problems that an operation can return."""
    found = {401, 408, 413, 422, 503}
    if operation.method != "GET" or operation.reads_documents:
        found.add(403)
    if "{" in operation.path:
        found.add(404)
    if operation.method in METHODS_WITH_BODY:
        found |= {400, 415}
    if operation.conflicts:
        found.add(409)
    if operation.conditional:
        found.add(412)
    return sorted(found)


def _path_parameters(operation: Operation, schemas: Mapping[str, Schema]) -> list[dict[str, Any]]:
    names = _PARAMETER.findall(operation.path)
    return [{"name": name, "in": "path", "required": True, "schema": schemas[name]} for name in names]


def _named_parameters(place: str, schemas: Mapping[str, Schema]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": place,
            "description": schema.get("description", ""),
            "schema": {word: value for word, value in schema.items() if word != "description"},
        }
        for name, schema in schemas.items()
    ]


def _response(spec: ResponseSpec) -> dict[str, Any]:
    found: dict[str, Any] = {"description": spec.description}
    if spec.schema is not None:
        found["content"] = {JSON: {"schema": spec.schema}}
    elif spec.media_type:
        found["content"] = {spec.media_type: {}}
    if spec.headers:
        found["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in spec.headers.items()
        }
    return found


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
