"""Who has asked for a change, and settings of a section changed as far as he may."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.slots.permission import check_permission

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request

    from mailslot.slots.keys import SetterRole
    from mailslot.slots.section import Section
    from mailslot.slots.settings_file import SettingsFile


def setter(request: Request) -> SetterRole:
    """Return who wants something set: the administrator's session, or a key, also where both are shown."""
    return "api_key" if request.state.by_key else "administrator"


def change_section(
    file: SettingsFile,
    section: Section,
    values: Mapping[str, object | None],
    *,
    by: SetterRole,
    first: Callable[[], None] | None = None,
) -> None:
    """Change settings of a section as `SettingsFile.change_section` does, where somebody may. Blocks.

    Raises:
        NotPermittedError: he may not set one of these.
        InputError: as there.
    """
    check_permission(section.keys, values, file.current().sections.get(section.name, {}), by, section.name)
    file.change_section(section, values, before_write=first)
