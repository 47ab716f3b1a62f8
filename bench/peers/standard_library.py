"""smtplib and poplib."""

from __future__ import annotations

import poplib
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path
from time import perf_counter

from bench.task import HOST, SENDER, Task, message


def structured(task: Task) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"], mail["Message-ID"] = SENDER, task.recipient, "a scan", make_msgid()
    if task.path:
        mail.add_attachment(Path(task.path).read_bytes(), maintype="application", subtype="pdf", filename="scan.pdf")
    else:
        mail.set_content(message(task.size).decode())
    return mail


def submit(task: Task) -> dict[str, float]:
    context = ssl.create_default_context(cafile=task.ca)
    ready = message(task.size) if task.source == "octets" else None
    start = perf_counter()
    for numbers in task.sessions:
        tls = task.security == "tls"
        with smtplib.SMTP_SSL(HOST, task.port, context=context) if tls else smtplib.SMTP(HOST, task.port) as smtp:
            if task.security == "starttls":
                smtp.starttls(context=context)
            if task.user:
                smtp.login(task.user, task.password)
            for _ in numbers:
                if ready is not None:
                    smtp.sendmail(SENDER, [task.recipient], ready)
                else:
                    smtp.send_message(structured(task))
    return {"seconds": perf_counter() - start}


def _listed(task: Task) -> tuple[poplib.POP3, list[bytes]]:
    pop = poplib.POP3_SSL(HOST, task.port, context=ssl.create_default_context(cafile=task.ca))
    pop.user(task.user)
    pop.pass_(task.password)
    pop.list()
    return pop, pop.uidl()[1]


def fetch(task: Task) -> dict[str, float]:
    start = perf_counter()
    pop, entries = _listed(task)
    for entry in entries:
        number = entry.split()[0].decode()
        with (Path(task.folder) / number).open("wb") as file:
            file.writelines(line + b"\r\n" for line in pop.retr(number)[1])
    pop.quit()
    return {"seconds": perf_counter() - start}


def poll(task: Task) -> dict[str, float]:
    start = perf_counter()
    _listed(task)[0].quit()
    return {"seconds": perf_counter() - start}
