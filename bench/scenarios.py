"""The scenarios that are measured, their clients, and the targets for mailslot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench.servers import EMPTY, LARGE, SMALL

FAR, COUNTING = 0.025, 0.1
"""Seconds of delay each way: a distant server, and one so distant that only round trips matter."""


@dataclass(frozen=True)
class Client:
    """A client, its module or script in ``bench/peers``, and the fields of `Task` that say how it is used."""

    name: str
    peer: str
    settings: dict[str, str] = field(default_factory=dict)


def _ours(mode: str = "") -> list[Client]:
    names = [f"mailslot{mode and f' {mode}'} · {backend}" for backend in ("asyncio", "trio")]
    return [Client(name, "ours", {"mode": mode, "backend": name.split(" · ")[1]}) for name in names]


OURS, MANY, CHUNKED, OURS_DEFAULT = _ours(), _ours("many"), _ours("chunked"), _ours("default context")
AIOSMTPLIB = Client("aiosmtplib", "aiosmtplib")
AIOSMTPLIB_DEFAULT = Client("aiosmtplib default context", "aiosmtplib", {"mode": "default context"})
SMTPLIB, POPLIB = Client("smtplib", "standard_library"), Client("poplib", "standard_library")
SMTPPROTO = Client("smtpproto", "smtpproto", {"security": "starttls"})
LIBCURL, MPOP, NODEMAILER = Client("libcurl", "libcurl"), Client("mpop", "mpop"), Client("nodemailer", "nodemailer.cjs")


@dataclass(frozen=True)
class Scenario:
    """A task, and the clients that perform it.

    Attributes:
        name: its name for ``--only`` and in the table.
        server: ``sink``, ``postfix``, the user of a mailbox on Dovecot, or empty if only modules are imported.
        clients: the clients; the first two of mailslot are judged.
        task: fields of `Task`.
        delay: seconds of delay each way.
        scaled: whether ``--quick`` reduces it.
        ratios: the maximum of our time divided by that of a peer.
        limits: the maximum ``MB``, ``gap`` in seconds and ``trips``; the minimum ``rate`` in messages a second.
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
BATCHES = {"aiosmtplib": 0.30, "smtpproto": 0.35, "smtplib": 0.80}
SCAN = {"MB": 40.0, "gap": 0.020}

SCENARIOS = [
    Scenario("1,000 × 2 KB", "sink", [*OURS, *MANY, *CHUNKED, AIOSMTPLIB, SMTPLIB, SMTPPROTO, LIBCURL, NODEMAILER],
         _submit(1_000), ratios=SESSIONS),
    Scenario("1,000 × 2 KB, a batch", "sink", [*MANY, AIOSMTPLIB, SMTPLIB, SMTPPROTO], _submit(1_000), ratios=BATCHES),
    Scenario("1,000 × 2 KB, no TLS", "sink", [*OURS, *MANY, AIOSMTPLIB, SMTPLIB, LIBCURL],
         _submit(1_000, security="none"), ratios=SESSIONS),
    Scenario("1,000 structured messages", "sink", [*OURS, *MANY, AIOSMTPLIB, SMTPLIB],
         _submit(1_000, source="structured"), ratios={"aiosmtplib": 0.22}),
    Scenario("1,000 × 2 KB, Postfix", "postfix", [*OURS, *MANY, SMTPLIB, LIBCURL, AIOSMTPLIB], _submit(1_000),
         ratios={"smtplib": 1.0, "libcurl": 1.0}),
    Scenario("20 × 2 KB, 50 ms, Postfix", "postfix", [*MANY, *OURS, AIOSMTPLIB, NODEMAILER],
         _submit(20, security="none"), FAR, scaled=False, ratios={"aiosmtplib": 0.31, "nodemailer": 0.60}),
    Scenario("20 × 2 KB chunked, 50 ms, Postfix", "postfix", [*CHUNKED, AIOSMTPLIB], _submit(20, security="none"),
         FAR, scaled=False, ratios={"aiosmtplib": 0.12}),
    Scenario("a session a message, 50 ms", "sink", [*OURS, AIOSMTPLIB, NODEMAILER], _submit(5, per_session=1),
         FAR, scaled=False, ratios={"aiosmtplib": 0.68}),
    Scenario("a session a message", "sink", [*OURS, AIOSMTPLIB, NODEMAILER], _submit(100, per_session=1),
         ratios={"aiosmtplib": 0.80}),
    Scenario("a session a message, default context", "sink", [*OURS_DEFAULT, AIOSMTPLIB_DEFAULT],
         _submit(50, per_session=1), ratios={"aiosmtplib default context": 0.15}),
    Scenario("8 sessions at once", "sink", [*OURS, *MANY, AIOSMTPLIB, NODEMAILER],
         _submit(1_600, per_session=200, parallel=8), scaled=False, ratios={"aiosmtplib": 0.40}),
    Scenario("8 sessions at once, 50 ms", "sink", [*MANY, *OURS, AIOSMTPLIB, NODEMAILER],
         _submit(160, per_session=20, parallel=8), FAR, scaled=False, ratios={"aiosmtplib": 0.40}),
    Scenario("a 50 MB scan", "sink", [*OURS, AIOSMTPLIB, SMTPLIB, NODEMAILER], _submit(source="file", size=50_000_000),
         scaled=False, ratios={"aiosmtplib": 0.10, "smtplib": 0.15, "nodemailer": 0.75}, limits=SCAN),
    Scenario("a 5 MB scan", "sink", OURS, _submit(source="file", size=5_000_000), scaled=False, limits=SCAN),
    Scenario("a 500 MB scan", "sink", OURS, _submit(source="file", size=500_000_000), scaled=False, limits=SCAN),
    Scenario("2,000 × 4 KB", SMALL, [*OURS, POPLIB, MPOP, LIBCURL], FETCH, ratios={"poplib": 0.28, "mpop": 1.2}),
    Scenario("2,000 × 4 KB, 50 ms", SMALL, [*OURS, MPOP], FETCH, FAR, ratios={"mpop": 0.35}, limits={"rate": 1_500}),
    Scenario("40 × 2 MB", LARGE, [*OURS, POPLIB, MPOP, LIBCURL], FETCH, ratios={"libcurl": 1.1}, limits={"MB": 40.0}),
    *[
        Scenario(f"round trips, {security}, {count} message{'s' * (count > 1)}", "sink",
             [*MANY, AIOSMTPLIB, SMTPLIB, LIBCURL, NODEMAILER], _submit(count, security=security), COUNTING,
             scaled=False, limits={"trips": max_trips + 1.05 * (count - 1)})
        for security, max_trips, count in (("none", 5.1, 1), ("tls", 6.2, 1), ("starttls", 8.3, 1), ("tls", 6.2, 11))
    ],
    Scenario("round trips, an empty poll (3 of ours, 2 of theirs to sign in)", EMPTY, [*OURS, POPLIB, LIBCURL],
         {"kind": "poll"}, COUNTING, scaled=False, limits={"trips": 9.05}),
    Scenario("import", "", [Client("mailslot", "mailslot"), Client("aiosmtplib", "aiosmtplib"), Client("anyio",
             "anyio")],
         {}, ratios={"aiosmtplib": 1.2, "aiosmtplib, memory": 1.2}),
]  # fmt: skip
