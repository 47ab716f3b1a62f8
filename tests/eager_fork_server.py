"""The process that forks confined ones, and has loaded what documents take, as each of them otherwise does itself."""

from __future__ import annotations

from importlib import import_module

from mailslot_plugins.intake import fork_server
from mailslot_plugins.intake.tasks import _TASKS

if __name__ == "__main__":
    for task in _TASKS.values():
        import_module(f"mailslot_plugins.{task.partition(':')[0]}")
    for library in ("PIL.Image", "pypdfium2"):
        import_module(library)
    # It ends with the tests; starting it again takes longer than any of its tasks.
    fork_server._IDLE_SECONDS = 3600
    fork_server.main()
