"""What nobody sets over the network, whatever they are signed in as.

That is programs that the device is to run, and paths that would give away its files, such as those with its tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.errors import InputError
from mailslot.slots.keys import parse_value, runs_a_program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailslot.slots.section import Section
    from mailslot.slots.toml_file import SettingsFile


def change_section(
    file: SettingsFile,
    section: Section,
    values: Mapping[str, object | None],
    *,
    first: Callable[[], None] | None = None,
) -> None:
    """Change settings of a section, as `SettingsFile.change_section` does, but for programs and `Key.local`. Blocks.

    Raises:
        InputError: as there; or the device would run a program that it does not run now, or use another path.
    """
    before = file.section(section)
    for key, value in values.items():
        parsed, known = parse_value(section.keys, key, value), section.keys[key]
        if parsed in (None, before[key]):
            continue
        if known.local or runs_a_program(known, parsed):
            raise InputError(
                f"The device lets only somebody with a login on it set this: mailslot set {section.name} {key}=…",
                stage="resolve",
                key=key,
            )
    file.change_section(section, values, first=first)
