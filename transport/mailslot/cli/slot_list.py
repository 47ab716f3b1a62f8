"""The list of ``mailslot slots``, without typer."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import anyio

from mailslot.cli.console import make_console, print_json
from mailslot.cli.home import open_records, slot_directory
from mailslot.cli.service_hint import warn_if_no_service
from mailslot.cli.suggestion import suggested_command
from mailslot.service.json_documents import slot_rows
from mailslot.timestamps import short_local_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mailslot.home.home import Home

HEALTH_MARKS: Final = {
    "ok": "[green]✓[/green]",
    "expiring": "[yellow]![/yellow]",
    "needs_token": "[red]✗[/red]",
    "needs_administrator": "[red]✗[/red]",
    "unreadable": "[red]✗[/red]",
}
"""The mark before a token of each health."""

SIGN_INS: Final = {"none": "none", "password": "password", "pop_before_smtp": "POP first", "oauth2": "OAuth 2.0"}
"""The names of the authentication methods in a table."""


def print_slots(home: Home, *, as_json: bool, long: bool = False) -> None:
    """Print every slot and account of a home folder, as a table or as JSON.

    Args:
        home: the home folder.
        as_json: whether to print JSON.
        long: whether to print the place on the panel and the record as well.

    Raises:
        MailError: their state cannot be read.
    """
    rows = anyio.run(slot_rows, open_records(home), slot_directory(home).slots)
    if as_json:
        print_json(rows)
        warn_if_no_service(home)
        return
    from mailslot.cli.listing import print_listing  # noqa: PLC0415 - `--json` does without it

    console = make_console()
    headings = ["Slot", "Sign-in", "Token", "Last test"] + (["Record", "On the panel"] if long else [])
    cells = [
        [
            row["slot"],
            SIGN_INS[row["authentication"]],
            token_cell(row),
            _last_test(row["last_test"]),
            *([row["record"], f"[dim]{row['path']}[/dim]"] if long else []),
        ]
        for row in rows
    ]
    print_listing(console, headings, cells, wrapped={"On the panel"})
    for line in remarks(home, rows):
        console.print(line, highlight=False)
    warn_if_no_service(home)


def token_cell(row: dict[str, Any]) -> str:
    """Return a token's line, marked and coloured by its health.

    Args:
        row: a row of `mailslot.service.json_documents.token_rows`.
    """
    if row["health"] is not None:
        mark = HEALTH_MARKS[row["health"]["state"]]
    elif row["authentication"] == "oauth2":
        mark = "[red]✗[/red]"
    else:
        return f"[dim]  {row['token']}[/dim]"
    colour = mark[1 : mark.index("]")]
    return f"{mark} [{colour}]{row['token']}[/{colour}]"


def _last_test(test: dict[str, Any] | None) -> str:
    if test is None:
        return "[dim]–[/dim]"
    mark = "[green]✓[/green]" if test["ok"] else "[red]✗[/red]"
    return f"{mark} {_local_time(test['at'])}"


def remarks(home: Home, rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield a sentence about each faulty record, with the command that helps.

    Args:
        home: the home folder.
        rows: rows of `mailslot.service.json_documents.slot_rows`, or of `token_rows`.
    """
    by_record: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_record.setdefault(row["record"], []).append(row)
    for same in by_record.values():
        sentence, command = _remark(same[0])
        if sentence:
            yield f"\n{sentence.format(slots=', '.join(row['slot'] for row in same))}"
        if command:
            yield f"  {suggested_command(home, *command, same[0]['slot'])}"


def _remark(row: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return the sentence about a row, with a placeholder for the names of its slots, and the words of a command."""
    from rich.markup import escape  # noqa: PLC0415 - `--json` does without it

    def text(sentence: str) -> str:
        return escape(sentence).replace("{", "{{").replace("}", "}}")

    health, test = row["health"], row.get("last_test")
    if health is None and row["authentication"] == "oauth2":
        return "[red]✗[/red] {slots}: No token has been obtained yet.", ("token", "get")
    if health is not None and health["state"] != "ok":
        get = ("token", "get") if health["state"] in {"needs_token", "unreadable"} else ()
        return f"{HEALTH_MARKS[health['state']]} {{slots}}: {text(health['sentence'])}", get
    if test is not None and not test["ok"]:
        from mailslot.diagnosis.catalogue import explain  # noqa: PLC0415 - only where something is wrong
        from mailslot.diagnosis.diagnosis import Diagnosis  # noqa: PLC0415 - as above

        worked = f" It worked until {_local_time(test['worked_at'])}." if test["worked_at"] else ""
        sentence = explain(Diagnosis(test["cause"])).message
        return f"[red]✗[/red] {{slots}}: {text(sentence)} [dim]({test['cause']})[/dim]{worked}", ("test",)
    if health is not None and health["flow_can_be_blocked"]:
        flow = text(health["flow"])
        return f"[yellow]![/yellow] {{slots}}: the token may be blocked at any time: its flow is {flow}.", ()
    return "", ()


def _local_time(timestamp: str) -> str:
    return short_local_time(datetime.fromisoformat(timestamp).timestamp())
