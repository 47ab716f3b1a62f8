"""Something that needs somebody to act, as the home page shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mailslot.causes.cause import Actor

Step = Literal["get_token", "test", "settings", "job", "jobs", "page"]


@dataclass(frozen=True, slots=True)
class AttentionItem:
    """Something that needs somebody.

    Attributes:
        where: what it is about, such as a slot's name; may be empty.
        sentence: what is wrong.
        advice: what to do; may be empty.
        actor: who must act; None where it is whoever looks.
        step: what the button does.
        address: where the button leads.
        held: how many jobs wait for it.
        button: what the button says; empty for what its step is called.
    """

    where: str
    sentence: str
    advice: str
    actor: Actor | None
    step: Step
    address: str
    held: int = 0
    button: str = ""
