"""The table ``[print]`` of ``mailslot.toml``."""

from __future__ import annotations

from typing import Final

from mailslot.plugin import Key, Section, keys
from mailslot_plugins.intake.senders import MAX_LISTED, sender_list
from mailslot_plugins.print.options import OPTION_NAMES
from mailslot_plugins.printers.printer import is_printer_address, printer_plugins, printer_set_by


def _printer(value: object) -> str:
    address = keys.text(value)
    if not is_printer_address(address):
        raise ValueError
    return address


SECTION: Final = Section(
    "print",
    {
        "printer": Key(
            "a printer: ipp://HOST/PATH, ipps://HOST/PATH, folder PATH, or command PROGRAM",
            _printer,
            plugins=printer_plugins,
            set_by=printer_set_by,
            forms=((keys.NETWORK_PRINTER, ""), ("folder", "folder "), ("program", "command ")),
        ),
        "ca_file": Key(
            "the path of a file with certificates, for ipps; without it, the printer's first certificate is kept",
            keys.path,
            set_by="local",
        ),
        "allowed_senders": Key(
            f"addresses or @domains, separated by commas, at most {MAX_LISTED}; without any, nobody may print",
            sender_list(),
            default=(),
        ),
        "trusted_server": Key(
            "the name in Authentication-Results of the mail server that checks senders, for example mx.google.com; "
            "mail that it has not found genuine is then not printed",
            keys.text,
        ),
        "printer_languages": Key(
            "true or false: whether PostScript, PCL and PJL are printed, which can control the printer",
            keys.flag,
            default=False,
            set_by="administrator",
        ),
        "body": Key(
            "never, without_attachment or always: when a mail's text is printed",
            keys.one_of("never", "without_attachment", "always"),
            default="without_attachment",
        ),
        "options": Key(
            f"the options that a mail may set: {', '.join(OPTION_NAMES)}, or none",
            keys.list_of(keys.one_of(*OPTION_NAMES, "none")),
            default=OPTION_NAMES,
        ),
        "max_attachments": Key("a number from 1 to 100", keys.number(1, 100), default=10),
        "max_pages": Key("pages of a mail, including copies, from 1 to 2000", keys.number(1, 2000), default=200),
        "max_copies": Key("a number from 1 to 99", keys.number(1, 99), default=10),
        "mails_per_hour": Key("a number from 1 to 1000 for each sender", keys.number(1, 1000), default=20),
        "pages_per_day": Key("a number from 1 to 100000 for each sender", keys.number(1, 100_000), default=500),
        "wait_hours": Key("hours from 1 to 168 that a mail waits for the printer", keys.number(1, 168), default=24),
        "reply": Key("true or false: whether senders are notified of what was not printed", keys.flag, default=True),
        "thumbnails": Key(
            "true or false: whether a small picture of the first page is kept for the panel", keys.flag, default=True
        ),
    },
)
