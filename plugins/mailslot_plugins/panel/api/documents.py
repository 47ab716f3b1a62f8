"""What the API answers with: the documents of ``--json``, and the tasks that go on beside them, as JSON Schemas."""

from __future__ import annotations

from typing import Final, get_args

from mailslot.causes.cause import Actor
from mailslot.diagnosis.stages import STAGES
from mailslot.oauth.health import State as HealthState
from mailslot.slots.settings import SECRETS
from mailslot.slots.slot import PROTOCOLS, SLOTS
from mailslot.spool.incoming import MailState
from mailslot.spool.job import STATES, RecipientState
from mailslot_plugins.alerts.kinds import KINDS, SEVERITIES
from mailslot_plugins.panel.api.schema import (
    COUNT,
    FLAG,
    ID,
    NUMBER,
    TEXT,
    TEXTS,
    TIME,
    Schema,
    document,
    list_of,
    maybe,
    one_of,
    ref,
)
from mailslot_plugins.panel.token.sign_in import Step

SLOT: Final = one_of(*(slot.id for slot in SLOTS))
_RECORD: Final = one_of(*PROTOCOLS)
_PLACE: Final = {"slot": SLOT, "record": _RECORD}
_TOKEN: Final = one_of("Not Retrieved", "Retrieved")
_VALUES: Final[Schema] = {
    "type": "object",
    "additionalProperties": {"type": ["string", "integer", "boolean", "array", "null"]},
    "description": "What holds, by key; null where nothing is set.",
}
_FROM: Final[Schema] = {
    "type": "object",
    "additionalProperties": TEXT,
    "description": "Where a value is from that is not in the file, by key.",
}
_STAGE: Final = one_of(*STAGES)
_STAGES: Final = list_of(document(name=_STAGE, ok=maybe(FLAG), seconds=NUMBER, note=TEXT))

_HEALTH: Final = document(
    state=one_of(*get_args(HealthState)),
    cause=maybe(TEXT),
    sentence=TEXT,
    account=maybe(TEXT),
    scopes=TEXTS,
    obtained_at=maybe(TIME),
    expires_at=maybe(TIME),
    renewed_at=maybe(TIME),
    renewal_days_left=maybe(NUMBER),
    secret_expires_at=maybe(TIME),
    notes=TEXTS,
)

_SLOT_TOKEN: Final = {
    **_PLACE,
    "path": {**TEXT, "description": "Where the slot is on the device's menu."},
    "protocol": one_of("SMTP", "POP"),
    "authentication": one_of("none", "password", "pop_before_smtp", "oauth2"),
    "token": _TOKEN,
    "health": maybe(_HEALTH),
}

