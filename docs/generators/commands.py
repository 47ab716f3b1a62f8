"""The page of commands, from the same data as their help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from typer.main import get_command

from generators.tables import code, table
from mailslot.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXAMPLES: Final[Mapping[str, str]] = {
    "slots": "mailslot slots",
    "show": "mailslot show network.smtp\nmailslot show device --json",
    "set": "mailslot set network.smtp provider=microsoft365 account=scanner@example.com authentication=oauth2\n"
    "mailslot set network.smtp client_secret=-\n"
    "mailslot set fax.pop check_interval=\n"
    "mailslot set devices.copier to=*@example.com,boss@example.net\n"
    'mailslot set device name="Copier on the second floor" administrator=admin@example.com',
    "test": "mailslot test network.smtp\nmailslot test network.smtp fax.pop --json\nmailslot test alert.smtp --send",
    "export": "mailslot export settings.toml --without account,sender_address",
    "import": "mailslot import settings.toml --dry-run\nmailslot import settings.toml --yes",
    "report": "mailslot report report.zip",
    "explain": 'mailslot explain "535 5.7.139 Authentication unsuccessful"\nmailslot explain --language de < mail.log',
    "decode": "mailslot decode < token.txt\nmailslot decode --json < dialogue.log",
    "plugins": "mailslot plugins",
    "poll": "mailslot poll fax.pop\nmailslot poll print.pop --again",
    "received": "mailslot received\nmailslot received --record print-pop --state set_aside",
    "serve": "mailslot serve\nmailslot serve --listen 8025\nmailslot serve --listen 0.0.0.0:8443",
    "metrics": "mailslot metrics",
    "token get": "mailslot token get network.smtp\nmailslot token get network.smtp --flow paste",
    "token delete": "mailslot token delete network.smtp\nmailslot token delete network.smtp --yes",
    "token moved": "mailslot token moved\nmailslot token moved fax.pop --yes",
    "token rotate-key": "mailslot token rotate-key",
    "token status": "mailslot token status\nmailslot token status network.smtp --json",
    "account add": "mailslot account add office\nmailslot account add inbox --protocol pop3",
    "account list": "mailslot account list",
    "account remove": "mailslot account remove office --yes",
    "listener add": "mailslot listener add scanners --listen 192.168.1.5:587\n"
    "mailslot listener add old --listen 192.168.1.5:2587 --legacy\n"
    "mailslot listener add plain --listen 192.168.1.5:25 --security none",
    "listener list": "mailslot listener list",
    "listener remove": "mailslot listener remove old",
    "device add": "mailslot device add copier --user copier --address 192.168.1.20\n"
    "mailslot device add fax --address 192.168.1.21 --via account.office --to '*@example.com' --limit 20/minute",
    "device adopt": "mailslot device adopt 192.168.1.22 copier",
    "device list": "mailslot device list",
    "device show": "mailslot device show copier",
    "device remove": "mailslot device remove copier",
    "device password": "mailslot device password copier",
    "device log": "mailslot device log copier",
    "device unknown": "mailslot device unknown",
    "jobs": "mailslot jobs\nmailslot jobs --state held --state failed",
    "jobs show": "mailslot jobs show 17",
    "jobs retry": "mailslot jobs retry 17",
    "jobs cancel": "mailslot jobs cancel 17",
    "scan": "mailslot scan page.pdf --to alice@example.com --wait\n"
    "mailslot scan page1.tif page2.tif --to alice@example.com,bob@example.com --subject 'Contract {date}'\n"
    "mailslot scan --device test:0 --source adf --to alice@example.com",
    "alert raise": 'mailslot alert raise toner_low --part black --detail "5 % are left"',
    "alert clear": "mailslot alert clear toner_low --part black",
    "alert list": "mailslot alert list",
    "fax send": "mailslot fax send contract.pdf --to fax@example.net --confirm",
    "panel password": "mailslot panel password",
    "printer certificates": "mailslot printer certificates",
    "printer forget": "mailslot printer forget printer.example:631",
    "demo": "mailslot demo\nmailslot demo --once",
}
"""Examples of each command; a test checks that every command has one, and that each can be parsed."""


def commands() -> Iterator[tuple[str, Any, Any]]:
    """Yield every command: its words, the command and its context."""
    top: Any = get_command(app)
    context = top.make_context("mailslot", [], resilient_parsing=True)
    for name in sorted(top.list_commands(context)):
        yield from _below(name, top.get_command(context, name), context)


def _below(words: str, command: Any, parent: Any) -> Iterator[tuple[str, Any, Any]]:  # noqa: ANN401 - typer does not export their types
    context = command.make_context(words.rsplit(maxsplit=1)[-1], [], parent=parent, resilient_parsing=True)
    children = getattr(command, "commands", {})
    if not children or command.invoke_without_command:
        yield words, command, context
    for name, child in children.items():
        yield from _below(f"{words} {name}", child, context)


def all_commands() -> str:
    """Return the commands in Markdown, each with a heading."""
    return "\n".join(_section(*each) for each in commands())


def _section(words: str, command: Any, context: Any) -> str:  # noqa: ANN401 - as above
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    usage = " ".join(["mailslot", words, *(_usage(each) for each in arguments), "[OPTIONS]"])
    rows = [(code(_usage(each)), _meaning(each, context)) for each in arguments]
    rows += [(code(each.get_help_record(context)[0]), _meaning(each, context)) for each in options]
    return "\n".join(
        [
            f"## `mailslot {words}` {{ #mailslot-{words.replace(' ', '-')} }}",
            "",
            command.help or "",
            "",
            f"```text\n{usage}\n```",
            "",
            table(("", ""), rows),
            f"```sh\n{EXAMPLES[words]}\n```" if words in EXAMPLES else "",
            "",
        ]
    )


def _usage(argument: Any) -> str:  # noqa: ANN401 - as above
    name = argument.metavar or argument.name.upper()
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _meaning(parameter: Any, context: Any) -> str:  # noqa: ANN401 - as above
    record = parameter.get_help_record(context)
    text = record[1] if record else parameter.help or ""
    return text.replace("[required]", "").replace("[", "(").replace("]", ")").replace("|", "\\|").strip()
