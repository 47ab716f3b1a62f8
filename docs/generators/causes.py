"""The page of causes, from ``messages.toml``, ``causes.toml`` and what was really said."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from generators.quotations import quotations
from generators.tables import quoted, table
from generators.texts import JOBS
from mailslot.causes.cause import causes
from mailslot.causes.rules import table as rules
from mailslot.diagnosis.catalogue import actor_name, label, messages, variants
from mailslot.oauth.token_error_table import error_table

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADING: Final = re.compile(r"# ── (.+?) ─+")
_TABLE: Final = re.compile(r"\[(\w+)\]")
_FACT: Final = re.compile(r"\{(\w+)\}")
_OF_JOBS: Final = frozenset({"Signing in", "Sending", "In the middle"})
"""The groups whose causes end the delivery of a job also where their rows do not say how."""


def groups() -> Iterator[tuple[str, list[str]]]:
    """Yield the headings of ``messages.toml``, and the causes below each."""
    title, found = "When all is well", list[str]()
    for line in files("mailslot.diagnosis").joinpath("messages.toml").read_text("utf-8").splitlines():
        if heading := _HEADING.fullmatch(line):
            yield title, found
            title, found = heading[1], []
        elif name := _TABLE.fullmatch(line):
            found.append(name[1])
    yield title, found


def all_causes() -> str:
    """Return the causes in Markdown, each with a heading."""
    return "\n".join(
        f"## {title}\n\n" + "\n".join(_section(cause, title) for cause in found) for title, found in groups()
    )


def _section(cause: str, group: str) -> str:
    said = messages("en")[cause]
    sentences = "\n>\n".join(f"> {_as_markdown(each)}" for each in variants(said["sentence"]))
    follows = causes()[cause]
    at_device = f"`mailslot set SLOT {' '.join(map(_as_typed, follows.settings))}`" if follows.settings else ""
    rows = [
        ("When", follows.when),
        ("What to do", " *Or:* ".join(_as_markdown(each) for each in variants(said["advice"]))),
        (label("who_must_act"), actor_name(follows.actor) if follows.actor else "Nobody"),
        ("At this device", at_device),
        (label("get_token"), label("helps" if follows.token_helps else "helps_not")),
    ]
    rows = [row for row in rows if row[1]]
    if jobs := JOBS.get(cause) or JOBS.get(follows.disposition or ("by_reply" if group in _OF_JOBS else "")):
        rows.append(("Waiting jobs", jobs))
    if numbers := sorted(number for number, meaning in error_table().aadsts.items() if meaning.cause == cause):
        rows.append(("Microsoft's codes", ", ".join(f"[{each}](codes.md#aadsts{each})" for each in numbers)))
    return f"### `{cause}`\n\n{sentences}\n\n{table(('', ''), rows)}\n<!-- made: evidence {cause} -->\n"


def evidence(cause: str) -> str:
    """Return what was really said for a cause, and the sources of its rows; only the site has it, for its size."""
    return f"{_seen(cause)}{_sources(cause)}".strip()


def _seen(cause: str) -> str:
    """Return the quotations of a cause, folded."""
    rows = [
        (
            "" if each.kind == "shown" else each.kind.replace("token", "HTTP").upper(),
            f"<code>{quoted(f'{each.code} {each.text}'.strip())}</code>",
            quoted(f"{each.who}: {each.source}" if each.who else each.source),
        )
        for each in quotations()
        if each.cause == cause
    ]
    return _folded(f"What is seen ({len(rows)})", table(("", "Text", "Source"), rows)) if rows else ""


def _sources(cause: str) -> str:
    """Return where the rows of a cause are from, folded."""
    meanings = [*error_table().errors.values(), *error_table().aadsts.values()]
    found = [
        *(rule.source for rule in rules().rules if rule.cause == cause),
        *(row.source for row in rules().refinements if row.cause == cause),
        *(meaning.source for meaning in meanings if meaning.cause == cause),
    ]
    return _folded("Sources", "\n".join(f"- {quoted(each)}" for each in dict.fromkeys(found))) if found else ""


def _folded(title: str, text: str) -> str:
    return f'??? quote "{title}"\n\n' + "\n".join(f"    {line}" for line in text.splitlines()) + "\n\n"


def _as_typed(setting: str) -> str:
    """Return a setting as the command takes it: what depends on the slot is left open."""
    key, _, value = setting.partition("=")
    return f"{_FACT.sub('KEY', key)}={_FACT.sub('…', value)}"


def _as_markdown(text: str) -> str:
    return _FACT.sub(lambda found: f"*{found[1].replace('_', ' ')}*", text)
