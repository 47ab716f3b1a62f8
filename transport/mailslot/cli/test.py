"""``mailslot test``: parallel connection tests, with advice for failures."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from rich.cells import cell_len, set_cell_size
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from mailslot.cli.console import make_console, print_json
from mailslot.cli.home import open_records, slot_directory
from mailslot.cli.language import chosen_language
from mailslot.cli.settings import AsJson
from mailslot.cli.suggestion import repairing_command
from mailslot.diagnosis.stages import STAGES
from mailslot.slots.slot import slots_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console, RenderableType

    from mailslot.diagnosis.result import TestResult
    from mailslot.diagnosis.stages import StageResult
    from mailslot.home.home import Home
    from mailslot.slots.records import Records
    from mailslot.slots.slot import Slot

_LABELS = (
    *("who_must_act", "get_token", "helps", "helps_not", "detail", "note", "and", "said", "command"),
    *("proof_send", "proof_smtp", "proof_pop"),
)
_LEAST = 16
"""Characters that wrapped text needs."""

_MARKS = {True: "[green]✓[/green]", False: "[red]✗[/red]"}


def run_test(
    context: typer.Context,
    slots: Annotated[list[str], typer.Argument(metavar="SLOT…", help="Ids of slots, such as network.smtp.")],
    *,
    as_json: AsJson = False,
    send: Annotated[bool, typer.Option("--send", help="Also mail a test message to the slot's own address.")] = False,
    language: Annotated[
        str | None, typer.Option(help="What to say it in: en, de, fr, es or ja; else the device's language.")
    ] = None,
) -> None:
    """Test the connection of slots, and show who must act on a failure.

    No mail is read or deleted, and none is sent without --send.

    Examples:
        mailslot test network.smtp
        mailslot test network.smtp fax.pop --json
        mailslot test alert.smtp --send
    """
    directory = slot_directory(context.obj)
    found = list({slot.id: slot for slot in map(directory.find, slots)}.values())
    records = open_records(context.obj)
    language = chosen_language(records, language)
    progress = _Progress([slot for slot in found if slot == _first_slot(slot, found)])
    console = make_console(soft_wrap=True)
    quiet = as_json or not console.is_terminal
    with (
        nullcontext()
        if quiet
        else Live(console=console, get_renderable=progress.render, transient=True, refresh_per_second=10)
    ):
        results = anyio.run(_test_all, records, found, send, progress.update)
    if as_json:
        print_json([result.as_json(language) for result in results])
    else:
        for slot, result in zip(found, results, strict=True):
            _print_report(console, slot, result, language, context.obj)
        if not (console.is_terminal and sys.stderr.isatty()):  # a person would read them twice
            _print_errors(results, language)
    if not all(result.ok for result in results):
        raise typer.Exit(1)


async def _test_all(
    records: Records,
    slots: Sequence[Slot],
    send: bool,  # noqa: FBT001 - anyio.run passes by position
    on_stage: Callable[[str, StageResult], None],
) -> list[TestResult]:
    """Test all records in parallel, each once; its slots share the result."""
    from mailslot.diagnosis.connection_test import check_connection  # noqa: PLC0415 - httpx2 takes a while to import
    from mailslot.slots.connector import Connector  # noqa: PLC0415 - likewise

    by_record: dict[str, TestResult] = {}

    async def run(slot: Slot) -> None:
        by_record[slot.record] = await check_connection(
            connector, slot, send=send, on_stage=lambda stage: on_stage(slot.record, stage)
        )

    async with Connector(records) as connector, anyio.create_task_group() as group:
        for slot in slots:
            if slot == _first_slot(slot, slots):
                group.start_soon(run, slot)
    return [replace(by_record[slot.record], slot=slot.id) for slot in slots]


def _first_slot(slot: Slot, slots: Sequence[Slot]) -> Slot:
    """Return the first of `slots` that has the same record."""
    return next(other for other in slots if other.record == slot.record)


class _Progress:
    """The table shown while tests run: a row for each stage, a column for each record."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots
        self._spinner = Spinner("dots")
        self._stages: dict[tuple[str, str], StageResult] = {}

    def update(self, record: str, stage: StageResult) -> None:
        """Store the state of a stage."""
        if stage.reached:
            self._stages[record, stage.name] = stage
        else:
            self._stages.pop((record, stage.name), None)

    def render(self) -> RenderableType:
        """Return the table as it is now."""
        table = Table(box=None, padding=(0, 3, 0, 0))
        table.add_column("")
        for slot in self._slots:
            table.add_column(slot.id, no_wrap=True)
        reached = {name for _, name in self._stages}
        for name in (name for name in STAGES if name in reached):
            table.add_row(name, *(self._cell(slot.record, name) for slot in self._slots))
        return table

    def _cell(self, record: str, name: str) -> RenderableType:
        stage = self._stages.get((record, name))
        if stage is None:
            return ""
        return self._spinner if stage.ok is None else f"{_MARKS[stage.ok]} {_time(stage.seconds)}"


