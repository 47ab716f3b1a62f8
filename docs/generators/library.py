"""The library's reference: the list of public objects; mkdocstrings adds their docstrings."""

from __future__ import annotations

import mailslot
import mailslot.message
import mailslot.plugin
import mailslot.testing


def reference() -> str:
    """Return the public names of the library in Markdown; of `mailslot.plugin`, only the additional ones."""
    shown = {*mailslot.__all__, *mailslot.message.__all__}
    parts = [
        ("mailslot", mailslot.__all__),
        ("mailslot.message", mailslot.message.__all__),
        ("mailslot.testing", mailslot.testing.__all__),
        ("mailslot.plugin", [name for name in mailslot.plugin.__all__ if name not in shown]),
    ]
    return "\n".join(
        f"## {module}\n\n" + "\n".join(_entry(f"{module}.{name}") for name in names) for module, names in parts
    )


def _entry(name: str) -> str:
    # A module is shown without its classes, which have entries of their own.
    members = '      filters: ["!^_", "!^[A-Z]"]\n' if name == "mailslot.plugin.keys" else ""
    return f"::: {name}\n    options:\n      heading_level: 3\n{members}"
