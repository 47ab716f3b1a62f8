"""The table ``[panel]`` of ``mailslot.toml``."""

from __future__ import annotations

from typing import Final

from mailslot.slots import keys
from mailslot.slots.keys import Key
from mailslot.slots.section import Section

PANEL: Final = Section(
    "panel",
    {
        "names": Key(
            "host names under which browsers may open the panel, separated by commas",
            keys.list_of(keys.host),
            set_by="administrator",
        ),
        "certificate": Key(
            "the path of a certificate with its chain, PEM; without one, the panel makes its own",
            keys.path,
            set_by="local",
        ),
        "key": Key("the path of the certificate's private key, PEM", keys.path, set_by="local"),
        "idle_minutes": Key(
            "minutes of inactivity, from 1 to 720, after which a session ends",
            keys.number(1, 720),
            default=15,
            set_by="administrator",
        ),
    },
)
