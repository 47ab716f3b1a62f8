"""The hint that no service runs, for commands that leave work to it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mailslot.cli.console import print_error
from mailslot.cli.suggestion import suggested_command
from mailslot.service.service_lock import is_service_running

if TYPE_CHECKING:
    from mailslot.home.home import Home


def warn_if_no_service(home: Home) -> None:
    """Print on standard error how to start the service, if none is running."""
    if is_service_running(home):
        return
    sys.stdout.flush()
    print_error(
        f"No service is running, so nothing is sent or fetched. Start it with: {suggested_command(home, 'serve')}"
    )
