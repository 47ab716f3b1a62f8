"""Pictures in files of their own (JPEG, PNG, GIF, BMP, WebP), read in one way for faxes, prints and small pictures.

For the process of its own: what is read here comes from anybody.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from PIL import Image, ImageFile, ImageOps

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
"""What Pillow calls each kind."""

_LEAST: Final = 20
"""Of a picture that is cut off, one line of so many must be there: less is of no use to anybody."""

_DEEP: Final = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I"})


class UnreadablePictureError(ValueError):
    """A picture that cannot be shown; its text says why, for a person."""


class DamagedPictureError(UnreadablePictureError):
    """A picture that is cut off or damaged on the way; its text says so, for a person.

    Attributes:
        image: what there is of it, as `read_picture` returns it; white where nothing came.
    """

    def __init__(self, image: Image.Image) -> None:
        super().__init__("The image is damaged; what came of it is shown.")
        self.image = image


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
        DamagedPictureError: its end is missing, or damaged.
        UnreadablePictureError: it cannot be read, or is too large.
    """
    try:
        return _as_wanted(_read(source, kind, most), mode)
    except (UnreadablePictureError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a hostile file makes Pillow stumble over: struct.error, KeyError, and more
        # What is in its frames are the pixels of a picture.
        why = error.with_traceback(None)
    if not isinstance(source, Path):
        source.seek(0)
    try:
        with _as_far_as_it_goes():
            image = _read(source, kind, most, damaged=True)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - as above
        raise UnreadablePictureError("The image cannot be read; it is damaged.") from why
    raise DamagedPictureError(_as_wanted(image, mode)) from why


def resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return an image of another size; one of mode ``1`` in grey.

    Shrunk, each pixel is the mean of those that it stands for, so that no thin line is lost. Enlarged, what is smooth
    stays smooth: letters of a scan of 100 dpi would be steps. Black and white alone stay what they are.
    """
    grows = size[0] > image.width or size[1] > image.height
    smooth = grows and image.mode != "1"
    grey = image.convert("L") if image.mode == "1" else image
    return grey.resize(size, Image.Resampling.BICUBIC if smooth else Image.Resampling.BOX)


def _read(source: Path | BinaryIO, kind: PictureKind, most: int | None, *, damaged: bool = False) -> Image.Image:
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(source, formats=[FORMATS[kind]]) as opened:
            if most is not None and opened.width * opened.height > most:
                raise UnreadablePictureError(f"The image has more than {most:,} pixels.")
            dpi = opened.info.get("dpi")
            if damaged:
                image = ImageOps.exif_transpose(_without_void(_on_paper(opened).copy(), kind))
            else:
                image = _on_paper(ImageOps.exif_transpose(opened))
                image = image.copy() if image is opened else image
    except Image.DecompressionBombError as error:
        raise UnreadablePictureError(f"The image has more than {Image.MAX_IMAGE_PIXELS:,} pixels.") from error
    image.info["dpi"] = dpi
    return image


def _as_wanted(image: Image.Image, mode: str | None) -> Image.Image:
    if mode is None or image.mode == mode:
        return image
    made = image.convert(mode)
    made.info["dpi"] = image.info["dpi"]
    return made


@contextmanager
def _as_far_as_it_goes() -> Generator[None]:
    """Have Pillow decode what there is of a picture; it knows that as a setting for all of them only."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _without_void(image: Image.Image, kind: PictureKind) -> Image.Image:
    """Make white what Pillow has filled up with one colour because it did not come, grey or black.

    Raises:
        ValueError: next to nothing came.
    """
    # Only a bitmap begins with its last line.
    lines = range(image.height) if kind == "bmp" else range(image.height - 1, -1, -1)
    void, count = _colour_of(image, lines[0]), 0
    if void is not None:
        count = next((n for n, line in enumerate(lines) if _colour_of(image, line) != void), image.height)
        first = 0 if kind == "bmp" else image.height - count
        image.paste("white", (0, first, image.width, first + count))
    if (image.height - count) * _LEAST < image.height:
        raise ValueError(f"{count} of {image.height} lines did not come")
    return image


def _colour_of(image: Image.Image, line: int) -> object:
    """Return the colour that all of a line has; None where it has several."""
    colours = image.crop((0, line, image.width, line + 1)).getcolors(1)
    return colours[0][1] if colours else None


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
