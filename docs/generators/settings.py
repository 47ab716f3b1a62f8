"""All settings: of slots, from `mailslot.slots.settings.KEYS`, and of the other tables, from their sections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from generators.tables import code, table
from generators.texts import GROUPS as TEXTS
from generators.texts import SETTINGS
from mailslot.slots.gateway.table_groups import GROUPS
from mailslot.slots.keys import json_value
from mailslot.slots.section import find_section, section_names
from mailslot.slots.settings import KEYS, SECRETS, Settings
from mailslot_plugins.panel.sections.fields import section_name, section_text
from mailslot_plugins.panel.slots.labels import label

if TYPE_CHECKING:
    from mailslot.slots.keys import Key

_HEADINGS: Final = ("setting", "on the panel", "purpose, and allowed values", "default")


def slot_settings() -> str:
    """Return the settings of slots in Markdown."""
    defaults = Settings()
    rows = [
        (_with_anchor(name, name), _label(name, key), _description(name, key), _default(getattr(defaults, name)))
        for name, key in KEYS.items()
    ]
    rows += [
        (_with_anchor(name, name), label(name, "SMTP", "en"), f"{SETTINGS.get(name, '')} Kept in the vault.", "")
        for name in SECRETS
    ]
    return table(_HEADINGS, rows)


def listener_settings() -> str:
    """Return the settings of listeners in Markdown."""
    return _group("listeners")


def device_settings() -> str:
    """Return the settings of devices in Markdown."""
    return _group("devices")


def _group(name: str) -> str:
    rows = [
        (
            _with_anchor(f"{name}-{key}", key),
            f"{TEXTS[name].get(key, '')} {_sentence(each.allowed)}",
            _default(each.default),
        )
        for key, each in GROUPS[name].keys.items()
    ]
    return table(("setting", "purpose, and allowed values", "default"), rows)


def section_settings() -> str:
    """Return the settings of all other tables in Markdown, each with a heading."""
    return "\n".join(_section(name) for name in section_names())


def _section(name: str) -> str:
    section = find_section(name)
    assert section is not None  # noqa: S101 - it was named by the same function
    rows = [
        (
            _with_anchor(f"{name}-{key}", key),
            section_text(name, "setting", "en", key) or "",
            _sentence(each.allowed),
            _default(each.default),
        )
        for key, each in section.keys.items()
        if not each.advanced
    ]
    # Rarely used settings are similar to each other, such as one for each kind of alarm.
    if rare := [key for key, each in section.keys.items() if each.advanced]:
        more = section_text(name, "more", "en") or ""
        rows.append((", ".join(map(code, rare)), more, _sentence(section.keys[rare[0]].allowed), ""))
    title = section_name(name, "en")
    example = f"```sh\nmailslot show {name}\n```"
    heading = f'<a id="section-{name}"></a>\n\n### `[{name}]` {title}'
    return "\n".join([heading, "", example, "", table(_HEADINGS, rows)])


def _with_anchor(anchor: str, name: str) -> str:
    return f'<span id="{anchor}"></span>`{name}`'


def _label(name: str, key: Key) -> str:
    return " / ".join(dict.fromkeys(label(name, protocol, "en") for protocol in key.protocols))


def _description(name: str, key: Key) -> str:
    only = "" if len(key.protocols) == 2 else f" {key.protocols[0]} only."
    return f"{SETTINGS.get(name, '')} {_sentence(key.allowed)}{only}"


def _sentence(allowed: str) -> str:
    return f"{allowed[0].upper()}{allowed[1:]}.".replace("|", "\\|")


def _default(value: Any) -> str:  # noqa: ANN401 - whatever a key holds
    if isinstance(value, bool):
        return code("true" if value else "false")
    found = json_value(value)
    if isinstance(found, list):
        return ", ".join(code(str(one)) for one in cast("list[object]", found))
    return code("" if found is None else str(found))
