"""What a machine may be short of for a while: file descriptors and memory.

An error that comes of it says nothing about the mail, the file, the plugin or the settings that were being used.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHORT_OF: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_WORDS: Final = tuple(map(os.strerror, _SHORT_OF))


class ShortageError(Exception):
    """Something could not be loaded for lack of descriptors or memory; the text says what."""


def is_shortage(error: BaseException) -> bool:
    """Return whether an error, or what has caused it, comes of a machine that is short of descriptors or memory."""
    for cause in _causes(error):
        if isinstance(cause, MemoryError | ShortageError):
            return True
        if isinstance(cause, OSError) and cause.errno in _SHORT_OF:
            return True
        # The dynamic linker tells it only in words.
        if isinstance(cause, ImportError) and any(words in str(cause) for words in _WORDS):
            return True
    return False


def is_memory_exhausted(error: BaseException) -> bool:
    """Return whether an error, or what has caused it, is that memory was not enough for what was being handled.

    Unlike what `is_shortage` describes otherwise, that may come of the mail or file itself, and then never passes. It
    does not if memory was not enough to load a module.
    """
    for cause in _causes(error):
        if isinstance(cause, MemoryError | ShortageError):
            return isinstance(cause, MemoryError)
    return False


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, what has caused it, what has caused that, and so on."""
    cause: BaseException | None = error
    # An error that is raised again while what it has caused is handled is a cause of its own cause.
    seen = set[int]()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
