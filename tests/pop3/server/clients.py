"""Programs that fetch mail over POP3, as devices and servers have them: the command to fetch all mail and delete it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from lab.fixtures import need
from mailslot import Security

if TYPE_CHECKING:
    from pathlib import Path


def needs(program: str) -> None:
    """Skip the test where a program is missing, or fail it where script/setup has installed it."""
    need(program, shutil.which(program) is not None, "comes with script/setup on Debian")


def mpop(port: int, user: str, password: str, box: Path, security: Security = Security.NONE) -> list[str]:
    """Return mpop's command; the mail is appended to `box`, beside which it keeps its files."""
    needs("mpop")
    box.touch()
    tls = {
        Security.NONE: ["--tls=off"],
        Security.STARTTLS: ["--tls=on", "--tls-starttls=on", "--tls-certcheck=off"],
        Security.TLS: ["--tls=on", "--tls-starttls=off", "--tls-certcheck=off"],
    }[security]
    sign_in = ["--auth=user", f"--user={user}", f"--passwordeval=echo {password}"]
    kept = [f"--delivery=mbox,{box}", "--keep=off", f"--uidls-file={box}.uidls"]
    return ["mpop", "--host=127.0.0.1", f"--port={port}", "--quiet", *sign_in, *kept, *tls]


def fetchmail(port: int, user: str, password: str, box: Path) -> list[str]:
    """Return fetchmail's command, without TLS; the rest as for `mpop`."""
    needs("fetchmail")
    settings = box.with_name(f"{box.name}.fetchmail")
    settings.write_text(
        f"poll 127.0.0.1 service {port} protocol POP3 user {user} password {password} "
        f"sslproto '' no keep fetchall mda \"cat >>'{box}'\"\n"
    )
    settings.chmod(0o600)
    return ["fetchmail", "-f", str(settings), "--nosyslog", "--pidfile", f"{box}.pid"]


def getmail(port: int, user: str, password: str, box: Path) -> list[str]:
    """Return getmail's command, without TLS; the rest as for `mpop`."""
    needs("getmail")
    deliver = box.with_name(f"{box.name}.deliver")
    deliver.write_text(DELIVER.format(box=box))
    settings = box.with_name(f"{box.name}.getmail")
    settings.write_text(
        f"[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = {port}\n"
        f"username = {user}\npassword = {password}\n"
        # As root, getmail does not write into a mailbox itself.
        "[destination]\ntype = MDA_external\npath = /bin/sh\nallow_root_commands = true\n"
        f'arguments = ("{deliver}",)\n[options]\ndelete = true\n'
    )
    settings.chmod(0o600)
    return ["getmail", "--getmaildir", str(box.parent), "--rcfile", str(settings)]


DELIVER = """\
cat >>'{box}'
# getmail 6.18.11 starts to catch SIGCHLD, and to wait, only after it has started this (ForkingBase.forkchild). If this
# ended before, it would wait for three minutes, and give up.
status=/proc/$PPID/status
until ! [ -e $status ] || {{ grep -q '^SigCgt:.*[13579bdf]....$' $status && grep -q '^State:.S' $status; }}; do
    sleep 0.01
done
"""
"""The program to which getmail hands each mail."""
