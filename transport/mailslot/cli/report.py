"""``mailslot report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import anyio
import typer
from rich.markup import escape

from mailslot.cli.console import make_console
from mailslot.cli.home import open_records
from mailslot.cli.output import check_output, write_output


def report(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The zip file to write.")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a zip file for support, without secrets.

    It contains the settings, the slots and the last tests.

    Examples:
        mailslot report report.zip
    """
    from mailslot.diagnosis.report import make_report  # noqa: PLC0415 - cryptography takes a while to import

    check_output(file, force=force)
    write_output(file, anyio.run(make_report, open_records(context.obj)), force=force)
    make_console().print(f"The report is in {escape(str(file))}. Accounts are in it; secrets are not.", soft_wrap=True)
