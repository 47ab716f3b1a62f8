"""The command line; the only room that reads the environment."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `mailslot`; say what is missing where it was installed without its command line."""
    try:
        try:
            from mailslot.cli.app import run  # noqa: PLC0415 - typer and rich come with an extra
        except ModuleNotFoundError as error:
            if error.name not in {"typer", "rich"}:
                raise
            sys.exit("The command mailslot needs its extra packages: pip install 'mailslot[cli]'")
        run()
    except KeyboardInterrupt:
        # A slow device takes seconds to load all that, and Ctrl-C may come before a command has begun.
        sys.exit(130)
