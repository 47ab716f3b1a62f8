"""Usage errors as sentences for people, instead of the parser's own messages."""

from __future__ import annotations

import re
from typing import Any, Final

_SENTENCES: Final = (
    (r"Value error, ", ""),
    (r"Invalid value: missing argument ", "Missing argument "),
    (r"Input should be a valid integer.*", "it must be a whole number"),
    (r"Input should be a valid number.*", "it must be a number"),
    (r"Input should be greater than or equal to (\S+)", r"it must be \1 or more"),
    (r"Input should be less than or equal to (\S+)", r"it must be \1 or less"),
)


def usage_sentence(error: Any) -> str:  # noqa: ANN401 - typer does not export these types
    """Return a sentence about an error in the arguments.

    Args:
        error: an exception of typer's parser.
    """
    text = str(error.format_message())
    for pattern, words in _SENTENCES:
        text = re.sub(pattern, words, text)
    return text if text.endswith((".", "?", ")")) else f"{text}."


def usage_lines(error: Any) -> list[str]:  # noqa: ANN401 - as above
    """Return the lines to print: the usage of the command, and the error."""
    context = getattr(error, "ctx", None)
    if context is not None and str(error.format_message()) == context.get_help():
        return [context.get_help()]
    lines = [] if context is None else [context.get_usage(), f"Help: {context.command_path} --help", ""]
    return [*lines, f"Error: {usage_sentence(error)}"]
