"""Secrets taken out of documents that leave the device: the last look, after all that was written without them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

from mailslot.wire.redact import base64_of
from mailslot.wire.secret import MASK, Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mailslot.diagnosis.diagnosis import Diagnosis
    from mailslot.diagnosis.result import TestResult

_OURS: Final = frozenset(
    {"host", "port", "account", "sender", "provider", "missing", "minutes", "hours", "days", "security_now"}
    | {"security_right", "until", "size", "limit"}
)
"""Facts of a diagnosis that nobody else can have written."""

_GRAM: Final = 12
_SHORT: Final = 4
_RUNS_ON: Final = 6
"""Characters from which on it is no chance that a text's end and the next one's beginning make a secret."""
_MARK: Final = re.compile(r"^(?:[CS]: |\*  )(?:[0-9]{3}[ -](?:[245]\.[0-9]{1,3}\.[0-9]{1,3} )?)?")
"""What stands before the words of a reply: it would hide a secret that goes on over several lines."""


class Scrubber:
    """Knows the secrets of a device, and masks the texts of a document in which a piece of one stands.

    What is compared are letters and digits alone, in one case, and over the ends of texts, so that it does not
    matter how a secret was cut, wrapped, quoted or encoded: as it is, in base64 at any of its three alignments, in
    hexadecimal, or for an address. A text that shares twelve of them in a row with a secret is masked as a whole.
    Secrets under four characters are not looked for: they would be found everywhere. Names of JSON's objects are
    ours, and are not looked at.

    Args:
        secrets: what must not be in a document.
    """

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._grams: dict[int, set[str]] = {}
        for secret in secrets:
            text = secret.reveal()
            for form in _forms(text) if len(text) >= _SHORT else ():
                size = min(_GRAM, len(form))
                self._grams.setdefault(size, set()).update(form[at : at + size] for at in range(len(form) - size + 1))

    def scrub(self, document: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Return a document of JSON's kinds, with ``•••`` in place of each text that holds a piece of a secret."""
        texts = list(_texts(document))
        found = self._found(texts)
        return _masked(document, iter(found)) if any(found) else document

    def _found(self, texts: list[str]) -> list[bool]:
        """Return for each text whether a piece of a secret stands in it, or runs through it."""
        plain = [_plain(_MARK.sub("", text)) for text in texts]
        whole = "".join(plain)
        owners = [owner for owner, part in enumerate(plain) for _ in part]
        found = [False] * len(texts)
        for size, grams in self._grams.items():
            for at in range(len(whole) - size + 1):
                if whole[at : at + size] in grams:
                    first, last = owners[at], owners[at + size - 1]
                    if size >= _RUNS_ON or first == last:
                        found[first : last + 1] = [True] * (last + 1 - first)
        return found


def pieces(secret: Secret) -> list[Secret]:
    """Return a secret, and where it is a file of several, such as a key in PEM or JSON, what in it is secret."""
    text = secret.reveal()
    found = [text]
    try:
        values: Any = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if isinstance(values, dict):
        known = cast("dict[str, object]", values)
        found = [str(value) for key, value in known.items() if "key" in key] or [text]
    return [Secret(piece) for piece in found]


def scrubbed(result: TestResult, secrets: Iterable[Secret]) -> TestResult:
    """Return a test's result with what others said masked where a piece of a secret stands in it.

    Args:
        result: how the test went.
        secrets: those that were used in it.
    """
    scrubber = Scrubber(secrets)

    def clean(diagnosis: Diagnosis) -> Diagnosis:
        theirs = {name: value for name, value in diagnosis.facts.items() if name not in _OURS}
        facts = {**diagnosis.facts, **scrubber.scrub(theirs)}
        return replace(diagnosis, facts=facts, detail=scrubber.scrub(diagnosis.detail))

    return replace(
        result,
        diagnosis=clean(result.diagnosis),
        stages=tuple(replace(stage, note=scrubber.scrub(stage.note)) for stage in result.stages),
        transcript=tuple(scrubber.scrub(list(result.transcript))),
        warnings=tuple(map(clean, result.warnings)),
    )


def _forms(text: str) -> set[str]:
    octets = text.encode("utf-8", "surrogatepass")
    forms = {
        text,
        quote(text, safe=""),
        octets.hex(),
        json.dumps(text),
        *(base64_of(octets, lead) for lead in range(3)),
    }
    return {plain for form in forms if len(plain := _plain(form)) >= _SHORT}


def _plain(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _texts(document: object) -> Iterator[str]:
    if isinstance(document, dict):
        for value in cast("dict[str, object]", document).values():
            yield from _texts(value)
    elif isinstance(document, list | tuple):
        for value in cast("list[object]", document):
            yield from _texts(value)
    elif isinstance(document, str):
        yield document


def _masked(document: object, found: Iterator[bool]) -> Any:  # noqa: ANN401 - whatever JSON holds
    if isinstance(document, dict):
        entries = cast("dict[str, object]", document).items()
        return {key: _masked(value, found) for key, value in entries}
    if isinstance(document, list | tuple):
        return [_masked(value, found) for value in cast("list[object]", document)]
    if isinstance(document, str):
        return MASK if next(found) else document
    return document
