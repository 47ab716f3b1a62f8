"""``mailslot explain``."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from typing import Annotated

import typer
from rich.markup import escape

from mailslot.cli.console import make_console, print_error, print_json
from mailslot.cli.home import open_records
from mailslot.cli.language import chosen_language
from mailslot.cli.settings import AsJson


def explain(
    context: typer.Context,
    text: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT…", help="What is shown; without it, standard input.")
    ] = None,
    *,
    language: Annotated[str | None, typer.Option(help="The language to answer in; else the device's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Explain an error from a panel, a log or a client.

    The explanation includes who must act.

    Examples:
        mailslot explain "535 5.7.139 Authentication unsuccessful"
        mailslot explain --language de < mail.log
    """
    from mailslot.causes.cause import causes  # noqa: PLC0415 - only where something is said
    from mailslot.causes.maker_codes import makers_of  # noqa: PLC0415 - only where something is said
    from mailslot.diagnosis.catalogue import actor_name, label  # noqa: PLC0415 - likewise
    from mailslot.diagnosis.catalogue import explain as explain_cause  # noqa: PLC0415 - likewise
    from mailslot.diagnosis.pasted import MAX_TEXT, explain_pasted  # noqa: PLC0415 - likewise

    chosen = chosen_language(open_records(context.obj), language)
    pasted = " ".join(text) if text else sys.stdin.read(MAX_TEXT)
    if not pasted.strip():
        raise typer.BadParameter("give the error as an argument or on standard input", param_hint="TEXT…")
    diagnosis = explain_pasted(pasted)
    if diagnosis is None:
        makers = makers_of(pasted)
        if as_json:
            print_json({"cause": None, **({"makers": makers} if makers else {})})
        elif makers:
            # Another maker uses this number for something else.
            print_error(f"Name the maker as well, such as: mailslot explain {makers[0]} {pasted.strip()}")
        else:
            print_error("Nothing is known about this.")
        raise typer.Exit(1)
    # It is not known to which slot the error belongs.
    explanation = explain_cause(diagnosis, chosen)
    explanation = replace(explanation, actor=causes()[explanation.cause].actor)
    maker = diagnosis.facts.get("maker")
    if as_json:
        document = {key: value for key, value in asdict(explanation).items() if key != "settings"}
        print_json(document | ({"maker": maker} if maker else {}))
        return
    helps = label("helps" if explanation.token_helps else "helps_not", chosen)
    parts = [f"[bold]{escape(explanation.message)}[/bold]", escape(explanation.advice)]
    if explanation.actor is not None:
        parts.append(f"{label('who_must_act', chosen)}: {escape(actor_name(explanation.actor, chosen))}")
    parts.append(f"{label('get_token', chosen)}: {helps}")
    if maker:
        parts.append(f"{label('shown_by', chosen)}: {escape(maker)}")
    parts.append(f"[dim]{explanation.cause}[/dim]")
    make_console().print("\n".join(parts), soft_wrap=True)
