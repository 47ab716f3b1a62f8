"""The confined process: it sets its limits, runs one task, and writes the result to standard output."""

from __future__ import annotations

import errno
import json
import os
import resource
import sys
from typing import Any, Final

from mailslot_plugins.intake.limits import Limits

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENFILE})
"""What a file that is opened is no reason for: the system has no room for what is written."""

_LEAST_ROOM: Final = 1 << 20
"""Octets of free room below which a failure counts as one of the disk, since many libraries do not tell of it."""


def main() -> None:
    """Read one task from standard input, run it, and write its result."""
    os.umask(0o077)
    task: dict[str, Any] = json.loads(sys.stdin.buffer.read())
    limits = Limits(**task["limits"])
    # Libraries may write to standard output; the result goes to a copy of it.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _apply_limits(limits)
    from mailslot_plugins.intake.refusal import IntakeRefusedError  # noqa: PLC0415 - under the limits already
    from mailslot_plugins.intake.tasks import perform_task  # noqa: PLC0415 - as above

    try:
        answer = perform_task(task["task"], task["request"], limits)
    except IntakeRefusedError as error:
        answer = {"refused": str(error)}
    except MemoryError:
        answer = {"refused": "It takes too much memory to open."}
    except RecursionError:
        answer = {"refused": "It is nested too deeply."}
    except OSError as error:
        # Only the system's message is for people; the rest goes to the log, through standard error.
        print(repr(error), file=sys.stderr)
        answer = _no_room(error.errno) or {"refused": f"It cannot be opened: {error.strerror or 'it is damaged'}."}
    except Exception as error:  # noqa: BLE001 - a hostile file can make a library raise anything
        print(repr(error), file=sys.stderr)
        sentence = "It cannot be understood: it is damaged, or of a form that this device does not know."
        answer = _no_room(None) or {"refused": sentence}
    out.write(json.dumps(answer).encode("ascii"))
    out.flush()


def _no_room(code: int | None) -> dict[str, Any]:
    """Return the answer for a task that failed because the system has no room; empty if there is room."""
    if code in _NO_ROOM:
        return {"no_room": code}
    disk = os.statvfs(".")
    return {"no_room": errno.ENOSPC} if disk.f_bavail * disk.f_frsize < _LEAST_ROOM else {}


def _apply_limits(limits: Limits) -> None:
    for resource_id, value in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_CPU, limits.seconds),
        (resource.RLIMIT_FSIZE, limits.file_size),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        hard = resource.getrlimit(resource_id)[1]
        soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # The soft CPU limit sends SIGXCPU, which identifies the reason; the hard limit sends SIGKILL.
        resource.setrlimit(resource_id, (soft, hard if resource_id == resource.RLIMIT_CPU else soft))


if __name__ == "__main__":
    main()
