"""What is measured, between whom, and what mailslot is to reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench.servers import EMPTY, LARGE, SMALL

FAR, COUNTING = 0.025, 0.1
"""Seconds each way of a long line, and of one so long that nothing but round trips matters."""


@dataclass(frozen=True)
class Client:
    """A client, its module or script in ``bench/peers``, and the fields of `Task` that make the way it is used."""

    name: str
    peer: str
    settings: dict[str, str] = field(default_factory=dict)


def _ours(way: str = "") -> list[Client]:
    names = [f"mailslot{way and f' {way}'} · {backend}" for backend in ("asyncio", "trio")]
    return [Client(name, "ours", {"way": way, "backend": name.split(" · ")[1]}) for name in names]


OURS, MANY, CHUNKED, OURS_DEFAULT = _ours(), _ours("many"), _ours("chunked"), _ours("default context")
AIOSMTPLIB = Client("aiosmtplib", "aiosmtplib")
AIOSMTPLIB_DEFAULT = Client("aiosmtplib default context", "aiosmtplib", {"way": "default context"})
SMTPLIB, POPLIB = Client("smtplib", "standard_library"), Client("poplib", "standard_library")
SMTPPROTO = Client("smtpproto", "smtpproto", {"security": "starttls"})
LIBCURL, MPOP, NODEMAILER = Client("libcurl", "libcurl"), Client("mpop", "mpop"), Client("nodemailer", "nodemailer.cjs")


@dataclass(frozen=True)
class Work:
    """One thing to do, and the clients that do it.

    Attributes:
        name: how ``--only`` and the table call it.
        server: ``sink``, ``postfix``, whose mailbox on Dovecot, or empty where only modules are imported.
        clients: who does it; mailslot's first two are judged.
        task: fields of `Task`.
        delay: seconds each way.
        scaled: whether ``--quick`` does a part of it.
        ratios: the most that our time may be, in that of a peer.
        limits: the most ``MB``, seconds of ``gap``, ``trips``; the least messages a second as ``rate``.
    """

    name: str
    server: str
    clients: list[Client]
    task: dict[str, Any]
    delay: float = 0.0
    scaled: bool = True
    ratios: dict[str, float] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)


def _submit(count: int = 1, **task: Any) -> dict[str, Any]:
    return {"kind": "submit", "count": count} | task


FETCH = {"kind": "fetch"}
SESSIONS = {"aiosmtplib": 0.40, "smtpproto": 0.35, "smtplib": 1.0}
SCAN = {"MB": 40.0, "gap": 0.020}

WORKS = [
    Work("1,000 × 2 KB", "sink", [*OURS, *MANY, *CHUNKED, AIOSMTPLIB, SMTPLIB, SMTPPROTO, LIBCURL, NODEMAILER],
         _submit(1_000), ratios=SESSIONS),
    Work("1,000 × 2 KB, a batch", "sink", [*MANY, AIOSMTPLIB, SMTPLIB, SMTPPROTO], _submit(1_000), ratios=SESSIONS),
    Work("1,000 × 2 KB, no TLS", "sink", [*OURS, *MANY, AIOSMTPLIB, SMTPLIB, LIBCURL], _submit(1_000, security="none"),
         ratios=SESSIONS),
    Work("1,000 structured messages", "sink", [*OURS, *MANY, AIOSMTPLIB, SMTPLIB], _submit(1_000, source="structured"),
         ratios={"aiosmtplib": 0.25}),
    Work("1,000 × 2 KB, Postfix", "postfix", [*OURS, *MANY, SMTPLIB, LIBCURL, AIOSMTPLIB], _submit(1_000),
         ratios={"smtplib": 1.0, "libcurl": 1.0}),
    Work("20 × 2 KB, 50 ms, Postfix", "postfix", [*MANY, *OURS, AIOSMTPLIB, NODEMAILER], _submit(20, security="none"),
         FAR, scaled=False, ratios={"aiosmtplib": 0.31, "nodemailer": 0.60}),
    Work("20 × 2 KB chunked, 50 ms, Postfix", "postfix", [*CHUNKED, AIOSMTPLIB], _submit(20, security="none"),
         FAR, scaled=False, ratios={"aiosmtplib": 0.12}),
    Work("a session a message, 50 ms", "sink", [*OURS, AIOSMTPLIB, NODEMAILER], _submit(5, per_session=1),
         FAR, scaled=False, ratios={"aiosmtplib": 0.68}),
    Work("a session a message", "sink", [*OURS, AIOSMTPLIB, NODEMAILER], _submit(100, per_session=1),
         ratios={"aiosmtplib": 0.80}),
    Work("a session a message, default context", "sink", [*OURS_DEFAULT, AIOSMTPLIB_DEFAULT],
         _submit(50, per_session=1), ratios={"aiosmtplib default context": 0.15}),
    Work("8 sessions at once", "sink", [*OURS, *MANY, AIOSMTPLIB, NODEMAILER],
         _submit(1_600, per_session=200, parallel=8), scaled=False, ratios={"aiosmtplib": 0.40}),
    Work("8 sessions at once, 50 ms", "sink", [*MANY, *OURS, AIOSMTPLIB, NODEMAILER],
         _submit(160, per_session=20, parallel=8), FAR, scaled=False, ratios={"aiosmtplib": 0.40}),
    Work("a 50 MB scan", "sink", [*OURS, AIOSMTPLIB, SMTPLIB, NODEMAILER], _submit(source="file", size=50_000_000),
         scaled=False, ratios={"aiosmtplib": 0.10, "smtplib": 0.15, "nodemailer": 0.75}, limits=SCAN),
    Work("a 5 MB scan", "sink", OURS, _submit(source="file", size=5_000_000), scaled=False, limits=SCAN),
    Work("a 500 MB scan", "sink", OURS, _submit(source="file", size=500_000_000), scaled=False, limits=SCAN),
    Work("2,000 × 4 KB", SMALL, [*OURS, POPLIB, MPOP, LIBCURL], FETCH, ratios={"poplib": 0.30, "mpop": 1.2}),
    Work("2,000 × 4 KB, 50 ms", SMALL, [*OURS, MPOP], FETCH, FAR, ratios={"mpop": 0.35}, limits={"rate": 1_500}),
    Work("40 × 2 MB", LARGE, [*OURS, POPLIB, MPOP, LIBCURL], FETCH, ratios={"libcurl": 1.1}, limits={"MB": 40.0}),
    *[
        Work(f"round trips, {security}, {count} message{'s' * (count > 1)}", "sink",
             [*MANY, AIOSMTPLIB, SMTPLIB, LIBCURL, NODEMAILER], _submit(count, security=security), COUNTING,
             scaled=False, limits={"trips": most + 1.05 * (count - 1)})
        for security, most, count in (("none", 5.1, 1), ("tls", 6.2, 1), ("starttls", 8.3, 1), ("tls", 6.2, 11))
    ],
    Work("round trips, an empty poll (3 of ours, 2 of theirs to sign in)", EMPTY, [*OURS, POPLIB, LIBCURL],
         {"kind": "poll"}, COUNTING, scaled=False, limits={"trips": 9.2}),
    Work("import", "", [Client("mailslot", "mailslot"), Client("aiosmtplib", "aiosmtplib"), Client("anyio", "anyio")],
         {}, ratios={"aiosmtplib": 1.2, "aiosmtplib, memory": 1.2}),
]  # fmt: skip
