"""libcurl, by pycurl: one handle a session, so that the connection is kept."""

from __future__ import annotations

import io
from pathlib import Path
from time import perf_counter

import pycurl

from bench.task import HOST, SENDER, Task


def _handle(task: Task) -> pycurl.Curl:
    curl = pycurl.Curl()
    curl.setopt(pycurl.CAINFO, task.ca)
    curl.setopt(pycurl.USE_SSL, pycurl.USESSL_ALL if task.security == "starttls" else pycurl.USESSL_NONE)
    if task.user:
        curl.setopt(pycurl.USERPWD, f"{task.user}:{task.password}")
    return curl


def _url(task: Task, scheme: str) -> str:
    return f"{scheme}{'s' if task.security == 'tls' else ''}://{HOST}:{task.port}"


def submit(task: Task) -> dict[str, float]:
    octets = task.octets()
    start = perf_counter()
    for numbers in task.sessions:
        curl = _handle(task)
        curl.setopt(pycurl.URL, _url(task, "smtp"))
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
    url, folder, listing = _url(task, "pop3"), Path(task.folder), io.BytesIO()
    start = perf_counter()
    curl = _handle(task)
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.WRITEDATA, listing)
    curl.perform()
    for line in listing.getvalue().splitlines():
        number = line.split()[0].decode()
        with (folder / number).open("wb") as file:
            curl.setopt(pycurl.URL, f"{url}/{number}")
            curl.setopt(pycurl.WRITEDATA, file)
            curl.perform()
    curl.close()
    return {"seconds": perf_counter() - start}


def poll(task: Task) -> dict[str, float]:
    start = perf_counter()
    curl = _handle(task)
    curl.setopt(pycurl.URL, _url(task, "pop3"))
    curl.setopt(pycurl.WRITEDATA, io.BytesIO())
    curl.perform()
    curl.close()
    return {"seconds": perf_counter() - start}