def _print_report(console: Console, slot: Slot, result: TestResult, language: str, home: Home) -> None:
    """Print the report of a test for an administrator."""
    from mailslot.diagnosis.catalogue import actor_name, explain, label  # noqa: PLC0415 - only where something is said

    explanation = explain(result.diagnosis, language)
    others = [other.id for other in slots_of(slot.record) if other != slot]
    labels = {name: label(name, language) for name in _LABELS}
    same = f" [dim]({labels['and']} {', '.join(others)})[/dim]" if others else ""
    for line in ("", f"{_MARKS[result.ok]} [bold]{slot.id}[/bold]{same}", *map(_line, result.stages)):
        console.print(line, highlight=False)
    _print_wrapped(console, f"[bold]{escape(explanation.message)}[/bold]")
    if result.ok:
        _print_wrapped(console, labels[_proof_label(slot, result)])
    else:
        _print_wrapped(console, escape(explanation.advice))
        rows = {"who_must_act": "" if explanation.actor is None else actor_name(explanation.actor, language)}
        rows |= {
            "command": repairing_command(home, slot, explanation),
            "get_token": labels["helps" if explanation.token_helps else "helps_not"],
            "detail": result.diagnosis.detail,
        }
        width = max(cell_len(labels[name]) for name in rows) + 1
        for name, text in rows.items():
            if text:
                begin = f"{set_cell_size(f'{labels[name]}:', width)}  "
                _print_wrapped(console, escape(text), begin=begin, is_command=name == "command")
    for warning in result.warnings:
        warned = explain(warning, language)
        begin = f"[yellow]{labels['note']}:[/yellow] "
        _print_wrapped(console, escape(f"{warned.message} {warned.advice}".rstrip()), begin=begin)
    if result.transcript and not result.ok:
        for line in (labels["said"], *(f"  {escape(line)}" for line in result.transcript)):
            console.print(f"[dim]{line}[/dim]", highlight=False)


def _print_wrapped(console: Console, markup: str, *, begin: str = "", is_command: bool = False) -> None:
    """Print a text with rich's markup; on a terminal, it is wrapped between words.

    Args:
        console: where to print.
        markup: the text.
        begin: a prefix, with markup; further lines are indented by its width.
        is_command: whether it is a command, which must stay on one line to be copied.
    """
    first, text = Text.from_markup(begin, emoji=False), Text.from_markup(markup, emoji=False)
    room = console.width - first.cell_len
    lines = text.wrap(console, room) if console.is_terminal and room >= _LEAST and not is_command else [text]
    for number, line in enumerate(lines):
        line.rstrip()
        console.print(first + line if number == 0 else Text(" " * first.cell_len) + line, highlight=False)


def _line(stage: StageResult) -> str:
    return f"  {stage.name:<12}  {_MARKS[bool(stage.ok)]}  {_time(stage.seconds):>8}  {escape(stage.note)}".rstrip()


def _proof_label(slot: Slot, result: TestResult) -> str:
    """Return the label that says what a passed test proves."""
    if any(stage.name == "send" for stage in result.stages):
        return "proof_send"
    return "proof_smtp" if slot.protocol == "SMTP" else "proof_pop"


def _print_errors(results: Sequence[TestResult], language: str) -> None:
    """Print the sentence of each failed test on standard error."""
    from mailslot.diagnosis.catalogue import explain  # noqa: PLC0415 - only where something is said

    for result in results:
        if not result.ok:
            slot = f"{result.slot}: " if len(results) > 1 else ""
            sys.stderr.write(f"{slot}{explain(result.diagnosis, language).message}\n")


def _time(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds < 10 else f"{seconds:.0f} s"
