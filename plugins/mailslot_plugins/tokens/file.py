"""A token from a file that another program keeps up to date."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from mailslot.plugin import InputError, TokenError
from mailslot_plugins.tokens.token_text import MAX_TEXT, parse_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.plugin import AccessToken


class FileToken:
    """Reads the file each time a token is needed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def token(self, *, force: bool = False) -> AccessToken:  # noqa: ARG002 - the file has only one token
        """Return the token in the file.

        Raises:
            TokenError: the file cannot be read, or contains no valid token.
        """
        try:
            text, written_at = await anyio.to_thread.run_sync(self._read)
        except OSError as error:
            raise TokenError(
                f"The file {self._path} with the token cannot be read: {error.strerror}.",
                cause="token_source_failed",
                detail=str(error),
            ) from error
        return parse_token(text, f"The file {self._path}", written_at=written_at, now=time.time())

    async def forget(self) -> None:
        """Do nothing: the other program owns the file."""

    def _read(self) -> tuple[bytes, float]:
        if not self._path.is_file():  # opening a pipe would block
            raise FileNotFoundError(errno.ENOENT, "there is no such file")
        with self._path.open("rb") as file:
            return file.read(MAX_TEXT + 1), os.fstat(file.fileno()).st_mtime


def source(settings: Mapping[str, object]) -> FileToken:
    """Return the source for its settings.

    Args:
        settings: ``path``.

    Raises:
        InputError: the path is missing, or not absolute.
    """
    path = settings.get("path")
    if not isinstance(path, str | Path) or not Path(path).is_absolute():
        raise InputError("The token source file needs path, the whole path of the file with the token.", stage="token")
    return FileToken(Path(path))
