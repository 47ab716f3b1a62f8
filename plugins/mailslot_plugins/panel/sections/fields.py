"""The form of a section: its fields with their labels, and what a person entered in them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from mailslot.slots.keys import Parser, json_value
from mailslot.slots.overview import as_text
from mailslot.slots.permission import least_role
from mailslot_plugins.panel.pipelines import pipeline_of, pipeline_text
from mailslot_plugins.panel.translations import LANGUAGES, translate, words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.datastructures import FormData

    from mailslot.slots.keys import Key
    from mailslot.slots.section import Section
    from mailslot_plugins.panel.pipelines import PipelinePage

FOLDER: Final = "sections"
_SEPARATORS: Final = (" ", ", ", "; ")

Wording = Literal["section", "setting", "hint", "choice", "more"]
"""What is said of a section: its title, names of settings and values, hints, and a title for what is folded away."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field.

    Attributes:
        key: the setting.
        kind: how it is entered.
        label: what it is called.
        value: what stands in it; of a private one, nothing.
        placeholder: what holds where it is empty.
        hint: what is allowed.
        options: what there is to choose from, as values and words.
        is_set: whether there is a value.
    """

    key: str
    kind: Literal["text", "number", "choice", "flag", "private"]
    label: str
    value: str
    placeholder: str
    hint: str
    options: tuple[tuple[str, str], ...]
    is_set: bool


def fields(
    section: Section,
    given: Mapping[str, Any],
    entered: Mapping[str, str],
    language: str,
    page: PipelinePage | None = None,
) -> list[Field]:
    """Return the fields of a section in the order of its keys.

    Args:
        section: the section.
        given: what stands in the file, by key.
        entered: what a person entered in place of that, by key; empty for nothing.
        language: one of the panel's.
        page: the page of its pipeline; None where it has none.
    """
    return [_field(section, key, given, entered, language, page) for key in section.keys]


def changes(section: Section, form: FormData) -> dict[str, str | None]:
    """Return what a form wants set, by key; None for what is to be unset.

    What the form does not hold stays as it is, save for a flag, which browsers leave out where it is off.
    """
    wanted: dict[str, str | None] = {}
    for key, each in section.keys.items():
        value = form.get(key)
        if isinstance(each.default, bool):
            if f"{key}-there" in form:
                wanted[key] = "true" if value == "true" else "false"
        elif isinstance(value, str) and not (each.private and not value.strip()):
            wanted[key] = value.strip() or None
    return wanted


def section_name(section: str, language: str) -> str:
    """Return what a section is called; by its own name where nobody brings words for it."""
    return said_of(section, "section", language) or section


def said_of(section: str, what: Wording, language: str, key: str = "") -> str | None:
    """Return what is said of a section: by the panel of those that are no pipeline's, of the others by its pipeline.

    Args:
        section: its name.
        what: what is wanted.
        language: one of the panel's.
        key: the setting, or the value.
    """
    own = "_".join(filter(None, (what, section, key)))
    if own in words(FOLDER):
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
    return Field(
        key=key,
        kind=kind,
        label=(page and page.setting_label(key, language)) or _label(section.name, key, language),
        value="" if known.private else value,
        placeholder=default,
        hint=_hint(section, key, language) if kind in {"text", "number"} else "",
        options=options,
        is_set=key in given,
    )


def _entered(key: Key, value: object) -> str:
    """Return a value as somebody would enter it, so that a form that is sent back as it is changes nothing."""
    held = json_value(value)
    if isinstance(value, tuple):
        for separator in _SEPARATORS:
            with suppress(ValueError):
                text = separator.join(map(str, held))
                if key.parse(text) == value:
                    return text
    return as_text(held)


def allowed(section: Section, key: str, language: str) -> str:
    """Return what can be entered for a key; in English where the panel has no words for it.

    Args:
        section: the section.
        key: which of its keys.
        language: one of the panel's.
    """
    return said_of(section.name, "hint", language, key) or section.keys[key].allowed


def _hint(section: Section, key: str, language: str) -> str:
    """Return what is said below a field: nothing in English on a page of another language, where labels have to do."""
    if least_role(section.keys[key]) == "local":
        return translate("slots", "hint_local", language)
    said = allowed(section, key, language)
    return said[:1].upper() + said[1:] if language == "en" or said != section.keys[key].allowed else ""


def _kind(key: Key, *, has_options: bool) -> Literal["text", "number", "choice", "flag", "private"]:
    if key.private:
        return "private"
    if isinstance(key.default, bool):
        return "flag"
    if has_options:
        return "choice"
    return "number" if isinstance(key.default, int) else "text"


def _label(section: str, key: str, language: str) -> str:
    return said_of(section, "setting", language, key) or key.replace("_", " ").capitalize()


def _options(section: str, key: Key, language: str) -> tuple[tuple[str, str], ...]:
    choices: Sequence[str] = key.parse.schema.get("enum", ()) if isinstance(key.parse, Parser) else ()
    if set(choices) == set(LANGUAGES):
        return tuple(LANGUAGES.items())
    return tuple((each, said_of(section, "choice", language, each) or each) for each in choices)
