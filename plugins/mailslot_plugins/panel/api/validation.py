"""Validation of requests against JSON Schemas, as far as the module ``json_schema`` uses their keywords."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from mailslot.slots.keys import quoted_value, suggestion
from mailslot_plugins.panel.problem import ProblemError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.datastructures import QueryParams
    from starlette.requests import Request

    from mailslot_plugins.panel.api.json_schema import Schema

JSON: Final = "application/json"
MERGE: Final = "application/merge-patch+json"
"""JSON that changes what it names and leaves the rest (RFC 7396)."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_INTEGER: Final = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_KINDS: Final[Mapping[str, tuple[type, str]]] = {
    "object": (dict, "an object"),
    "array": (list, "a list"),
    "string": (str, "a text"),
    "integer": (int, "a whole number"),
    "boolean": (bool, "true or false"),
    "null": (type(None), "null"),
}


async def read_body(request: Request, schema: Schema) -> dict[str, Any]:
    """Return the JSON object in the body of a request; an empty one if there is no body.

    Args:
        request: the request; the size of its body has been limited before.
        schema: the schema of the object.

    Raises:
        ProblemError: 415, its type is not JSON; 400, it is not JSON; 422, it does not match the schema.
    """
    value: object = dict[str, Any]()
    if octets := await request.body():
        sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if sent not in {JSON, MERGE}:
            raise ProblemError(
                415, f"Send JSON, as {JSON}.", key="Content-Type", headers={"Accept": f"{JSON}, {MERGE}"}
            )
        value = _parse_json(octets)
    validate(schema, value, "")
    return cast("dict[str, Any]", value)


def read_query(query: QueryParams, schemas: Mapping[str, Schema]) -> dict[str, Any]:
    """Return the query parameters, each with its type.

    Raises:
        ProblemError: 422, a parameter is unknown, or does not match its schema.
    """
    found: dict[str, Any] = {}
    for name in query:
        if name not in schemas:
            _refuse(name, f"There is no parameter {quoted_value(name)}.{suggestion(name, schemas)}")
        texts, schema = query.getlist(name), schemas[name]
        if schema.get("type") == "array":
            found[name] = texts
        elif len(texts) > 1:
            _refuse(name, f"{name} is given {len(texts)} times.")
        else:
            whole = schema.get("type") == "integer" and _INTEGER.fullmatch(texts[0])
            found[name] = int(texts[0]) if whole else texts[0]
        validate(schema, found[name], name)
    return found


def validate(schema: Schema, value: object, name: str) -> None:
    """Check that a value matches a schema.

    Args:
        schema: the schema.
        value: the JSON value.
        name: the name of the field or parameter; empty for the whole document.

    Raises:
        ProblemError: 422, it does not match.
    """
    if "enum" in schema:
        if value not in schema["enum"] or isinstance(value, bool | int):
            words = ", ".join("null" if each is None else str(each) for each in schema["enum"])
            _refuse(name, f"{name} is {quoted_value(value)}; it must be one of {words}.")
        return
    kinds: list[str] = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    if not any(_has_type(kind, value) for kind in kinds):
        wanted = " or ".join(_KINDS[kind][1] for kind in kinds)
        _refuse(name, f"{name or 'What was sent'} {_given(schema, value)}must be {wanted}.")
    if isinstance(value, dict):
        _validate_members(schema, cast("dict[str, object]", value))
    elif isinstance(value, list):
        for element in cast("list[object]", value):
            validate(schema.get("items", {"type": "string"}), element, name)
    elif value is not None:
        if "pattern" in schema and re.search(schema["pattern"], str(value)) is None:
            _refuse(name, f"{name} {_given(schema, value)}must be one like {', '.join(schema['examples'])}.")
        _validate_bounds(schema, value, name)


def _validate_members(schema: Schema, value: Mapping[str, object]) -> None:
    known: Mapping[str, Schema] = schema["properties"]
    for key, member in value.items():
        if key not in known and schema.get("additionalProperties") is False:
            others = f" There are {', '.join(known)}." if known else " Nothing is sent here."
            hint = suggestion(key, known) or others
            _refuse(key, f"There is no field {quoted_value(key)}.{hint}")
        if key in known:
            validate(known[key], member, key)
    for key in schema["required"]:
        if key not in value:
            _refuse(key, f"{key} is missing.")


def _validate_bounds(schema: Schema, value: object, name: str) -> None:
    size = len(value) if isinstance(value, str) else value
    unit = " characters" if isinstance(value, str) else ""
    minimum, maximum = (schema.get(f"{which}Length" if unit else f"{which}imum") for which in ("min", "max"))
    if isinstance(size, int) and ((minimum is not None and size < minimum) or (maximum is not None and size > maximum)):
        bounds = " and ".join(
            f"at {word} {bound}" for word, bound in (("least", minimum), ("most", maximum)) if bound is not None
        )
        _refuse(
            name,
            f"{name} {_given(schema, value)}must have {bounds}{unit}." if unit else f"{name} must be {bounds}.",
        )


def _given(schema: Schema, value: object) -> str:
    """Return what an error says was sent; nothing of a secret, whatever JSON type it was sent as."""
    return "" if schema.get("writeOnly") else f"is {quoted_value(value)}; it "


def _has_type(kind: str, value: object) -> bool:
    return isinstance(value, _KINDS[kind][0]) and (kind == "boolean" or not isinstance(value, bool))


def _parse_json(octets: bytes) -> object:
    try:
        text = octets.decode()
        value: object = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_members)
        if _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
            raise ValueError
    except (ValueError, RecursionError):
        # The parser's message may quote the input, which may be a secret.
        raise ProblemError(400, "What was sent is not JSON in UTF-8, or names a member twice.") from None
    return value


def _unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found


def _refuse_constant(name: str) -> NoReturn:
    """Refuse ``NaN`` and ``Infinity``, which are not JSON (RFC 8259 section 6)."""
    raise ValueError(name)


def _refuse(key: str, sentence: str) -> NoReturn:
    raise ProblemError(422, sentence, key=key[:80] if key.isprintable() else "")
