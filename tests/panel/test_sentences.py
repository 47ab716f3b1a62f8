"""What errors say on pages and in mails is in every language of the panel, and the table has nothing else."""

from __future__ import annotations

import ast
import itertools
import re
import string
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import mailslot
import mailslot_plugins.panel
from mailslot.errors import InputError
from mailslot.spool.job import next_state
from mailslot_plugins.panel.sentences import sentences, translated
from mailslot_plugins.panel.translations import LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARY = Path(mailslot.__file__).parent
PLUGINS = Path(mailslot_plugins.panel.__file__).parents[1]

SHOWN = {
    "library": ("slots", "spool", "vault", "service/received.py", "service/handling.py", "smtp/address.py"),
    "plugins": (
        *("addressbook", "alerts", "fax", "gateway", "intake", "panel", "print", "printers", "rules", "scan"),
        *("sending", "status"),
    ),
}
"""Where the sentences are that pages and mails show as they are. What servers and token services do is shown by its
cause (`diagnosis/messages.toml`)."""

ENGLISH = {
    "for a terminal": (
        *(
            "addressbook/command.py",
            "fax/command.py",
            "intake/command.py",
            "panel/security/command.py",
            "printers/cli.py",
            "scan/command.py",
        ),
        *("scan/stdin.py", "scan/sources.py", "slots/settings_export.py", "slots/settings_import.py"),
    ),
    "for programs that use the API": (
        *(
            "panel/api",
            "panel/send/acceptance.py",
            "panel/send/form_data.py",
            "panel/send/idempotency.py",
            "panel/problem.py",
        ),
        *("alerts/panel/api.py", "gateway/panel/api.py", "gateway/panel/api_schemas.py", "addressbook/panel/api.py"),
        *("fax/panel/documents.py", "scan/panel/documents.py", "panel/send/senders.py"),
    ),
    "for those who write plugins": (
        *("slots/plugin_sessions.py", "slots/direct_token_source.py", "slots/maildrop.py", "slots/submitter.py"),
        *("slots/token_sources.py", "spool/store.py", "spool/job_envelope.py", "spool/job_file.py", "spool/ledger.py"),
    ),
    "for a terminal, before the panel runs": (
        *("panel/server.py", "panel/security/certificate.py"),
        *("panel/fleet/app.py", "panel/fleet/settings.py", "panel/fleet/staff.py"),
    ),
}
"""What stays English, and why."""

ENGLISH_SENTENCES = {
    "The fact7 is not text in the terminal's encoding.",
    "There is no secret fact7; there are fact7.",
    "There is no alert fact7. The kinds are: fact7.",
    "The secrets of fact7 are too long.",
    "fact7 cannot name a record or field: use lower-case letters, digits, - and _.",
    "The message has another size than it said.",
    "it is not text",
    "another process has it open",
    "it holds no text where it should",
    "the file was removed or replaced while it was open",
    "No mail is fetched for the address book.",
    "No mail is fetched for the rules for sending.",
    "Scans are sent, and no mail is fetched for them.",
    "alerts receive no mail",
    "They have no recipients. mailslot set scan to=ADDRESS",
    "{fact7} is not known; there are fact7",
    "fact7 is not UTF-8.",
    "file must be a file, with a name.",
}
"""For a terminal, a log, the details for engineers, or those who write programs and plugins."""

COMPOSED = {
    "Job fact7 fact7.",
    "The file fact7 fact7.",
    "Page fact7 of the fact7 fact7.",
    "There is a fact7 fact7 already.",
    "There is no fact7 fact7.",
    "@fact7 has no fact7 in the address book.",
    "An entry can have fact7 fact7 at most.",
    "fact7 cannot be used: fact7. Nothing was sent.",
    "fact7 Nothing was sent.",
}
"""Sentences whose words are facts; the table has each of them that can be."""

NOT_FOR_PEOPLE = {
    *("ValueError", "TypeError", "RuntimeError", "OSError", "FileExistsError", "ModuleNotFoundError"),
    *("RemoteProtocolError", "LibtiffError", "NotTiffError", "_UnsoundError"),
}
"""Errors whose texts are details for engineers."""

MEANING = {"hint": "", "more": "", "verb": "is"}
"""Facts that belong to the sentence; the first two are others behind it, and may be empty."""


def modules() -> list[Path]:
    found = [path for name in SHOWN["library"] for path in python_files(LIBRARY / name)]
    found += [path for name in SHOWN["plugins"] for path in python_files(PLUGINS / name)]
    english = [python for names in ENGLISH.values() for name in names for python in (LIBRARY / name, PLUGINS / name)]
    return [path for path in found if not any(path == each or each in path.parents for each in english)]


