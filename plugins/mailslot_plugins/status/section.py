"""The table ``[status]`` of ``mailslot.toml``."""

from __future__ import annotations

from typing import Final

from mailslot.plugin import Key, Section, keys
from mailslot_plugins.intake.senders import sender_list

SECTION: Final = Section(
    "status",
    {
        "allowed_senders": Key(
            "addresses or @domains, separated by commas, that are answered; without any, nobody is",
            sender_list(1000),
            default=(),
        ),
        "answers_per_sender": Key("a number from 1 to 100 an hour", keys.number(1, 100), default=6),
        "answers_per_hour": Key("a number from 1 to 1000, for all senders together", keys.number(1, 1000), default=30),
    },
)
