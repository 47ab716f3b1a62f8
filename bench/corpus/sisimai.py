"""Bounces compared with what Sisimai's own tests expect: ``python -m bench.corpus.sisimai RB-SISIMAI``.

The argument is a checkout of github.com/sisimai/rb-sisimai, which has the mails and, in Ruby, the
expected enhanced status code, reply code and reason of each recipient.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import anyio

from bench.corpus.mails import label
from mailslot_plugins.intake.mail import open_mail
from mailslot_plugins.intake.process import IntakeError

if TYPE_CHECKING:
    from mailslot_plugins.intake.mail import OpenedMail

_MAIL = re.compile(r"'(\d+)'\s*=>\s*\[((?:\s*\[[^\[\]]*\],?)+)\s*\]")
_RECIPIENT = re.compile(r"\[\s*'([\d.]*)',\s*'(\d*)',\s*'(\w*)'")
_ACTIONS = {"failed": "5", "delayed": "4", "delivered": "2", "relayed": "2", "expanded": "2"}


class Expected(NamedTuple):
    """What Sisimai expects of one recipient."""

    status: str
    code: str
    reason: str


class Comparison(NamedTuple):
    """What was recognized in one mail: that it is not to be printed, its recipients, actions and statuses."""

    unprinted: bool
    recipients: bool
    actions: bool
    statuses: bool
    note: str


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.corpus.sisimai", description=__doc__)
    parser.add_argument("checkout", type=Path)
    checkout: Path = parser.parse_args().checkout.absolute()
    cases = [
        (checkout / "set-of-emails" / "maildir" / "bsd" / f"{file.stem}-{number}.eml", expected)
        for file in sorted((checkout / "test" / "public").glob("*.rb"))
        for number, expected in expectations(file.read_text())
    ]
    cases = [(path, expected) for path, expected in cases if path.is_file()]
    with ThreadPoolExecutor(2) as pool:
        comparisons = list(pool.map(lambda case: compare(*case), cases))
    totals = Counter(name for each in comparisons for name in Comparison._fields[:-1] if getattr(each, name))
    for name in Comparison._fields[:-1]:
        print(f"{name}: {totals[name]} of {len(cases)} ({totals[name] / len(cases):.1%})")
    for (path, expected), each in zip(cases, comparisons, strict=True):
        if not all(each[:-1]):
            print(f"    {path.stem}: {each.note}; expected {[(one.status, one.code, one.reason) for one in expected]}")


def expectations(ruby: str) -> list[tuple[str, list[Expected]]]:
    """Return what a file of Sisimai's tests expects, by the number of the mail."""
    return [
        (mail[1], [Expected(*each.groups()) for each in _RECIPIENT.finditer(mail[2])]) for mail in _MAIL.finditer(ruby)
    ]


def compare(path: Path, expected: list[Expected]) -> Comparison:
    """Open a bounce and compare it with what is expected."""
    with tempfile.TemporaryDirectory(prefix="corpus-") as scratch:
        try:
            mail = anyio.run(open_mail, path, Path(scratch))
        except IntakeError as error:
            # It is set aside, and so not printed.
            return Comparison(unprinted=True, recipients=False, actions=False, statuses=False, note=str(error))
        return compare_mail(mail, expected)


def compare_mail(mail: OpenedMail, expected: list[Expected]) -> Comparison:
    """Compare an opened bounce with what is expected."""
    unprinted = label(mail) != "person"
    if expected[0].reason in {"feedback", "vacation"}:
        # These do not report a delivery.
        return Comparison(unprinted, recipients=True, actions=True, statuses=True, note=label(mail))
    groups = [] if mail.report is None else [g for g in mail.report.groups if "action" in g or "final-recipient" in g]
    actions = sorted(_ACTIONS.get(group.get("action", "").split(" ")[0].lower(), "?") for group in groups)
    statuses = sorted(group.get("status", "").split(" ")[0] for group in groups)
    actions_match = len(groups) == len(expected) and all(
        # A failure after days of retries has the status of a temporary failure.
        actual == expected_status[:1] or (actual == "5" and expected_status[:1] == "4")
        for actual, expected_status in zip(actions, sorted(one.status for one in expected), strict=True)
    )
    statuses_match = len(groups) == len(expected) and all(
        actual == expected_status or int(expected_status.rpartition(".")[2] or 999) >= 900
        for actual, expected_status in zip(statuses, sorted(one.status for one in expected), strict=True)
    )
    return Comparison(
        unprinted, len(groups) == len(expected), actions_match, statuses_match, f"{label(mail)} {actions} {statuses}"
    )


if __name__ == "__main__":
    main()
