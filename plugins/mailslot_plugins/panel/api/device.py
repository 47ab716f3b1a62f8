"""``/api/device``, ``/health``, ``/plugins``, ``/export`` and ``/report``: the device as a whole."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync
from starlette.responses import Response

import mailslot
from mailslot.diagnosis.report import make_report
from mailslot.service.plugin_usage import find_plugin_usage
from mailslot.service.plugins import plugin_rows
from mailslot.slots.settings_export import export_settings
from mailslot.timestamps import iso
from mailslot_plugins.panel.api.json_schema import STRINGS, list_of, schema_ref
from mailslot_plugins.panel.api.operation import Operation, ResponseSpec, json_response
from mailslot_plugins.panel.monitoring.page import show_health as health
from mailslot_plugins.panel.security.paths import METRICS

if TYPE_CHECKING:
    from mailslot_plugins.panel.api.operation import Call


async def show_device(call: Call) -> Response:
    """Return the device's identity and version."""
    device = call.device
    identity = device.identity
    in_use = await run_sync(device.records.settings.current)
    return json_response(
        {
            "name": identity.name,
            "model": identity.model,
            "serial_number": identity.serial_number,
            "location": identity.location,
            "language": identity.language,
            "version": mailslot.__version__,
            "now": iso(device.now()),
            "settings_fault": in_use.fault,
            "metrics": METRICS,
        }
    )


async def show_health(call: Call) -> Response:
    """Return whether the device is working."""
    return await health(call.request)


async def list_plugins(call: Call) -> Response:
    """Return the installed plugins."""
    records = call.device.records
    uses = await find_plugin_usage(records.settings, lambda: records)
    return json_response(await run_sync(plugin_rows, uses))


async def export(call: Call) -> Response:
    """Return the settings, for import on other devices."""
    in_use = await run_sync(call.device.records.settings.current)
    text = await run_sync(partial(export_settings, in_use, call.query.get("without", ())))
    return _file(text.encode(), "application/toml", "mailslot-settings.toml")


async def report(call: Call) -> Response:
    """Return the report for support."""
    octets = await make_report(call.device.records, call.device.now())
    return _file(octets, "application/zip", "mailslot-report.zip")


def _file(octets: bytes, media_type: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Type": media_type}
    return Response(octets, headers=headers)


operations = (
    Operation(
        "GET",
        "/device",
        show_device,
        "Show the device's identity and version.",
        {200: ResponseSpec("The device.", schema_ref("Device"))},
    ),
    Operation(
        "GET",
        "/health",
        show_health,
        "Show whether the device is working, as /healthz does.",
        {
            200: ResponseSpec("It is working.", schema_ref("Health")),
            503: ResponseSpec("It is not working.", schema_ref("Health")),
        },
    ),
    Operation(
        "GET",
        "/plugins",
        list_plugins,
        "List the plugins that are installed.",
        {200: ResponseSpec("The plugins.", list_of(schema_ref("Plugin")))},
    ),
    Operation(
        "GET",
        "/export",
        export,
        "Get the settings as a file, without passwords, secrets and tokens, for other devices to import.",
        {200: ResponseSpec("The settings.", media_type="application/toml")},
        query={"without": {**STRINGS, "description": "A key or table to leave out, such as account; may be repeated."}},
    ),
    Operation(
        "GET",
        "/report",
        report,
        "Get the report for support, a zip file without any secret.",
        {200: ResponseSpec("The report.", media_type="application/zip")},
    ),
)
