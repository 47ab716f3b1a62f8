"""The table ``[alerts]`` of ``mailslot.toml``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mailslot.plugin import Key, Section, keys
from mailslot_plugins.alerts import schedule
from mailslot_plugins.alerts.kinds import KINDS, SEVERITIES
from mailslot_plugins.alerts.state import HOUR, AlertPolicy
from mailslot_plugins.printers.ipp.client import http_address

if TYPE_CHECKING:
    from collections.abc import Mapping


def _schedule(value: object) -> str:
    text = keys.text(value)
    schedule.parse_schedule(text)
    return text


def _zone(value: object) -> ZoneInfo:
    try:
        return ZoneInfo(keys.text(value))
    except (ZoneInfoNotFoundError, OSError):
        raise ValueError from None


def _printer(value: object) -> str:
    uri = keys.text(value)
    http_address(uri)
    return uri


_ADDRESSES: Final = "e-mail addresses, separated by commas"

SECTION: Final = Section(
    "alerts",
    {
        "recipients": Key(f"{_ADDRESSES}; without them, the device's administrator", keys.list_of(keys.address)),
        **{f"recipients_{kind}": Key(_ADDRESSES, keys.list_of(keys.address), advanced=True) for kind in KINDS},
        "minimum_severity": Key(
            f"{', '.join(SEVERITIES)}: the least severity that is mailed", keys.one_of(*SEVERITIES), default="warning"
        ),
        "muted": Key(
            f"kinds of alarms that are not mailed, separated by commas: {', '.join(KINDS)}",
            keys.list_of(keys.one_of(*KINDS)),
            default=(),
        ),
        "debounce": Key("seconds from 0 to 86400 that a condition must last", keys.number(0, 86400)),
        "clear_after": Key("seconds from 0 to 604800 that a condition must be gone", keys.number(0, 604800)),
        "reminder_hours": Key("hours from 0 to 720; 0 for no reminder", keys.number(0, 720), default=24),
        "all_clear": Key("true or false: whether the end of an incident is mailed", keys.flag, default=True),
        "mails_per_hour": Key(
            "a number from 1 to 200; alerts beyond it are mailed together", keys.number(1, 200), default=10
        ),
        "schedule": Key(f"when a status mail is sent: {schedule.ALLOWED}", _schedule),
        "schedule_recipients": Key(f"{_ADDRESSES}; without them, the recipients of alerts", keys.list_of(keys.address)),
        "timezone": Key("a time zone, for example Europe/Berlin; without it, the system's", _zone),
        "printer": Key(
            "the address of a printer to watch, for example ipp://printer.example/ipp/print",
            _printer,
            forms=((keys.NETWORK_PRINTER, ""),),
        ),
        "printer_interval": Key("seconds from 10 to 3600", keys.number(10, 3600), default=60),
        "printer_ca_file": Key("the path of a file with certificates, for ipps", keys.path, set_by="local"),
    },
)


def policy(values: Mapping[str, Any], administrator: str | None) -> AlertPolicy:
    """Return the policy that the settings describe.

    Args:
        values: the section's values.
        administrator: the recipient if no other is set.
    """
    default_recipients: tuple[str, ...] = values["recipients"] or ((administrator,) if administrator else ())
    return AlertPolicy(
        recipients=lambda kind: values.get(f"recipients_{kind}") or default_recipients,
        minimum=values["minimum_severity"],
        reminder=values["reminder_hours"] * HOUR,
        all_clear=values["all_clear"],
        cap=values["mails_per_hour"],
        muted=frozenset(values["muted"]),
    )
