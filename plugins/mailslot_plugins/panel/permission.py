"""Who requests a change, and changes of a section with a check of their permission."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.slots.permission import check_permission

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request

    from mailslot.slots.keys import SetterRole
    from mailslot.slots.section import Section
    from mailslot.slots.settings_file import SettingsFile


def requested_by(request: Request) -> SetterRole:
    """Return who requests a change: an API key, also if there is a session as well, or the administrator's session."""
    return "api_key" if request.state.by_key else "administrator"


def change_section(
    file: SettingsFile,
    section: Section,
    values: Mapping[str, object | None],
    *,
    by: SetterRole,
    first: Callable[[], None] | None = None,
) -> None:
    """Check the permission, and change settings of a section with `SettingsFile.change_section`. Blocks.

    Raises:
        NotPermittedError: `by` may not set one of these.
        InputError: a value cannot be used.
    """

    def check() -> None:
        check_permission(section.keys, values, file.current().sections.get(section.name, {}), by, section.name)

    def check_again() -> None:
        # Somebody who may set more may have changed them since.
        check()
        if first is not None:
            first()

    check()
    file.change_section(section, values, before_write=check_again)
