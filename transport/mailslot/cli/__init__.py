"""The command line; the only package that reads the environment."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `mailslot`."""
    try:
        from mailslot.cli.run import run  # noqa: PLC0415 - an import of the package is not to load all that

        run()
    except KeyboardInterrupt:
        # Loading takes seconds on a slow device, and Ctrl-C may come before a command has begun.
        sys.exit(130)
