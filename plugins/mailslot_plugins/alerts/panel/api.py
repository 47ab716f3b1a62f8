"""``/api/alerts`` and ``/api/test-mail``: list, raise and clear alarms, and send a test mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.service.json_documents import job_document
from mailslot_plugins.alerts.alarms import Alarms
from mailslot_plugins.alerts.incident_rows import incident_rows
from mailslot_plugins.alerts.kinds import KINDS, SEVERITIES, find_kind
from mailslot_plugins.alerts.test_mail import send_test_mail
from mailslot_plugins.panel.api.json_schema import (
    DATE_TIME,
    ID,
    STRING,
    STRINGS,
    closed_object_schema,
    enum_of,
    list_of,
    nullable,
    object_schema,
    schema_ref,
)
from mailslot_plugins.panel.api.operation import Operation, ResponseSpec, json_response
from mailslot_plugins.panel.problem import ProblemError

if TYPE_CHECKING:
    from starlette.responses import Response

    from mailslot_plugins.alerts.kinds import AlertKind
    from mailslot_plugins.panel.api.operation import Call

_SOURCE: Final = "api"


async def list_alerts(call: Call) -> Response:
    """Return the open incidents."""
    _, rows = await incident_rows(call.device, Alarms(call.device))
    return json_response(rows)


async def raise_alert(call: Call) -> Response:
    """Raise an alarm."""
    kind, part = _kind(call).name, call.body.get("part", "")
    waits = await Alarms(call.device).raise_(kind, part=part, detail=call.body.get("detail", ""), source=_SOURCE)
    return json_response({"kind": kind, "part": part, "waits": waits})


async def clear_alert(call: Call) -> Response:
    """Clear an alarm, whatever raised it."""
    kind, part = _kind(call).name, call.query.get("part")
    return json_response({"kind": kind, "part": part, "waits": await Alarms(call.device).clear(kind, part=part)})


async def test_alerts(call: Call) -> Response:
    """Send a test mail to the recipients of alarms."""
    job = await send_test_mail(call.device)
    return json_response(job_document(job), 202, {"Location": f"/api/jobs/{job.id}"})


def _kind(call: Call) -> AlertKind:
    """Return the kind of alarm that the path names.

    Raises:
        ProblemError: 404, there is no such kind.
    """
    try:
        return find_kind(call.request.path_params["kind"])
    except InputError as error:
        raise ProblemError(404, str(error), key="kind") from None


path_parameters = {"kind": enum_of(*KINDS)}

schemas = {
    "Alert": object_schema(
        id=STRING,
        kind=enum_of(*KINDS),
        title=STRING,
        part=STRING,
        detail=STRING,
        severity=enum_of(*SEVERITIES),
        state=enum_of("new", "open", "ending"),
        since=DATE_TIME,
        gone_since=nullable(DATE_TIME),
        told_at=nullable(DATE_TIME),
        sources=STRINGS,
        mail=nullable(object_schema(job=nullable(ID), state=STRING, cause=nullable(STRING), sentence=STRING)),
    ),
    "Recorded": object_schema(
        kind=enum_of(*KINDS),
        part=nullable(STRING),
        waits={**STRING, "description": "Why the mail about it waits; empty where it does not, or is not due."},
    ),
}

operations = (
    Operation(
        "GET",
        "/alerts",
        list_alerts,
        "List the alarms that are open.",
        {200: ResponseSpec("The alarms.", list_of(schema_ref("Alert")))},
    ),
    Operation(
        "POST",
        "/alerts/{kind}",
        raise_alert,
        "Raise an alarm. It is mailed once, however often it is raised.",
        {200: ResponseSpec("It is recorded.", schema_ref("Recorded"))},
        body=closed_object_schema(
            {
                "part": {
                    **STRING,
                    "maxLength": 60,
                    "description": "Which part it is about, such as black.",
                },
                "detail": {**STRING, "maxLength": 500, "description": "More about it, for the mail."},
            }
        ),
    ),
    Operation(
        "POST",
        "/test-mail",
        test_alerts,
        "Send a test mail to the recipients of alarms.",
        {202: ResponseSpec("Its job.", schema_ref("Job"), headers={"Location": "The job."})},
        conflicts=True,
    ),
    Operation(
        "DELETE",
        "/alerts/{kind}",
        clear_alert,
        "Clear an alarm.",
        {200: ResponseSpec("It is recorded.", schema_ref("Recorded"))},
        query={"part": {**STRING, "maxLength": 60, "description": "Which part; all of them without it."}},
    ),
)
