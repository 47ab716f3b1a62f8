"""Building blocks for the API's JSON Schemas (draft 2020-12, as used by OpenAPI 3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mailslot.slots.keys import schema
from mailslot.slots.permission import least_role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.slots.keys import Key, SetterRole

Schema = dict[str, Any]

STRING: Final[Schema] = {"type": "string"}
BOOLEAN: Final[Schema] = {"type": "boolean"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
NUMBER: Final[Schema] = {"type": "number"}
DATE_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
STRINGS: Final[Schema] = {"type": "array", "items": STRING}

ID: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}


def enum_of(*words: str) -> Schema:
    """Return the schema of one of several strings."""
    return {"enum": list(words)}


def nullable(schema: Schema) -> Schema:
    """Return a schema that also allows null."""
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    if "type" in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def list_of(schema: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": schema}


def object_schema(optional: Mapping[str, Schema] | None = None, /, **members: Schema) -> Schema:
    """Return the schema of an object, which may have additional members.

    Args:
        optional: optional members.
        members: required members.
    """
    return {"type": "object", "properties": {**members, **(optional or {})}, "required": list(members)}


def closed_object_schema(optional: Mapping[str, Schema] | None = None, /, **members: Schema) -> Schema:
    """Return the schema of an object in a request: like `object_schema`, but without additional members."""
    return {**object_schema(optional, **members), "additionalProperties": False}


def schema_ref(name: str) -> Schema:
    """Return a reference to a schema of any group, by name."""
    return {"$ref": f"#/components/schemas/{name}"}


def setting_schema(key: Key) -> Schema:
    """Return the schema of a setting; it is read-only if an API key may not change it."""
    found = nullable(schema(key))
    if key.private:
        found["writeOnly"] = True
    if needs := _NOT_BY_KEY.get(least_role(key)):
        found |= {"readOnly": True, "description": f"{found['description']}. {needs}"}
    elif key.set_by is not None:
        found["description"] += ". Some values can only be set on the device itself."
    return found


_NOT_BY_KEY: Final[Mapping[SetterRole, str]] = {
    "administrator": "Only the administrator can set it, in the panel.",
    "local": "It can only be set on the device itself.",
}
