"""The page that leads from a code or a text to its cause, from the same tables as the page of causes."""

from __future__ import annotations

from generators.quotations import quotations
from generators.tables import quoted, table
from mailslot.causes.maker_codes import maker_codes
from mailslot.oauth.token_error_table import error_table


def smtp_codes() -> str:
    """Return a table of SMTP's codes: for each cause that a code was sent for, the shortest text."""
    found: dict[str, dict[str, list[str]]] = {}
    for each in quotations():
        if each.code:
            found.setdefault(each.code, {}).setdefault(each.cause, []).append(each.text)
    rows = [
        (_anchor(f"smtp-{code.replace(' ', '-')}", code) if number == 0 else "", quoted(text), _link(cause))
        for code in sorted(found, key=_sort_key)
        for number, (cause, text) in enumerate(
            sorted((cause, min(said, key=len)) for cause, said in found[code].items())
        )
    ]
    return table(("Code", "Such as", "Cause"), rows)


def aadsts_codes() -> str:
    """Return a table of Microsoft's AADSTS numbers."""
    rows = [
        (_anchor(f"aadsts{number}", f"AADSTS{number}"), _link(meaning.cause))
        for number, meaning in sorted(error_table().aadsts.items())
    ]
    return table(("Number", "Cause"), rows)


def token_errors() -> str:
    """Return a table of the values of ``error`` in token services' responses."""
    rows = [
        (_anchor(f"error-{error.replace(' ', '-')}", error), _link(meaning.cause), quoted(meaning.source))
        for error, meaning in sorted(error_table().errors.items())
    ]
    return table(("`error`", "Cause", "Source"), rows)


def panel_codes() -> str:
    """Return a table of the codes that makers' devices show."""
    rows = [
        (
            each.maker,
            _anchor(f"{each.maker.lower()}-{each.code.lower()}", each.code),
            _link(each.cause),
            quoted(each.source),
        )
        for each in sorted(maker_codes(), key=lambda each: (each.maker, each.code))
    ]
    return table(("Maker", "Code", "Cause", "Source"), rows)


def texts(kind: str) -> str:
    """Return a table of texts in alphabetical order.

    Args:
        kind: a kind of quotation: ``pop3`` or ``shown``.
    """
    found = sorted((each for each in quotations() if each.kind == kind), key=lambda each: each.text.casefold())
    rows = [(f"<code>{quoted(each.text)}</code>", _link(each.cause)) for each in found]
    return table(("Text", "Cause"), rows)


def _anchor(anchor: str, text: str) -> str:
    return f'<code id="{anchor}">{quoted(text)}</code>'


def _link(cause: str) -> str:
    return f"[`{cause}`](causes.md#{cause})"


def _sort_key(code: str) -> list[int]:
    return [int(number) for number in code.replace(".", " ").split()]