DOCUMENTS: Final[dict[str, Schema]] = {
    "Problem": {
        **document(
            title={**TEXT, "description": "What is the matter, in one sentence."},
            status={"type": "integer"},
            cause={**maybe(TEXT), "description": "The id of the cause, as in the catalogue of causes."},
            stage=maybe(TEXT),
            detail={**TEXT, "description": "For an engineer; may be empty."},
            key={**TEXT, "description": "The field, parameter or header that it is about; may be empty."},
        ),
        "description": "RFC 9457.",
    },
    "Device": document(
        name=TEXT,
        model=TEXT,
        serial_number=TEXT,
        location=TEXT,
        language=TEXT,
        version=TEXT,
        now=TIME,
        settings_fault={**TEXT, "description": "Why the settings file as it is now cannot be used; mostly empty."},
        metrics={**TEXT, "description": "The address of the numbers for Prometheus."},
    ),
    "Health": document({"message": TEXT}, status=one_of("ok", "failing")),
    "Slot": document(
        **_SLOT_TOKEN,
        last_test=maybe(document(at=TIME, ok=FLAG, stage=maybe(_STAGE), cause=TEXT, worked_at=maybe(TIME))),
    ),
    "Token": document(**_SLOT_TOKEN),
    "Settings": document(
        {
            "notes": {**TEXTS, "description": "What was understood otherwise than it was entered, or removed with it."},
            "dropped": {**TEXTS, "description": "The secrets that a change has removed, as they would go elsewhere."},
        },
        **_PLACE,
        settings=_VALUES,
        **{"from": _FROM},
        secrets={
            **document(**dict.fromkeys(SECRETS, maybe(FLAG))),
            "description": "Whether each is set; null where that cannot be read.",
        },
    ),
    "Deletion": document(
        **_PLACE, token=_TOKEN, told={**FLAG, "description": "Whether the provider was told."}, message=TEXT
    ),
    "SignIn": document(
        **_PLACE,
        way=one_of("browser", "device", "paste", "app", "source"),
        state=one_of(*get_args(Step)),
        running=FLAG,
        address={**maybe(TEXT), "description": "What to open on another device."},
        address_complete={**maybe(TEXT), "description": "The same with the code in it, where the provider has one."},
        user_code={**maybe(TEXT), "description": "What to enter there."},
        expires_at={**maybe(TIME), "description": "Until when the code is good."},
        problem=maybe(ref("Problem")),
    ),
    "Test": document(**_PLACE, running=FLAG, send=FLAG, stages=_STAGES, result=maybe(ref("TestResult"))),
    "TestResult": document(
        **_PLACE,
        at=TIME,
        ok=FLAG,
        stage=maybe(_STAGE),
        cause=TEXT,
        message=TEXT,
        advice=TEXT,
        actor=maybe(one_of(*get_args(Actor))),
        token_helps=FLAG,
        detail=TEXT,
        stages=_STAGES,
        transcript=TEXTS,
        warnings=list_of(document(cause=TEXT, message=TEXT, advice=TEXT)),
    ),
    "Poll": document(**_PLACE, running=FLAG, result=maybe(ref("PollResult")), problem=maybe(ref("Problem"))),
    "PollResult": document(
        **_PLACE,
        at=NUMBER,
        ok=FLAG,
        cause=maybe(TEXT),
        message=TEXT,
        advice=TEXT,
        listed=COUNT,
        fetched=COUNT,
        copies=COUNT,
        deleted=COUNT,
        passed_over=COUNT,
        refused=COUNT,
        left=COUNT,
        notes=TEXTS,
        handled=list_of(
            document(
                mail=ID,
                uid=TEXT,
                size=COUNT,
                sender=TEXT,
                subject=TEXT,
                outcome=one_of("done", "set_aside", "later"),
                note=TEXT,
            )
        ),
    ),
    "Job": document(
        id=ID,
        pipeline=TEXT,
        via=TEXT,
        state=one_of(*STATES),
        sender=TEXT,
        recipients=TEXTS,
        delivery=list_of(
            document(address=TEXT, state=one_of(*get_args(RecipientState)), reply=TEXT, cause=maybe(TEXT))
        ),
        subject=TEXT,
        size=COUNT,
        message_id=TEXT,
        cause=maybe(TEXT),
        message=TEXT,
        reply=TEXT,
        attempts=COUNT,
        created_at=TIME,
        changed_at=TIME,
        next_attempt=maybe(TIME),
        expires_at=maybe(TIME),
        notes={"type": "object", "additionalProperties": TEXT},
    ),
    "Mail": document(
        id=ID,
        record=_RECORD,
        uid=TEXT,
        state=one_of(*get_args(MailState)),
        **{"from": TEXT},
        subject=TEXT,
        size=COUNT,
        pages=maybe(COUNT),
        tries=COUNT,
        received_at=TIME,
        due_at=maybe(TIME),
        reason=TEXT,
    ),
    "Alert": document(
        id=TEXT,
        kind=one_of(*KINDS),
        title=TEXT,
        part=TEXT,
        detail=TEXT,
        severity=one_of(*SEVERITIES),
        state=one_of("new", "open", "ending"),
        since=TIME,
        gone_since=maybe(TIME),
        told_at=maybe(TIME),
        sources=TEXTS,
        mail=maybe(document(job=maybe(ID), state=TEXT, cause=maybe(TEXT), sentence=TEXT)),
    ),
    "Recorded": document(
        kind=one_of(*KINDS),
        part=maybe(TEXT),
        waits={**TEXT, "description": "Why the mail about it waits; empty where it does not, or is not due."},
    ),
    "Section": document(
        section=TEXT,
        settings=_VALUES,
        **{"from": _FROM},
        secrets={
            "type": "object",
            "additionalProperties": FLAG,
            "description": "Of settings that are not shown, whether they are set.",
        },
    ),
    "Plugin": document(
        group=TEXT,
        kind=TEXT,
        name=TEXT,
        distribution=TEXT,
        version=TEXT,
        state=one_of("active", "available", "missing_extra", "failed"),
        extra=maybe(TEXT),
        message=TEXT,
        detail=TEXT,
        used_by=TEXTS,
    ),
}
"""By the name that they have in the document."""
