"""JSON Schemas of the API's responses: the documents of ``--json``, and the background tasks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, get_args

from mailslot.causes.cause import Actor
from mailslot.diagnosis.stages import STAGES
from mailslot.oauth.health import State as HealthState
from mailslot.slots.settings import SECRETS
from mailslot.slots.slot import PROTOCOLS, SLOTS
from mailslot.spool.incoming import MailState
from mailslot.spool.job import STATES, RecipientState
from mailslot_plugins.panel.api.json_schema import (
    BOOLEAN,
    COUNT,
    DATE_TIME,
    ID,
    NUMBER,
    STRING,
    STRINGS,
    Schema,
    enum_of,
    list_of,
    nullable,
    object_schema,
    schema_ref,
)
from mailslot_plugins.panel.token.sign_in import Step

if TYPE_CHECKING:
    from collections.abc import Iterable


def slot_id_schema(slots: Iterable[str]) -> Schema:
    """Return the schema of the id of a slot, an account or a record; an account's record has the account's id."""
    known = list(slots)
    pattern = "|".join([*map(re.escape, known), r"account\.[a-z0-9][a-z0-9_-]{0,39}"])
    return {**STRING, "pattern": f"^({pattern})$", "examples": [*known, "account.office"]}


SLOT_ID: Final = slot_id_schema(slot.id for slot in SLOTS)
_RECORD: Final = slot_id_schema(PROTOCOLS)
_PLACE: Final = {"slot": SLOT_ID, "record": _RECORD}
_TOKEN: Final = enum_of("Not Retrieved", "Retrieved")
_VALUES: Final[Schema] = {
    "type": "object",
    "additionalProperties": {"type": ["string", "integer", "boolean", "array", "null"]},
    "description": "The values in effect, by key; null if not set.",
}
_FROM: Final[Schema] = {
    "type": "object",
    "additionalProperties": STRING,
    "description": "The origin of each value that is not in the file, by key.",
}
_STAGE: Final = enum_of(*STAGES)
_STAGES: Final = list_of(object_schema(name=_STAGE, ok=nullable(BOOLEAN), seconds=NUMBER, note=STRING))

_HEALTH: Final = object_schema(
    state=enum_of(*get_args(HealthState)),
    cause=nullable(STRING),
    sentence=STRING,
    account=nullable(STRING),
    scopes=STRINGS,
    obtained_at=nullable(DATE_TIME),
    expires_at=nullable(DATE_TIME),
    renewed_at=nullable(DATE_TIME),
    renewal_days_left=nullable(NUMBER),
    secret_expires_at=nullable(DATE_TIME),
    flow={**nullable(STRING), "description": "The flow that it was obtained by."},
    client_id={**nullable(STRING), "description": "The application that it was given to."},
    tenant=nullable(STRING),
    flow_can_be_blocked={
        **BOOLEAN,
        "description": "Whether it dies if the organisation blocks its flow, which it may do at any time.",
    },
    notes=STRINGS,
)

_SLOT_TOKEN: Final = {
    **_PLACE,
    "path": {**STRING, "description": "The place of the slot in the device's menu."},
    "protocol": enum_of("SMTP", "POP"),
    "authentication": enum_of("none", "password", "pop_before_smtp", "oauth2"),
    "token": _TOKEN,
    "health": nullable(_HEALTH),
}

SCHEMAS: Final[dict[str, Schema]] = {
    "Problem": {
        **object_schema(
            title={**STRING, "description": "The error in one sentence."},
            status={"type": "integer"},
            cause={**nullable(STRING), "description": "The id of the cause."},
            stage=nullable(STRING),
            detail={**STRING, "description": "For an engineer; may be empty."},
            key={**STRING, "description": "The field, parameter or header concerned; may be empty."},
        ),
        "description": "RFC 9457.",
    },
    "Device": object_schema(
        name=STRING,
        model=STRING,
        serial_number=STRING,
        location=STRING,
        language=STRING,
        version=STRING,
        now=DATE_TIME,
        settings_fault={**STRING, "description": "Why the current settings file cannot be used; usually empty."},
        metrics={**STRING, "description": "The address of the metrics for Prometheus."},
    ),
    "Health": object_schema({"message": STRING}, status=enum_of("ok", "failing")),
    "Slot": object_schema(
        **_SLOT_TOKEN,
        last_test=nullable(
            object_schema(
                at=DATE_TIME,
                ok=BOOLEAN,
                stage=nullable(_STAGE),
                cause=STRING,
                outdated={**BOOLEAN, "description": "Whether the settings have changed since."},
                worked_at=nullable(DATE_TIME),
            )
        ),
    ),
    "Token": object_schema(**_SLOT_TOKEN),
    "Settings": object_schema(
        {
            "notes": {
                **STRINGS,
                "description": "Values that were interpreted differently, or removed.",
            },
            "dropped": {
                **STRINGS,
                "description": "The secrets that were removed, as they were for another server.",
            },
        },
        **_PLACE,
        settings=_VALUES,
        **{"from": _FROM},
        secrets={
            **object_schema(**dict.fromkeys(SECRETS, nullable(BOOLEAN))),
            "description": "Whether each is set; null if that cannot be read.",
        },
    ),
    "Deletion": object_schema(
        **_PLACE, token=_TOKEN, told={**BOOLEAN, "description": "Whether the provider was told."}, message=STRING
    ),
    "SignIn": object_schema(
        **_PLACE,
        way=enum_of("browser", "device", "paste", "app", "source"),
        warning={
            **nullable(STRING),
            "description": "Why another way is better, if an organisation may block this one.",
        },
        state=enum_of(*get_args(Step)),
        running=BOOLEAN,
        address={**nullable(STRING), "description": "The address to open on another device."},
        address_complete={
            **nullable(STRING),
            "description": "The same with the code in it, if the provider has one.",
        },
        user_code={**nullable(STRING), "description": "The code to enter there."},
        expires_at={**nullable(DATE_TIME), "description": "When the code expires."},
        problem=nullable(schema_ref("Problem")),
    ),
    "Test": object_schema(
        **_PLACE, running=BOOLEAN, send=BOOLEAN, stages=_STAGES, result=nullable(schema_ref("TestResult"))
    ),
    "TestResult": object_schema(
        **_PLACE,
        at=DATE_TIME,
        ok=BOOLEAN,
        stage=nullable(_STAGE),
        cause=STRING,
        message=STRING,
        advice=STRING,
        actor=nullable(enum_of(*get_args(Actor))),
        token_helps=BOOLEAN,
        settings={
            **STRINGS,
            "description": "Settings of the slot that may be wrong, KEY=VALUE each; … is what only a person knows.",
        },
        detail=STRING,
        stages=_STAGES,
        transcript=STRINGS,
        warnings=list_of(object_schema(cause=STRING, message=STRING, advice=STRING)),
    ),
    "Poll": object_schema(
        **_PLACE, running=BOOLEAN, result=nullable(schema_ref("PollResult")), problem=nullable(schema_ref("Problem"))
    ),
    "PollResult": object_schema(
        **_PLACE,
        at=NUMBER,
        ok=BOOLEAN,
        cause=nullable(STRING),
        message=STRING,
        advice=STRING,
        listed=COUNT,
        fetched=COUNT,
        copies=COUNT,
        deleted=COUNT,
        passed_over=COUNT,
        refused=COUNT,
        left=COUNT,
        notes=STRINGS,
        handled=list_of(
            object_schema(
                mail=ID,
                uid=STRING,
                size=COUNT,
                sender=STRING,
                subject=STRING,
                outcome=enum_of("done", "set_aside", "later"),
                note=STRING,
            )
        ),
    ),
    "Job": object_schema(
        id=ID,
        pipeline=STRING,
        via=STRING,
        state=enum_of(*STATES),
        sender=STRING,
        recipients=STRINGS,
        delivery=list_of(
            object_schema(
                address=STRING, state=enum_of(*get_args(RecipientState)), reply=STRING, cause=nullable(STRING)
            )
        ),
        subject=STRING,
        size=COUNT,
        message_id=STRING,
        cause=nullable(STRING),
        message=STRING,
        reply=STRING,
        attempts=COUNT,
        created_at=DATE_TIME,
        changed_at=DATE_TIME,
        next_attempt=nullable(DATE_TIME),
        expires_at=nullable(DATE_TIME),
        notes={"type": "object", "additionalProperties": STRING},
    ),
    "Mail": object_schema(
        id=ID,
        record=_RECORD,
        uid=STRING,
        state=enum_of(*get_args(MailState)),
        **{"from": STRING},
        subject=STRING,
        size=COUNT,
        pages=nullable(COUNT),
        tries=COUNT,
        received_at=DATE_TIME,
        due_at=nullable(DATE_TIME),
        reason=STRING,
    ),
    "MailDocument": object_schema(
        document=ID,
        name={**STRING, "description": "Its file name, made safe for any system."},
        type={**STRING, "description": "Its type, as the mail says, which may be wrong."},
        size=COUNT,
    ),
    "Section": object_schema(
        section=STRING,
        settings=_VALUES,
        **{"from": _FROM},
        secrets={
            "type": "object",
            "additionalProperties": BOOLEAN,
            "description": "Whether settings that are not shown are set.",
        },
    ),
    "Plugin": object_schema(
        group=STRING,
        kind=STRING,
        name=STRING,
        distribution=STRING,
        version=STRING,
        state=enum_of("active", "available", "missing_extra", "failed"),
        extra=nullable(STRING),
        message=STRING,
        detail=STRING,
        used_by=STRINGS,
    ),
}
"""The panel's own schemas, by their name in the OpenAPI document."""
