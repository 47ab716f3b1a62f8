"""smtplib and poplib."""

from __future__ import annotations

import poplib
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path
from time import perf_counter

from bench.task import HOST, SENDER, Task


def structured(task: Task) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"], mail["Message-ID"] = SENDER, task.recipient, "a scan", make_msgid()
    if task.source == "file":
        mail.add_attachment(Path(task.path).read_bytes(), maintype="application", subtype="pdf", filename="scan.pdf")
    else:
        mail.set_content(task.octets().decode())
    return mail


def submit(task: Task) -> dict[str, float]:
    context = ssl.create_default_context(cafile=task.ca)
    ready = {"octets": task.octets, "structured": lambda: structured(task), "file": lambda: None}[task.source]()
    start = perf_counter()
    for numbers in task.sessions:
        tls = task.security == "tls"
        with smtplib.SMTP_SSL(HOST, task.port, context=context) if tls else smtplib.SMTP(HOST, task.port) as smtp:
            if task.security == "starttls":
                smtp.starttls(context=context)
            if task.user:
                smtp.login(task.user, task.password)
            for _ in numbers:
                if isinstance(ready, bytes):
                    smtp.sendmail(SENDER, [task.recipient], ready)
                else:
                    smtp.send_message(ready or structured(task))
    return {"seconds": perf_counter() - start}


def _maildrop(task: Task) -> poplib.POP3:
    context = ssl.create_default_context(cafile=task.ca)
    pop = poplib.POP3_SSL(HOST, task.port, context=context) if task.security == "tls" else poplib.POP3(HOST, task.port)
    pop.user(task.user)
    pop.pass_(task.password)
    return pop


def fetch(task: Task) -> dict[str, float]:
    folder = Path(task.folder)
    start = perf_counter()
    pop = _maildrop(task)
    pop.list()
    for line in pop.uidl()[1]:
        number = line.split()[0].decode()
        with (folder / number).open("wb") as file:
            file.writelines(octets + b"\r\n" for octets in pop.retr(number)[1])
    pop.quit()
    return {"seconds": perf_counter() - start}


def poll(task: Task) -> dict[str, float]:
    start = perf_counter()
    pop = _maildrop(task)
    pop.list()
    pop.uidl()
    pop.quit()
    return {"seconds": perf_counter() - start}
