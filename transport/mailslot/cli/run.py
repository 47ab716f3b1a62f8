"""How a command runs, and its exit status: 0 done, 1 failed with one sentence, 2 wrong usage."""

from __future__ import annotations

import logging
import os
import sys

from mailslot.cli.console import OUTPUT_ERRNOS, flush_output, prepare_streams, print_error
from mailslot.cli.quick import quick_command
from mailslot.entry_points import own_extra_for, plugin_packages
from mailslot.errors import InputError, MailError


def run() -> None:
    """Run the command that the arguments name."""
    prepare_streams()
    # Errors are printed as one sentence, not logged; a command that needs a log sets it up.
    for name in (*plugin_packages(), "psycopg"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    code: int | str | None = None
    fault: OSError | None = None
    try:
        code = _run()
    except OSError as error:
        if error.filename is not None or error.errno not in OUTPUT_ERRNOS:
            print_error(_fault_sentence(error))
            code = 1
        else:
            fault = error
    fault = flush_output() or fault
    if fault is not None:
        code = 1
        # The reader has ended, such as `head`.
        if not isinstance(fault, BrokenPipeError):
            print_error(f"The output cannot be written: {fault.strerror}.")
    sys.exit(code)


def _run() -> int | str | None:
    """Run the command, and return its exit status."""
    try:
        if (command := quick_command(sys.argv[1:])) is not None:
            command()
            return 0
        return _run_with_typer()
    except MailError as error:
        print_error(str(error))
        return 2 if isinstance(error, InputError) and error.cause == "invalid_input" else 1
    except KeyboardInterrupt:
        return 130
    except SystemExit as ended:
        return ended.code
    except OSError:
        raise
    except BaseException as error:  # noqa: BLE001 - a plugin may fail in any way, and extensions in Rust panic so
        print_error(_fault_sentence(error))
        return 1


def _run_with_typer() -> int:
    """Run the command by typer, and return its exit status."""
    import typer  # noqa: PLC0415 - see `mailslot.cli.quick`
    from typer.exceptions import TyperException  # noqa: PLC0415 - as above

    from mailslot.cli.app import app  # noqa: PLC0415 - as above
    from mailslot.cli.usage_error import usage_lines  # noqa: PLC0415 - as above

    try:
        code: int | None = app(standalone_mode=False)
    except typer.Abort:
        print_error("Nothing was done.")
        return 1
    except TyperException as error:
        print_error("\n".join(usage_lines(error)))
        return 2
    return code if isinstance(code, int) else 0


def _fault_sentence(error: BaseException) -> str:
    """Return the sentence for a missing package, a file that is not ours, or an error in the program."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package and (extra := own_extra_for(package)):
        return f"This needs {package}: pip install '{extra}'."
    if isinstance(error, PermissionError) and error.filename is not None:
        from mailslot.vault.errors import reason_of  # noqa: PLC0415 - rarely needed

        # Such as the home folder of the service's user.
        return f"{os.fsdecode(error.filename)} cannot be used: {reason_of(error)}."
    from mailslot.service.log import describe_error  # noqa: PLC0415 - rarely needed

    return f"It did not work because of a fault of mailslot, or of a plugin: {describe_error(error)}."
