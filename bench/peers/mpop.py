"""mpop with pipelining, a program of its own: its time is that from its start to its end."""

from __future__ import annotations

import subprocess
from pathlib import Path
from time import perf_counter

from bench.task import HOST, Task

SETTINGS = """
account default
host {host}
port {port}
user {user}
password {password}
auth user
tls {tls}
{tls_settings}
pipelining on
keep on
only_new off
received_header off
uidls_file {folder}/uidls
delivery maildir {folder}
"""


def fetch(task: Task) -> dict[str, float | None]:
    for kind in ("cur", "new", "tmp"):
        (Path(task.folder) / kind).mkdir()
    tls = task.security != "none"
    settings = Path(task.folder) / "mpoprc"
    settings.touch(0o600)
    settings.write_text(
        SETTINGS.format(
            host=HOST,
            port=task.port,
            user=task.user,
            password=task.password,
            folder=task.folder,
            tls="on" if tls else "off",
            tls_settings=f"tls_starttls off\ntls_trust_file {task.ca}" if tls else "",
        )
    )
    start = perf_counter()
    subprocess.run(["mpop", "--quiet", "--all-accounts", f"--file={settings}"], check=True)
    seconds = perf_counter() - start
    (Path(task.folder) / "uidls").unlink()
    return {"seconds": seconds, "memory": None}
