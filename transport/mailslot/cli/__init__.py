"""The command line; the only room that reads the environment."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `mailslot`."""
    try:
        from mailslot.cli.run import run  # noqa: PLC0415 - an import of the package is not to load all that

        run()
    except KeyboardInterrupt:
        # A slow device takes seconds to load all that, and Ctrl-C may come before a command has begun.
        sys.exit(130)
