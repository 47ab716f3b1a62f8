"""Reads picture files (JPEG, PNG, GIF, BMP, WebP) for faxes, prints and thumbnails.

For the confined process, because pictures come from anybody.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from PIL import Image, ImageFile, ImageOps

from mailslot_plugins.intake.refusal import DamagedDocumentError, IntakeRefusedError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from typing import BinaryIO

PictureKind = Literal["jpeg", "png", "gif", "bmp", "webp"]

FORMATS: Final[Mapping[PictureKind, str]] = {
    "jpeg": "JPEG",
    "png": "PNG",
    "gif": "GIF",
    "bmp": "BMP",
    "webp": "WEBP",
}
"""Pillow's name of each kind."""

_MIN_LINES_FRACTION: Final = 20
"""A truncated picture must have at least one of so many lines; less is of no use."""

_DEEP_GREY_MODES: Final = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I"})


class DamagedPictureError(DamagedDocumentError):
    """A picture is truncated or damaged.

    Attributes:
        image: the readable part, as from `read_picture`; the rest is white.
    """

    def __init__(self, image: Image.Image) -> None:
        super().__init__("The image is damaged; only the readable part of it is shown.")
        self.image = image


def read_picture(
    source: Path | BinaryIO, kind: PictureKind, mode: Literal["L", "RGB"] | None = None, max_pixels: int | None = None
) -> Image.Image:
    """Return a picture, upright and on a white background; of an animation, the first frame.

    Args:
        source: the file.
        kind: its kind.
        mode: the mode to convert it to; None for ``1``, ``L`` or ``RGB``, whichever fits.
        max_pixels: the most pixels; None for `PIL.Image.MAX_IMAGE_PIXELS`.

    Returns:
        the image, with its pixels per inch in ``info["dpi"]`` if the file gives them.

    Raises:
        DamagedPictureError: its end is missing or damaged.
        IntakeRefusedError: it cannot be read, or is too large.
    """
    try:
        return _convert(_read(source, kind, max_pixels), mode)
    except (IntakeRefusedError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - a hostile file can make Pillow raise anything: struct.error, KeyError, and more
        # Without its traceback, whose frames keep the pixels in memory.
        why = error.with_traceback(None)
    if not isinstance(source, Path):
        source.seek(0)
    try:
        with _allow_truncated():
            image = _read(source, kind, max_pixels, damaged=True)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - as above
        raise IntakeRefusedError("The image cannot be read; it is damaged.") from why
    raise DamagedPictureError(_convert(image, mode)) from why


def resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize an image; one of mode ``1`` becomes grey.

    When shrinking, each pixel is the mean of the pixels that it replaces, so that no thin line is lost. When enlarging,
    grey and colour are interpolated, so that letters of a coarse scan are not jagged; mode ``1`` is not.
    """
    grows = size[0] > image.width or size[1] > image.height
    smooth = grows and image.mode != "1"
    grey = image.convert("L") if image.mode == "1" else image
    return grey.resize(size, Image.Resampling.BICUBIC if smooth else Image.Resampling.BOX)


def _read(source: Path | BinaryIO, kind: PictureKind, max_pixels: int | None, *, damaged: bool = False) -> Image.Image:
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(source, formats=[FORMATS[kind]]) as picture:
            if max_pixels is not None and picture.width * picture.height > max_pixels:
                raise IntakeRefusedError(f"The image has more than {max_pixels:,} pixels.")
            dpi = picture.info.get("dpi")
            if damaged:
                image = ImageOps.exif_transpose(_whiten_missing_lines(_on_white(picture).copy(), kind))
            else:
                image = _on_white(ImageOps.exif_transpose(picture))
                image = image.copy() if image is picture else image
    except Image.DecompressionBombError as error:
        raise IntakeRefusedError(f"The image has more than {Image.MAX_IMAGE_PIXELS:,} pixels.") from error
    image.info["dpi"] = dpi
    return image


def _convert(image: Image.Image, mode: str | None) -> Image.Image:
    if mode is None or image.mode == mode:
        return image
    converted = image.convert(mode)
    converted.info["dpi"] = image.info["dpi"]
    return converted


@contextmanager
def _allow_truncated() -> Generator[None]:
    """Let Pillow decode truncated pictures, which is a global setting."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _whiten_missing_lines(image: Image.Image, kind: PictureKind) -> Image.Image:
    """Make missing lines white, which Pillow fills with grey or black.

    Raises:
        ValueError: nearly all lines are missing.
    """
    # Only BMP files store the last line first.
    lines = range(image.height) if kind == "bmp" else range(image.height - 1, -1, -1)
    fill, count = _colour_of(image, lines[0]), 0
    if fill is not None:
        count = next((n for n, line in enumerate(lines) if _colour_of(image, line) != fill), image.height)
        first = 0 if kind == "bmp" else image.height - count
        image.paste("white", (0, first, image.width, first + count))
    if (image.height - count) * _MIN_LINES_FRACTION < image.height:
        raise ValueError(f"{count} of {image.height} lines are missing")
    return image


def _colour_of(image: Image.Image, line: int) -> object:
    """Return the only colour of a line; None if it has several."""
    colours = image.crop((0, line, image.width, line + 1)).getcolors(1)
    return colours[0][1] if colours else None


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode in {"1", "L", "RGB"} and "transparency" not in image.info:
        return image
    if image.mode in _DEEP_GREY_MODES:
        return image.convert("I").point(lambda grey: grey / 256).convert("L")
    if image.mode == "CMYK":
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white
