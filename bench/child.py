"""The process of one measured client: ``child.py PEER TASK`` prints what it took as JSON.

What counts is the time around the work itself, from the connection to the end of the last session, not that of starting
Python, of imports or of making ready-made messages; and the most memory that the whole process ever had.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from bench.task import Task


def peak_memory() -> float:
    """The process's largest resident set, in MB; getrusage would give that of the parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    task = Task(**json.loads(sys.argv[2]))
    peer = importlib.import_module(f"bench.peers.{sys.argv[1]}")
    result = getattr(peer, task.kind)(task)
    print(json.dumps({"memory": peak_memory()} | result))
