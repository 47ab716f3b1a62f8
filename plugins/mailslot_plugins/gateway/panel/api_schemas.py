"""The schemas of the requests and responses of the gateway's API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.slots.gateway.device_entry import DEVICE_KEYS
from mailslot.slots.gateway.listeners import LISTENER_KEYS
from mailslot_plugins.panel.api.json_schema import (
    BOOLEAN,
    COUNT,
    DATE_TIME,
    STRING,
    STRINGS,
    Schema,
    closed_object_schema,
    enum_of,
    list_of,
    nullable,
    object_schema,
    setting_schema,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.slots.keys import Key

_NAME: Final[Schema] = {
    "type": "string",
    "pattern": "^[a-z0-9][a-z0-9_-]{0,39}$",
    "examples": ["copier", "copier-2nd-floor"],
    "description": "Lower-case letters, digits, - and _, at most 40, beginning with a letter or digit.",
}
_SECURITY: Final = enum_of("none", "starttls", "tls")
_PROTOCOL: Final = enum_of("smtp", "pop3")
_PORT: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 65535}
_SECRET: Final[Schema] = {
    **STRING,
    "writeOnly": True,
    "description": "A password of your own; without it, one is made.",
}

PATH_PARAMETERS: Final[Mapping[str, Schema]] = {"device": _NAME, "listener": _NAME, "account": _NAME}
"""The schemas of the parameters in the paths, by name."""


def _settings(keys: Mapping[str, Key]) -> dict[str, Schema]:
    """Return the schemas of settings in a request of the administrator."""
    # In other requests, settings that an API key may not change are read-only; these need the administrator anyway.
    return {name: {k: v for k, v in setting_schema(key).items() if k != "readOnly"} for name, key in keys.items()}


_DEVICE_SETTINGS: Final = _settings(DEVICE_KEYS)

NEW_DEVICE: Final = closed_object_schema(
    {
        **_DEVICE_SETTINGS,
        "password": _SECRET,
        "apop": {**BOOLEAN, "description": "Whether to keep the password recoverable, as APOP needs it."},
    },
    name=_NAME,
)

CHANGED_DEVICE: Final = closed_object_schema(_DEVICE_SETTINGS)

ADOPTION: Final = closed_object_schema(
    {key: schema for key, schema in _DEVICE_SETTINGS.items() if key != "address"},
    name=_NAME,
    from_address={**STRING, "maxLength": 255, "description": "Where it came from."},
)

NEW_PASSWORD: Final = closed_object_schema({"password": _SECRET})

NEW_LISTENER: Final = closed_object_schema(
    {key: schema for key, schema in _settings(LISTENER_KEYS).items() if key != "listen"},
    name=_NAME,
    listen={**STRING, "description": LISTENER_KEYS["listen"].allowed},
)

NEW_ACCOUNT: Final = closed_object_schema({"protocol": _PROTOCOL}, name=_NAME)

_DIALOGUE: Final = {
    "at": DATE_TIME,
    "listener": STRING,
    "address": STRING,
    "tls": STRING,
    "ok": BOOLEAN,
    "cause": STRING,
    "verdict": STRING,
    "messages": COUNT,
}

SCHEMAS: Final[Mapping[str, Schema]] = {
    "AccountId": {**STRING, "pattern": r"^account\.[a-z0-9][a-z0-9_-]{0,39}$"},
    "GatewayDevice": object_schema(
        {"made_password": {**STRING, "description": "The password that was made; shown this once."}},
        name=_NAME,
        protocol=_PROTOCOL,
        address=nullable(STRINGS),
        user=nullable(STRING),
        certificate={**nullable(STRINGS), "description": "The SHA-256 fingerprints of its certificates."},
        listener=nullable(STRING),
        via=STRING,
        sender=STRING,
        to=nullable(STRINGS),
        limit=STRINGS,
        size=nullable(COUNT),
        notify=nullable(STRING),
        password={
            **nullable(enum_of("made", "chosen", "recoverable", "unreadable")),
            "description": "How its password is kept; null without one.",
        },
        last=nullable(object_schema(**_DIALOGUE)),
        enter=list_of(
            object_schema(
                listener=_NAME, host=STRING, port=_PORT, security=_SECURITY, user=nullable(STRING), legacy=BOOLEAN
            )
        ),
        check_interval={
            **nullable(COUNT),
            "description": "Every how many minutes its mail is looked for; 0 by hand only, null for one that sends.",
        },
        **{"from": STRINGS},
    ),
    "DevicePassword": object_schema(name=_NAME, made_password=nullable(STRING)),
    "Dialogue": object_schema(**_DIALOGUE, lines=STRINGS),
    "UnknownDevice": object_schema(
        address=STRING,
        listener=STRING,
        helo=STRING,
        user=STRING,
        tls=STRING,
        verdict=STRING,
        cause=STRING,
        first_at=DATE_TIME,
        last_at=DATE_TIME,
        count=COUNT,
    ),
    "Listener": object_schema(
        name=_NAME,
        listen=STRING,
        host=STRING,
        port={**_PORT, "description": "0 where the service takes it from the system, and was never started."},
        protocol=_PROTOCOL,
        security=_SECURITY,
        legacy=BOOLEAN,
        certificate=nullable(STRING),
        key=nullable(STRING),
        devices=list_of(_NAME),
        error={**nullable(STRING), "description": "Why it could not be opened, or not with its new certificate."},
        certificates=list_of(
            object_schema(
                subject=STRING,
                names=STRINGS,
                issuer=STRING,
                fingerprint={**STRING, "description": "SHA-256 of it in DER, in lower-case hexadecimal."},
                key_type={**STRING, "description": "RSA, ECDSA, or empty for any other."},
                valid_from=DATE_TIME,
                valid_until=DATE_TIME,
                generated={**BOOLEAN, "description": "Whether mailslot has made it; else it is from the settings."},
            )
        ),
    ),
}
"""The schemas of the responses, by name."""
