"""Pieces that the JSON Schemas of the API are put together from (draft 2020-12, as OpenAPI 3.1 has it)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mailslot.slots.keys import schema
from mailslot.slots.permission import least_role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.slots.keys import Key, SetterRole

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
FLAG: Final[Schema] = {"type": "boolean"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
NUMBER: Final[Schema] = {"type": "number"}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
TEXTS: Final[Schema] = {"type": "array", "items": TEXT}

ID: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}


def one_of(*words: str) -> Schema:
    """Return the schema of one of several words."""
    return {"enum": list(words)}


def maybe(schema: Schema) -> Schema:
    """Return the schema of what may also be null."""
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    if "type" in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def list_of(schema: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": schema}


def document(optional: Mapping[str, Schema] | None = None, /, **members: Schema) -> Schema:
    """Return the schema of an object.

    Args:
        optional: members that it may have; others that nobody named are allowed besides.
        members: those that it has.
    """
    return {"type": "object", "properties": {**members, **(optional or {})}, "required": list(members)}


def entry(optional: Mapping[str, Schema] | None = None, /, **members: Schema) -> Schema:
    """Return the schema of an object that somebody sends: as `document`, and with nothing else in it."""
    return {**document(optional, **members), "additionalProperties": False}


def ref(name: str) -> Schema:
    """Return a reference to one of `mailslot_plugins.panel.api.documents.DOCUMENTS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def setting(key: Key) -> Schema:
    """Return the schema of a setting that a key to the API may change, or may send back as it was."""
    found = maybe(schema(key))
    if key.private:
        found["writeOnly"] = True
    if needs := _NOT_BY_KEY.get(least_role(key)):
        found |= {"readOnly": True, "description": f"{found['description']}. {needs}"}
    elif key.set_by is not None:
        found["description"] += ". Some values are set on the device itself only."
    return found


_NOT_BY_KEY: Final[Mapping[SetterRole, str]] = {
    "administrator": "The administrator sets it, in the panel.",
    "local": "It is set on the device itself.",
}
