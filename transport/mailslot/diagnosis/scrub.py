"""Masks secrets in documents that leave the device, as a last check of texts that should contain none."""

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

_OWN_FACTS: Final = frozenset(
    {"host", "port", "account", "sender", "provider", "missing", "minutes", "hours", "days", "security_now"}
    | {"security_right", "until", "size", "limit"}
)
"""Facts of a diagnosis that never come from a server."""

_NGRAM_LENGTH: Final = 12
_MIN_LENGTH: Final = 4
_MIN_SPANNING_LENGTH: Final = 6
"""Characters of a match across two texts, below which it may be chance."""
_REPLY_PREFIX: Final = re.compile(r"^(?:[CS]: |\*  )(?:[0-9]{3}[ -](?:[245]\.[0-9]{1,3}\.[0-9]{1,3} )?)?")
"""The prefix of a reply in a transcript, which would interrupt a secret that continues over several lines."""


class Scrubber:
    """Masks all texts of a document that contain a piece of a device's secrets.

    Only letters and digits are compared, without regard to case and across the ends of texts. So a secret is found
    however it was cut, wrapped, quoted or encoded: in clear, in base64 at any of its three alignments, in
    hexadecimal, or percent-encoded. A text that shares twelve characters in a row with a secret is masked as a whole.
    Secrets under four characters are ignored, since they would match everywhere. Names in JSON objects are never from
    outside, and are not compared.

    Args:
        secrets: the secrets that must not be in a document.
    """

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._ngrams: dict[int, set[str]] = {}
        for secret in secrets:
            text = secret.reveal()
            for form in _forms(text) if len(text) >= _MIN_LENGTH else ():
                size = min(_NGRAM_LENGTH, len(form))
                self._ngrams.setdefault(size, set()).update(form[at : at + size] for at in range(len(form) - size + 1))

    def scrub(self, document: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Return a JSON document in which each text that contains a piece of a secret is replaced by ``•••``."""
        texts = list(_texts(document))
        matches = self._matches(texts)
        return _masked(document, iter(matches)) if any(matches) else document

    def _matches(self, texts: list[str]) -> list[bool]:
        """Return for each text whether it contains a piece of a secret, or is part of one across several texts."""
        plain = [_plain(_REPLY_PREFIX.sub("", text)) for text in texts]
        whole = "".join(plain)
        owners = [owner for owner, part in enumerate(plain) for _ in part]
        matches = [False] * len(texts)
        for size, ngrams in self._ngrams.items():
            for at in range(len(whole) - size + 1):
                if whole[at : at + size] in ngrams:
                    first, last = owners[at], owners[at + size - 1]
                    if size >= _MIN_SPANNING_LENGTH or first == last:
                        matches[first : last + 1] = [True] * (last + 1 - first)
        return matches


def secret_parts(secret: Secret) -> list[Secret]:
    """Return the secret values in a secret: itself, or the key members if it is a JSON key file."""
    text = secret.reveal()
    matches = [text]
    try:
        values: Any = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if isinstance(values, dict):
        known = cast("dict[str, object]", values)
        matches = [str(value) for key, value in known.items() if "key" in key] or [text]
    return [Secret(piece) for piece in matches]


def scrub_result(result: TestResult, secrets: Iterable[Secret]) -> TestResult:
    """Return a test's result in which texts of servers that contain a piece of a secret are masked."""
    scrubber = Scrubber(secrets)

    def clean(diagnosis: Diagnosis) -> Diagnosis:
        quoted_facts = {name: value for name, value in diagnosis.facts.items() if name not in _OWN_FACTS}
        facts = {**diagnosis.facts, **scrubber.scrub(quoted_facts)}
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
        *(base64_of(octets, offset) for offset in range(3)),
    }
    return {plain for form in forms if len(plain := _plain(form)) >= _MIN_LENGTH}


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


def _masked(document: object, matches: Iterator[bool]) -> Any:  # noqa: ANN401 - whatever JSON holds
    if isinstance(document, dict):
        entries = cast("dict[str, object]", document).items()
        return {key: _masked(value, matches) for key, value in entries}
    if isinstance(document, list | tuple):
        return [_masked(value, matches) for value in cast("list[object]", document)]
    if isinstance(document, str):
        return MASK if next(matches) else document
    return document
