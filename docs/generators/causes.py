"""The page of causes, from ``messages.toml`` and ``causes.toml``."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from generators.tables import table
from mailslot.causes.cause import causes
from mailslot.diagnosis.catalogue import actor_name, label, messages, variants

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADING: Final = re.compile(r"# ── (.+?) ─+")
_TABLE: Final = re.compile(r"\[(\w+)\]")
_FACT: Final = re.compile(r"\{(\w+)\}")


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
    return "\n".join(f"## {title}\n\n" + "\n".join(_section(cause) for cause in found) for title, found in groups())


def _section(cause: str) -> str:
    said = messages("en")[cause]
    sentences = "\n>\n".join(f"> {_as_markdown(each)}" for each in variants(said["sentence"]))
    follows = causes()[cause]
    rows = [
        ("When", follows.when),
        ("What to do", " *Or:* ".join(_as_markdown(each) for each in variants(said["advice"]))),
        (label("who_must_act"), actor_name(follows.actor) if follows.actor else "Nobody"),
        (label("get_token"), label("helps" if follows.token_helps else "helps_not")),
    ]
    return f"### `{cause}` {{ #{cause} }}\n\n{sentences}\n\n{table(('', ''), rows)}"


def _as_markdown(text: str) -> str:
    return _FACT.sub(lambda found: f"*{found[1].replace('_', ' ')}*", text)
