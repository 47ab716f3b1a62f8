"""The library's reference: which objects it shows; mkdocstrings takes their docstrings from the code."""

from __future__ import annotations

import mailslot
import mailslot.message


def reference() -> str:
    """Return, in Markdown, what `mailslot` and `mailslot.message` show the world."""
    parts = [("mailslot", mailslot.__all__), ("mailslot.message", mailslot.message.__all__)]
    return "\n".join(
        f"## {module}\n\n" + "\n".join(f"::: {module}.{name}\n    options:\n      heading_level: 3\n" for name in names)
        for module, names in parts
    )
