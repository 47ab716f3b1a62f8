"""``/api/alerts``: alarms, raised and cleared by whatever watches the device, and a mail that tests them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.service.json_documents import job_document
from mailslot_plugins.alerts.alarms import Alarms
from mailslot_plugins.alerts.incident_rows import incident_rows
from mailslot_plugins.alerts.test_mail import send_test_mail
from mailslot_plugins.panel.api.operation import Gives, Operation, answer
from mailslot_plugins.panel.api.places import kind_in
from mailslot_plugins.panel.api.schema import TEXT, entry, list_of, ref

if TYPE_CHECKING:
    from starlette.responses import Response

    from mailslot_plugins.panel.api.operation import Call

_SOURCE: Final = "api"


async def list_alerts(call: Call) -> Response:
    """Answer with the incidents that are open."""
    _, rows = await incident_rows(call.device, Alarms(call.device))
    return answer(rows)


async def raise_alert(call: Call) -> Response:
    """Say that a condition is there."""
    kind, part = kind_in(call).name, call.body.get("part", "")
    waits = await Alarms(call.device).raise_(kind, part=part, detail=call.body.get("detail", ""), source=_SOURCE)
    return answer({"kind": kind, "part": part, "waits": waits})


async def clear_alert(call: Call) -> Response:
    """Say that a condition is gone, whoever has said that it is there."""
    kind, part = kind_in(call).name, call.query.get("part")
    return answer({"kind": kind, "part": part, "waits": await Alarms(call.device).clear(kind, part=part)})


async def test_alerts(call: Call) -> Response:
    """Have a test mail sent to those who are told of alarms."""
    job = await send_test_mail(call.device)
    return answer(job_document(job), 202, {"Location": f"/api/jobs/{job.id}"})


operations = (
    Operation(
        "GET",
        "/alerts",
        list_alerts,
        "List the alarms that are open.",
        {200: Gives("The alarms.", list_of(ref("Alert")))},
    ),
    Operation(
        "POST",
        "/alerts/{kind}",
        raise_alert,
        "Say that a condition is there. It is mailed once, however often it is said.",
        {200: Gives("It is recorded.", ref("Recorded"))},
        body=entry(
            {
                "part": {**TEXT, "maxLength": 60, "description": "Which of several it is about, such as black."},
                "detail": {**TEXT, "maxLength": 500, "description": "What else there is to say."},
            }
        ),
    ),
    Operation(
        "POST",
        "/test-mail",
        test_alerts,
        "Mail a test to those who are told of alarms.",
        {202: Gives("Its job.", ref("Job"), headers={"Location": "The job."})},
        conflicts=True,
    ),
    Operation(
        "DELETE",
        "/alerts/{kind}",
        clear_alert,
        "Say that a condition is gone.",
        {200: Gives("It is recorded.", ref("Recorded"))},
        query={"part": {**TEXT, "maxLength": 60, "description": "Which of several; all without it."}},
    ),
)
