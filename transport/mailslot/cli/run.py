"""How commands run and end: 0 done, 1 failed with one sentence, 2 wrong usage."""

from __future__ import annotations

import logging
import sys

from mailslot.cli.console import OUTPUT_ERRNOS, flush_output, prepare_streams, print_error
from mailslot.cli.quick import quick_command
from mailslot.entry_points import own_extra_for, plugin_packages
from mailslot.errors import InputError, MailError


def run() -> None:
    """Run the command that the arguments name."""
    prepare_streams()
    # What goes wrong is said in one sentence; a command that keeps a log sets one up.
    for name in plugin_packages():
        logging.getLogger(name).addHandler(logging.NullHandler())
    code: int | str | None = None
    fault: OSError | None = None
    try:
        code = _run()
    except OSError as error:
        if error.filename is not None or error.errno not in OUTPUT_ERRNOS:
            print_error(_fault(error))
            code = 1
        else:
            fault = error
    fault = flush_output() or fault
    if fault is not None:
        code = 1
        # A reader that has left, such as `head`, has what it wanted.
        if not isinstance(fault, BrokenPipeError):
            print_error(f"The output cannot be written: {fault.strerror}.")
    sys.exit(code)


def _run() -> int | str | None:
    """Run the command, and return how it ended."""
    try:
        if (command := quick_command(sys.argv[1:])) is not None:
            command()
            return 0
        _run_with_typer()
    except MailError as error:
        print_error(str(error))
        return 2 if isinstance(error, InputError) and error.cause == "invalid_input" else 1
    except KeyboardInterrupt:
        return 130
    except SystemExit as ended:
        return ended.code
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - a plugin is somebody else's, and may fail in any way
        print_error(_fault(error))
        return 1
    return 0


def _run_with_typer() -> None:
    from mailslot.cli.app import app  # noqa: PLC0415 - see `mailslot.cli.quick`

    app()


def _fault(error: Exception) -> str:
    """Return what a person is told of a fault that only whoever made the program can mend, or of a missing package."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package and (extra := own_extra_for(package)):
        return f"This needs {package}: pip install '{extra}'."
    from mailslot.service.log import describe_error  # noqa: PLC0415 - it is hardly ever needed

    return f"It did not work because of a fault of mailslot, or of a plugin: {describe_error(error)}."
