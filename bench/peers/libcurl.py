"""libcurl, by pycurl: one handle a session, so that the connection is kept."""

from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path
from time import perf_counter

import pycurl

from bench.task import HOST, SENDER, Task, message


def _handle(task: Task, scheme: str) -> tuple[pycurl.Curl, str]:
    curl = pycurl.Curl()
    curl.setopt(pycurl.CAINFO, task.ca)
    curl.setopt(pycurl.USE_SSL, pycurl.USESSL_ALL if task.security == "starttls" else pycurl.USESSL_NONE)
    if task.user:
        curl.setopt(pycurl.USERPWD, f"{task.user}:{task.password}")
    url = f"{scheme}{'s' if task.security == 'tls' else ''}://{HOST}:{task.port}"
    curl.setopt(pycurl.URL, url)
    return curl, url


def submit(task: Task) -> dict[str, float]:
    octets = message(task.size)
    start = perf_counter()
    for numbers in task.sessions:
        curl, _ = _handle(task, "smtp")
        curl.setopt(pycurl.MAIL_FROM, SENDER)
        curl.setopt(pycurl.MAIL_RCPT, [task.recipient])
        curl.setopt(pycurl.UPLOAD, 1)
        curl.setopt(pycurl.INFILESIZE, len(octets))
        for _ in numbers:
            curl.setopt(pycurl.READDATA, io.BytesIO(octets))
            curl.perform()
        curl.close()
    return {"seconds": perf_counter() - start}


def fetch(task: Task) -> dict[str, float]:
    listing = io.BytesIO()
    start = perf_counter()
    curl, url = _handle(task, "pop3")
    with closing(curl):
        curl.setopt(pycurl.WRITEDATA, listing)
        curl.perform()
        for number in (line.split()[0].decode() for line in listing.getvalue().split(b"\r\n") if line):
            with (Path(task.folder) / number).open("wb") as file:
                curl.setopt(pycurl.URL, f"{url}/{number}")
                curl.setopt(pycurl.WRITEDATA, file)
                curl.perform()
    return {"seconds": perf_counter() - start}


poll = fetch
