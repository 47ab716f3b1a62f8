"""The process in which a task runs: limits first, then the task, then its answer on standard output."""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any

from mailslot_plugins.intake.limits import Limits


def main() -> None:
    """Read one task from standard input, do it, and write what came of it."""
    os.umask(0o077)
    asked: dict[str, Any] = json.loads(sys.stdin.buffer.read())
    limits = Limits(**asked["limits"])
    # Libraries write to the first two files as they like; what we say goes out on a copy.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _confine(limits)
    from mailslot_plugins.intake.tasks import TASKS, Refused  # noqa: PLC0415 - under the limits already

    try:
        answer = TASKS[asked["task"]](asked["request"], limits)
    except Refused as error:
        answer = {"refused": str(error)}
    except MemoryError:
        answer = {"refused": "It takes too much memory to open."}
    except RecursionError:
        answer = {"refused": "It is nested too deeply."}
    except OSError as error:
        # Only the system's own words are for people; those of libraries go to the log, by way of standard error.
        print(repr(error), file=sys.stderr)
        answer = {"refused": f"It cannot be opened: {error.strerror or 'it is damaged'}."}
    except Exception as error:  # noqa: BLE001 - what a hostile file makes a library stumble over has no class
        print(repr(error), file=sys.stderr)
        answer = {"refused": "It cannot be understood: it is damaged, or of a form that this device does not know."}
    out.write(json.dumps(answer).encode("ascii"))
    out.flush()


def _confine(limits: Limits) -> None:
    for what, most in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_CPU, limits.seconds),
        (resource.RLIMIT_FSIZE, limits.written),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        hard = resource.getrlimit(what)[1]
        wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
        # At the soft limit of time comes SIGXCPU, which tells the reason; at the hard one SIGKILL, which does not.
        resource.setrlimit(what, (wanted, hard if what == resource.RLIMIT_CPU else wanted))


if __name__ == "__main__":
    main()
