"""The items for tokens that still work, but end soon unless somebody acts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot_plugins.panel.home.attention_item import AttentionItem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.oauth.health import Topic
    from mailslot_plugins.panel.home.attention_item import Step
    from mailslot_plugins.panel.token.state import TokenState

_STEPS: Final[Mapping[Topic, tuple[Step, str]]] = {
    "no_renewal": ("get_token", "/token"),
    "testing": ("get_token", "/token"),
    "unused": ("test", "/test"),
    "secret_ends": ("settings", "#client_secret"),
}
"""The topics that need somebody, each with the button that helps and the end of its address."""


def token_warning(token: TokenState, where: str, slot: str, held: int, language: str) -> AttentionItem | None:
    """Return the item for a record's token; None if it is renewed automatically, or does not work at all.

    Args:
        token: its state.
        where: the names of the record's slots.
        slot: the id of the first one.
        held: the number of jobs that wait for it.
        language: one of the panel's.
    """
    if token.health is None or token.kind != "warning":
        return None
    for topic, note in zip(token.health.topics, token.notes(language), strict=True):
        if topic not in _STEPS:
            continue
        step, end = _STEPS[topic]
        if topic == "no_renewal" and token.lacks_offline_access:
            step, end = "settings", "#scopes"
        advice = token.renewal_advice(language) if topic == "no_renewal" else ""
        return AttentionItem(where, note, advice, None, step, f"/slots/{slot}{end}", held)
    return None