def python_files(path: Path) -> list[Path]:
    assert path.exists(), path
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def told(path: Path) -> Iterator[str]:
    """The sentences of a module, each with example facts: of errors, of mail that is set aside, and of tables."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in {"SetAside", "Later"} or (name.endswith(("Error", "_error")) and name not in NOT_FOR_PEOPLE):
                yield from next((texts for each in node.args if (texts := examples(each))), ())
            elif name == "append":
                yield from whole_sentences(node.args[0])
        elif isinstance(node, ast.Return | ast.Yield) and node.value is not None:
            yield from whole_sentences(node.value)
        elif isinstance(node, ast.Dict):
            for value in node.values:
                yield from whole_sentences(value)


def whole_sentences(node: ast.AST) -> list[str]:
    return [text for text in examples(node) if re.fullmatch(r"(?!fact7)[A-Z].*\.", text)]


def examples(node: ast.AST) -> list[str]:
    """The texts that an expression can be; none if it is no sentence."""
    if isinstance(node, ast.JoinedStr):
        parts = [
            examples_of_fact(each) if isinstance(each, ast.FormattedValue) else [text_of(each)] for each in node.values
        ]
        texts = ["".join(each) for each in itertools.product(*parts)]
        return [text for text in texts if " " in re.sub("fact7", "", text).strip()]
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
        return [node.value]
    if isinstance(node, ast.IfExp):
        return examples(node.body) + examples(node.orelse)
    return []


def text_of(node: ast.AST) -> str:
    assert isinstance(node, ast.Constant)
    return str(node.value)


def examples_of_fact(node: ast.FormattedValue) -> list[str]:
    value = node.value
    if isinstance(value, ast.IfExp) and isinstance(value.body, ast.Constant) and isinstance(value.orelse, ast.Constant):
        return [str(value.body.value), str(value.orelse.value)]
    return [MEANING.get(value.id, "fact7") if isinstance(value, ast.Name) else "fact7"]


def test_what_people_are_told_is_translated() -> None:
    """Add a sentence to panel/sentences.toml, or its module to `ENGLISH`."""
    all_told = {path: set(told(path)) for path in modules()}
    sentences_told = set().union(*all_told.values())
    assert len(sentences_told) > 200
    assert (ENGLISH_SENTENCES | COMPOSED) - sentences_told == set()
    untranslated = {text for text in sentences_told if translated(text, "de") == text} - ENGLISH_SENTENCES - COMPOSED
    assert [f"{'/'.join(path.parts[-3:])}: {text}" for path in all_told for text in all_told[path] & untranslated] == []


def test_translated_sentences_are_those_of_the_code() -> None:
    """What stands between facts is in the code, in three parts at most; some sentences are put together from parts."""
    code = re.sub(
        r'"\s+f?"', "", "\n".join(path.read_text() for place in (LIBRARY, PLUGINS) for path in place.rglob("*.py"))
    )
    for texts in sentences():
        assert set(texts) == set(LANGUAGES), texts["en"]
        assert len({frozenset(fields(text)) for text in texts.values()}) == 1, texts["en"]
        literals = [literal for literal, *_ in string.Formatter().parse(texts["en"]) if len(literal) > 3]
        assert [literal for literal in literals if parts_in(code, literal) > 3] == []


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def parts_in(code: str, text: str) -> int:
    """How many parts of a text, each as long as possible, are in the code."""
    words, parts = re.findall(r" *[^ ]+ *", text), 0
    while words:
        length = next((n for n in range(len(words), 0, -1) if "".join(words[:n]).strip() in code), 0)
        assert length, text
        words, parts = words[length:], parts + 1
    return parts


def test_a_sentence_is_translated_with_its_facts_and_what_it_contains() -> None:
    assert translated("Not printed, since it is bulk mail.", "de") == "Nicht gedruckt: die Mail ist eine Massensendung."
    refused = "Not printed, since bob@example.com is not an allowed sender."
    assert translated(refused, "fr") == "Non imprimé : bob@example.com n’est pas un expéditeur autorisé."
    assert translated(refused, "en") == refused
    assert translated("Nobody has written {this}.", "de") == "Nobody has written {this}."
    with pytest.raises(InputError) as found:
        next_state("cancel", "sent", 7)
    assert translated(str(found.value), "de") == "Auftrag 7 ist schon gesendet und kann nicht abgebrochen werden."


def test_several_sentences_are_translated_together_or_not_at_all() -> None:
    refused = "bob@example.com is refused by the rule deny=* of this device."
    both = f"{refused} {refused} Nothing was sent."
    assert translated(both, "de").count("wird durch die Regel deny=* dieses Geräts abgelehnt.") == 2
    assert translated(both, "de").endswith(" Es wurde nichts gesendet.")
    assert translated(f"{refused} Nobody has written this.", "de") == f"{refused} Nobody has written this."
    command = "mailslot set network.smtp server=…"
    assert translated(f"The mail server is not set. {command}", "es").endswith(f"no está configurado. {command}")


def test_what_has_more_fixed_text_comes_first() -> None:
    scanned = "The scanner 'office' has no paper in its feeder. Nothing was sent."
    assert translated(scanned, "de").startswith("Im Einzug des Scanners 'office' ist kein Papier.")
    assert translated("The scanner 'x' failed: no memory. Nothing was sent.", "de") == (
        "Der Scanner 'x' meldet einen Fehler (failed: no memory). Es wurde nichts gesendet."
    )
