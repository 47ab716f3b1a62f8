"""mpop with pipelining, a program of its own: its time is that from its start to its end."""

from __future__ import annotations

import subprocess
from pathlib import Path
from time import perf_counter

from bench.task import HOST, Task


def fetch(task: Task) -> dict[str, float | None]:
    folder = Path(task.folder)
    for kind in ("cur", "new", "tmp"):
        (folder / kind).mkdir()
    settings, uids = folder / "settings", folder / "uids"
    settings.touch(0o600)
    settings.write_text(
        f"account default\nhost {HOST}\nport {task.port}\nuser {task.user}\npassword {task.password}\nauth user\n"
        f"tls on\ntls_starttls off\ntls_trust_file {task.ca}\npipelining on\nkeep on\nonly_new off\n"
        f"received_header off\nuidls_file {uids}\ndelivery maildir {folder}\n"
    )
    start = perf_counter()
    subprocess.run(["mpop", "--quiet", "--all-accounts", f"--file={settings}"], check=True)
    seconds = perf_counter() - start
    uids.unlink()
    return {"seconds": seconds, "memory": None}
