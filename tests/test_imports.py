"""There are no import cycles."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp

PACKAGES = ("mailslot", "mailslot_plugins", "mailslot_imap")


def imports() -> dict[str, set[str]]:
    """Return which modules each imports: at its top, within a function, and for its annotations alike."""
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=False, cache_dir=None)
    return {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}


def test_no_circular_imports() -> None:
    found = imports()
    assert {name.partition(".")[0] for name in found} == set(PACKAGES)
    assert sum(map(len, found.values())) > len(found)
    try:
        TopologicalSorter(found).prepare()
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise AssertionError(f"these imports run in a circle: {circle}") from None
