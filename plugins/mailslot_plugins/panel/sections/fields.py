"""The form of a section: its fields with their labels, and the entered values."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from mailslot.slots import keys
from mailslot.slots.keys import Parser, json_value
from mailslot.slots.overview import as_text
from mailslot.slots.permission import least_role
from mailslot_plugins.panel.pipelines import pipeline_of, pipeline_text
from mailslot_plugins.panel.translations import LANGUAGES, load_texts, translate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.datastructures import FormData

    from mailslot.slots.keys import Key
    from mailslot.slots.section import Section
    from mailslot_plugins.panel.pipelines import PipelinePage

FOLDER: Final = "sections"
_SEPARATORS: Final = (" ", ", ", "; ")

TextKind = Literal["section", "setting", "hint", "choice", "more"]
"""Kinds of texts of a section: its title, names of settings and values, hints, and the title of the collapsed part."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field.

    Attributes:
        key: the setting.
        kind: the kind of input.
        label: the setting's name.
        value: its value; empty for a private one.
        placeholder: the value in effect if it is empty.
        hint: the allowed values.
        options: the choices, as values and texts.
        is_set: whether there is a value.
        command: the command that sets it, if a browser may not; otherwise empty.
        form: the form of the value; empty if it has none.
        forms: the forms that it can have, as names and texts.
        can_find: whether its value can be a printer that is looked for on the network.
        suggested_by: the pipeline whose page suggests values; empty for none.
        useless: the items of its value that have no effect.
    """

    key: str
    kind: Literal["text", "number", "choice", "flag", "private", "local"]
    label: str
    value: str
    placeholder: str
    hint: str
    options: tuple[tuple[str, str], ...]
    is_set: bool
    command: str = ""
    form: str = ""
    forms: tuple[tuple[str, str], ...] = ()
    can_find: bool = False
    suggested_by: str = ""
    useless: tuple[str, ...] = ()


def make_fields(
    section: Section,
    given: Mapping[str, Any],
    entered: Mapping[str, str],
    language: str,
    page: PipelinePage | None = None,
) -> list[Field]:
    """Return the fields of a section in the order of its keys.

    Args:
        section: the section.
        given: the values in the file, by key.
        entered: the values that a person entered instead, by key; may be empty.
        language: one of the panel's.
        page: the page of its pipeline; None if there is none.
    """
    return [_field(section, key, given, entered, language, page) for key in section.keys]


def read_changes(section: Section, form: FormData) -> dict[str, str | None]:
    """Return the values of a form, by key; None unsets a setting.

    A setting that is not in the form is unchanged, except a checkbox, which browsers omit if it is off.
    """
    wanted: dict[str, str | None] = {}
    for key, each in section.keys.items():
        value = form.get(key)
        if isinstance(each.default, bool):
            if f"{key}-there" in form:
                wanted[key] = "true" if value == "true" else "false"
        elif isinstance(value, str) and not (each.private and not value.strip()):
            prefix = dict(each.forms).get(str(form.get(f"{key}-form", "")), "")
            wanted[key] = f"{prefix}{value.strip()}" if value.strip() else None
            if found := str(form.get(f"{key}-found", "")):
                wanted[key] = f"{dict(each.forms).get(keys.NETWORK_PRINTER, '')}{found}"
        if f"remove-{key}" in form:
            wanted[key] = None
    return wanted


def set_command(target: str, key: str, value: str = "…") -> str:
    """Return the command that sets a setting on the device.

    Args:
        target: the slot or section.
        key: the setting.
        value: the value; by default, the place for one.
    """
    return f"mailslot set {target} {key}={value if value == '…' else quote(value)}"


def section_name(section: str, language: str) -> str:
    """Return the title of a section; its name if there is no text for it."""
    return section_text(section, "section", language) or section


def section_text(section: str, what: TextKind, language: str, key: str = "") -> str | None:
    """Return a text of a section, from the panel or from the section's pipeline; None if there is none.

    Args:
        section: its name.
        what: the kind of text.
        language: one of the panel's.
        key: the setting or the value.
    """
    own = "_".join(filter(None, (what, section, key)))
    if own in load_texts(FOLDER):
        return translate(FOLDER, own, language)
    pipeline = pipeline_of(section)
    return None if pipeline is None else pipeline_text(pipeline.name, "_".join(filter(None, (what, key))), language)


def _field(
    section: Section,
    key: str,
    given: Mapping[str, Any],
    entered: Mapping[str, str],
    language: str,
    page: PipelinePage | None,
) -> Field:
    known = section.keys[key]
    default = _entered(known, known.default)
    value = entered.get(key, _entered(known, given.get(key)))
    options = _options(section.name, known, language)
    kind = _kind(known, has_options=bool(options))
    if kind in {"flag", "choice"} and not value:
        value = default
    form, value, default = _formed(known, value, default)
    hint = _hint(section, key, language) if kind in {"text", "number", "local"} else ""
    if form and _is_printer(known):
        hint = translate(FOLDER, "usual_printer", language)
    return Field(
        key=key,
        kind=kind,
        label=(page and page.setting_label(key, language)) or _label(section.name, key, language),
        value="" if known.private else value,
        placeholder=default,
        hint=hint,
        options=options,
        is_set=key in given,
        form=form,
        forms=tuple((name, translate(FOLDER, f"form_{name}", language)) for name, _ in known.forms) if form else (),
        can_find=bool(form) and _is_printer(known),
        command=set_command(section.name, key) if kind == "local" else "",
        suggested_by=known.suggested_by,
        useless=useless_items_of(known, given.get(key)),
    )


def useless_items_of(key: Key, value: object) -> tuple[str, ...]:
    """Return the items of a value that have no effect."""
    return tuple(key.parse.useless(value)) if isinstance(key.parse, Parser) and value is not None else ()


def _is_printer(key: Key) -> bool:
    return keys.NETWORK_PRINTER in dict(key.forms)


def _formed(key: Key, value: str, default: str) -> tuple[str, str, str]:
    """Return the form of a value, and the value and the default without its beginning; an empty form for several."""
    given = value or default
    parsed = key.default if not value else _parsed(key, value)
    fitting = [(name, prefix) for name, prefix in key.forms if given.startswith(prefix)]
    if not key.forms or (isinstance(parsed, tuple) and len(cast("tuple[object, ...]", parsed)) > 1):
        return "", value, default
    name, prefix = max(fitting, key=lambda each: len(each[1]), default=key.forms[0])
    return name, value.removeprefix(prefix), default.removeprefix(prefix)


def _parsed(key: Key, value: str) -> object:
    try:
        return key.parse(value)
    except ValueError:
        return value


def _entered(key: Key, value: object) -> str:
    """Return a value as it would be entered, so that sending back an unchanged form changes nothing."""
    held = json_value(value)
    if isinstance(value, tuple):
        for separator in _SEPARATORS:
            with suppress(ValueError):
                text = separator.join(map(str, held))
                if key.parse(text) == value:
                    return text
    return as_text(held)


def allowed_text(section: Section, key: str, language: str) -> str:
    """Return the allowed values of a key; in English if there is no translation."""
    found = section_text(section.name, "hint", language, key)
    return found or _usual_text(section.keys[key], language) or section.keys[key].allowed


def _usual_text(key: Key, language: str) -> str:
    """Return the allowed values of a number or of addresses in other languages than English; empty for other keys."""
    if language == "en":
        return ""
    schema: Mapping[str, Any] = key.parse.schema if isinstance(key.parse, Parser) else {}
    if {"minimum", "maximum"} <= schema.keys():
        return translate(FOLDER, "usual_number", language, least=schema["minimum"], most=schema["maximum"])
    if key.parse is keys.address:
        return translate(FOLDER, "usual_address", language)
    return translate(FOLDER, "usual_addresses", language) if key.advanced and schema.get("type") == "array" else ""


def _hint(section: Section, key: str, language: str) -> str:
    """Return the hint below a field; empty if it exists only in English and the page has another language."""
    if least_role(section.keys[key]) == "local":
        return translate("slots", "hint_local", language)
    allowed = allowed_text(section, key, language)
    return allowed[:1].upper() + allowed[1:] if language == "en" or allowed != section.keys[key].allowed else ""


def _kind(key: Key, *, has_options: bool) -> Literal["text", "number", "choice", "flag", "private", "local"]:
    if least_role(key) == "local":
        return "local"
    if key.private:
        return "private"
    if isinstance(key.default, bool):
        return "flag"
    if has_options:
        return "choice"
    return "number" if isinstance(key.default, int) else "text"


def _label(section: str, key: str, language: str) -> str:
    return section_text(section, "setting", language, key) or key.replace("_", " ").capitalize()


def _options(section: str, key: Key, language: str) -> tuple[tuple[str, str], ...]:
    choices: Sequence[str] = key.parse.schema.get("enum", ()) if isinstance(key.parse, Parser) else ()
    if set(choices) == set(LANGUAGES):
        return tuple(LANGUAGES.items())
    return tuple((each, section_text(section, "choice", language, each) or each) for each in choices)
