"""The command line; the only package that reads the environment."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `mailslot`, or print which packages are missing."""
    try:
        try:
            from mailslot.cli.app import run  # noqa: PLC0415 - typer and rich come with an extra
        except ModuleNotFoundError as error:
            if error.name not in {"typer", "rich"}:
                raise
            sys.exit("The command mailslot needs its extra packages: pip install 'mailslot[cli]'")
        run()
    except KeyboardInterrupt:
        # Loading takes seconds on a slow device, and Ctrl-C may come before a command has begun.
        sys.exit(130)
