"""An item on the home page that needs attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mailslot.causes.cause import Actor

Step = Literal["get_token", "test", "settings", "job", "jobs", "page"]


@dataclass(frozen=True, slots=True)
class AttentionItem:
    """An item that needs attention.

    Attributes:
        where: its subject, such as a slot's name; may be empty.
        sentence: what is wrong.
        advice: what to do; may be empty.
        actor: who must act; None for the person who looks at the page.
        step: the kind of link on its button.
        address: the address of the link.
        held: the number of jobs that wait for it.
        button: the button's text; empty for the default text of its step.
    """

    where: str
    sentence: str
    advice: str
    actor: Actor | None
    step: Step
    address: str
    held: int = 0
    button: str = ""
