"""The form of a device, and its conversion to and from the values of its table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import InputError
from mailslot.slots.gateway.device_entry import DEVICE_KEYS
from mailslot.slots.keys import json_value, parse_value
from mailslot.slots.overview import as_text
from mailslot.slots.slot import is_valid_name
from mailslot_plugins.gateway.panel.overview import FOLDER
from mailslot_plugins.panel.render import text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.datastructures import FormData
    from starlette.requests import Request

    from mailslot.slots.gateway.device_entry import DeviceEntry

IDENTITIES: Final = ("user", "address", "both")
"""How a device identifies itself: by a user with a password, by its address, or by both."""

AUDIENCES: Final = ("domain", "some", "anyone")
"""The recipients that a device may send to: in the account's domain, some addresses, or anyone."""

FURTHER: Final = ("listener", "sender", "limit", "size", "notify")
"""The settings in the collapsed part of the form."""

_ANYONE: Final = ("*",)


@dataclass(frozen=True, slots=True)
class DeviceForm:
    """The entered values.

    Attributes:
        name: the device's name.
        identity: one of `IDENTITIES`.
        audience: one of `AUDIENCES`.
        fields: the other fields, as text by key.
        errors: the errors by field; the key is empty for errors that belong to no field.
    """

    name: str = ""
    identity: str = "user"
    audience: str = "domain"
    fields: Mapping[str, str] = field(default_factory=dict[str, str])
    errors: dict[str, str] = field(default_factory=dict[str, str])

    def get(self, key: str) -> str:
        """Return the text of a field; empty if it is missing."""
        return self.fields.get(key, "")

    def values(self) -> dict[str, object | None]:
        """Return the values of the device's table; None for settings without a value."""
        values: dict[str, object | None] = {key: self.get(key) or None for key in (*FURTHER, "via", "from")}
        values["user"] = (self.get("user") or self.name) if self.identity in {"user", "both"} else None
        values["address"] = (self.get("address") or None) if self.identity in {"address", "both"} else None
        values["to"] = {"domain": None, "anyone": "*"}.get(self.audience, self.get("to") or None)
        return values


def read_form(form: FormData, name: str | None = None) -> DeviceForm:
    """Read the form of a request.

    Args:
        form: the form.
        name: the name of an existing device; None for a new one.
    """
    fields = {key: str(form.get(key, "")).strip() for key in DEVICE_KEYS}
    identity, audience = str(form.get("identity", "")), str(form.get("audience", ""))
    return DeviceForm(
        name=str(form.get("name", "")).strip().lower() if name is None else name,
        identity=identity if identity in IDENTITIES else "user",
        audience=audience if audience in AUDIENCES else "domain",
        fields=fields,
    )


def form_of(entry: DeviceEntry, values: Mapping[str, Any]) -> DeviceForm:
    """Return the form with the settings of a device.

    Args:
        entry: the device.
        values: the values of its table, without defaults.
    """
    fields = {key: as_text(json_value(values[key])) for key in DEVICE_KEYS if key in values}
    identity = "address" if entry.user is None else "both" if entry.addresses else "user"
    audience = "domain" if entry.recipients is None else "anyone" if entry.recipients == _ANYONE else "some"
    return DeviceForm(entry.name, identity, audience, fields)


def find_errors(request: Request, form: DeviceForm, *, certificate: bool = False) -> None:
    """Store the error of each field in a form.

    Args:
        request: the request, for the language.
        form: the form.
        certificate: whether a certificate identifies the device, too.
    """
    if not is_valid_name(form.name):
        form.errors["name"] = text(request, FOLDER, "name_wrong")
    for key, value in form.values().items():
        if key == "user" and not form.get(key):
            continue  # the name stands for it
        try:
            parse_value(DEVICE_KEYS, key, value)
        except InputError:
            form.errors[key] = text(request, FOLDER, "field_wrong")
    if form.identity in {"address", "both"} and not form.get("address") and not certificate:
        form.errors["address"] = text(request, FOLDER, "address_missing")
    if form.audience == "some" and not form.get("to"):
        form.errors["to"] = text(request, FOLDER, "to_missing")
