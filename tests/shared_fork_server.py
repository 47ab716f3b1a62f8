"""One fork server of confined processes for a process and the children that it forks."""

from __future__ import annotations

import os

from mailslot_plugins.intake import process


def share_fork_server() -> None:
    """Start the fork server, and let the children order from it, too.

    Otherwise each child would start its own and load what documents take, which takes longer than all that it does.
    What a killed child has ordered is killed with it all the same, since its control socket closes.
    """
    server = process._server
    server.program = "eager_fork_server"
    server._connected()
    os.register_at_fork(after_in_child=lambda: setattr(server, "_owner", os.getpid()))
