"""Pictures in files of their own (JPEG, PNG, GIF, BMP, WebP), read in one way for faxes, prints and small pictures.

For the process of its own: what is read here comes from anybody.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final, Literal

from PIL import Image, ImageOps

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import BinaryIO

PictureKind = Literal["jpeg", "png", "gif", "bmp", "webp"]

FORMATS: Final[Mapping[PictureKind, str]] = {
    "jpeg": "JPEG",
    "png": "PNG",
    "gif": "GIF",
    "bmp": "BMP",
    "webp": "WEBP",
}
"""What Pillow calls each kind."""

_DEEP: Final = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I"})


class UnreadablePictureError(ValueError):
    """A picture that cannot be shown; its text says why, for a person."""


def read_picture(
    source: Path | BinaryIO, kind: PictureKind, mode: Literal["L", "RGB"] | None = None, most: int | None = None
) -> Image.Image:
    """Return a picture, upright and on white paper; of a moving one the first.

    Args:
        source: the file.
        kind: what it is.
        mode: what it becomes; None for ``1``, ``L`` or ``RGB``, whatever it is.
        most: the pixels that it may have; None for what `PIL.Image.MAX_IMAGE_PIXELS` says.

    Returns:
        the image; its pixels an inch stand in ``info["dpi"]`` where the file tells them.

    Raises:
        UnreadablePictureError: it cannot be read, or is too large.
    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(source, formats=[FORMATS[kind]]) as opened:
            if most is not None and opened.width * opened.height > most:
                raise UnreadablePictureError(f"The image has more than {most:,} pixels.")
            dpi = opened.info.get("dpi")
            image = _on_paper(ImageOps.exif_transpose(opened))
            image = image.copy() if image is opened else image
    except Image.DecompressionBombError as error:
        raise UnreadablePictureError(f"The image has more than {Image.MAX_IMAGE_PIXELS:,} pixels.") from error
    except (UnreadablePictureError, MemoryError):
        raise
    except Exception as error:
        # Pillow raises whatever a hostile file makes it stumble over: struct.error, KeyError, SyntaxError, and more.
        raise UnreadablePictureError("The image cannot be read; it is damaged.") from error
    image = image if mode is None or image.mode == mode else image.convert(mode)
    image.info["dpi"] = dpi
    return image


def _on_paper(image: Image.Image) -> Image.Image:
    if image.mode in {"1", "L", "RGB"} and "transparency" not in image.info:
        return image
    if image.mode in _DEEP:
        return image.convert("I").point(lambda grey: grey / 256).convert("L")
    if image.mode == "CMYK":
        return image.convert("RGB")
    clear = image.convert("RGBA")
    white = Image.new("RGB", clear.size, "white")
    white.paste(clear, mask=clear.getchannel("A"))
    return white
