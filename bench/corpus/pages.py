"""Pages as poppler, libtiff and Pillow render them, and a comparison with the product's."""

from __future__ import annotations

import math
import subprocess
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageFilter, ImageOps, ImageSequence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_PAGES: Final = 5
"""Pages of a document that are compared."""

DPI: Final = 50
GRID: Final = 96
"""Cells along the longer side of a page."""

SIZE_MARGIN: Final = 0.03
_INK: Final = 0.12
_NO_INK: Final = 0.015
_LOST: Final = 0.04
"""The share of cells with ink that may be empty; fonts and hairlines differ a little."""

_SIDEWAYS: Final = {
    "row 0 lhs, col 0 top": Image.Transpose.TRANSPOSE,
    "row 0 rhs, col 0 top": Image.Transpose.TRANSVERSE,
    "row 0 rhs, col 0 bottom": Image.Transpose.TRANSPOSE,
    "row 0 lhs, col 0 bottom": Image.Transpose.TRANSVERSE,
}
"""The remaining transpositions, since libtiff mirrors a sideways page as if it were upright."""

_TURNS: Final = {
    "turned left": Image.Transpose.ROTATE_90,
    "turned round": Image.Transpose.ROTATE_180,
    "turned right": Image.Transpose.ROTATE_270,
    "mirrored": Image.Transpose.FLIP_LEFT_RIGHT,
    "upside down": Image.Transpose.FLIP_TOP_BOTTOM,
    "transposed": Image.Transpose.TRANSPOSE,
    "transversed": Image.Transpose.TRANSVERSE,
}


@dataclass(frozen=True)
class PageImage:
    """A page in greyscale.

    Attributes:
        image: the pixels.
        width_inches: its width; 0.0 if unknown.
        height_inches: its height; 0.0 if unknown.
    """

    image: Image.Image
    width_inches: float = 0.0
    height_inches: float = 0.0


def reference_pages(path: Path, kind: str, folder: Path) -> list[PageImage]:
    """Return the first pages as another program renders them; none if it cannot."""
    folder.mkdir(exist_ok=True)
    if kind == "pdf":
        return list(_poppler(path, folder))
    if kind == "tiff":
        return list(_libtiff(path, folder))
    return list(_pillow(path))


def _run(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _poppler(path: Path, folder: Path) -> Iterator[PageImage]:
    _run("pdftoppm", "-r", str(DPI), "-gray", "-cropbox", "-l", str(MAX_PAGES), str(path), str(folder / "p"))
    for each in sorted(folder.glob("p-*.pgm")):
        with Image.open(each) as image:
            yield PageImage(image.convert("L"), image.width / DPI, image.height / DPI)


def _libtiff(path: Path, folder: Path) -> Iterator[PageImage]:
    output = folder / "reference.tif"
    # It stops at the first page that it cannot convert, after writing those before it.
    _run("tiff2rgba", "-c", "none", str(path), str(output))
    if not output.exists():
        return
    layouts = _tiff_pages(path)
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(output) as opened:
            for number, frame in enumerate(ImageSequence.Iterator(opened)):
                if number >= MAX_PAGES:
                    return
                white = Image.new("L", frame.size, 255)
                rgba = frame.convert("RGBA")
                white.paste(rgba.convert("L"), mask=rgba.getchannel("A"))
                turn, ratio = layouts[number] if number < len(layouts) else (None, 1.0)
                if abs(ratio - 1) > 0.01:
                    white = white.resize((white.width, max(1, round(white.height * ratio))))
                yield PageImage(white if turn is None else white.transpose(turn))
    except Exception:  # noqa: BLE001 - the output may be incomplete
        return


def _tiff_pages(path: Path) -> list[tuple[Image.Transpose | None, float]]:
    """Return for each page the transposition that sets it upright, and the height of its pixels by their width."""
    try:
        process = subprocess.run(["tiffinfo", str(path)], capture_output=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return []
    found: list[tuple[Image.Transpose | None, float]] = []
    for line in process.stdout.decode("latin-1").splitlines():
        name, _, value = line.strip().partition(": ")
        if line.startswith("TIFF Directory"):
            found.append((None, 1.0))
        elif name == "Orientation" and found:
            found[-1] = (
                next((turn for start, turn in _SIDEWAYS.items() if value.startswith(start)), None),
                found[-1][1],
            )
        elif name == "Resolution" and found:
            numbers = [float(each) for each in value.replace(",", " ").split()[:2] if each[:1].isdigit()]
            if len(numbers) == 2 and all(50 <= each <= 2400 for each in numbers):
                found[-1] = (found[-1][0], numbers[0] / numbers[1])
    return found


def _pillow(path: Path) -> Iterator[PageImage]:
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as opened:
            turned = ImageOps.exif_transpose(opened)
            white = Image.new("L", turned.size, 255)
            rgba = turned.convert("RGBA")
            white.paste(rgba.convert("L"), mask=rgba.getchannel("A"))
            yield PageImage(white)
    except Exception:  # noqa: BLE001 - a damaged file may raise anything
        return


def compare(ours: PageImage, expected: PageImage) -> str:
    """Return how a page differs from the reference; empty if it does not."""
    if expected.width_inches and ours.width_inches:
        actual_size = (ours.width_inches, ours.height_inches)
        size = (expected.width_inches, expected.height_inches)
        if not all(map(_is_close, actual_size, size)):
            return f"size: {actual_size[0]:.2f} × {actual_size[1]:.2f} in, and not {size[0]:.2f} × {size[1]:.2f}"
    shape = ours.width_inches / ours.height_inches if ours.width_inches else ours.image.width / ours.image.height
    wanted = expected.image.width / expected.image.height
    pixel = 1 / min(*ours.image.size, *expected.image.size)
    if abs(shape / wanted - 1) > SIZE_MARGIN + 2 * pixel:
        return f"shape: {shape:.2f}, and not {wanted:.2f}"
    longer = max(expected.image.size)
    if longer < 16:
        return ""
    grid = tuple(max(2, round(GRID * side / longer)) for side in expected.image.size)
    actual, reference = _ink(ours.image, grid), _ink(expected.image, grid)
    difference = _orientation_difference(actual, reference)
    if difference:
        return difference
    # Fonts that are not embedded differ between programs, so ink may be a cell off.
    near = actual.filter(ImageFilter.MaxFilter(3)).tobytes()
    inked = [(a, b) for a, b in zip(near, reference.tobytes(), strict=True) if b > _INK * 255]
    lost = sum(a < _NO_INK * 255 for a, _ in inked)
    if lost > max(2, _LOST * len(inked)):
        return f"lost ink: {lost} of {len(inked)} cells"
    return ""


def _is_close(one: float, other: float) -> bool:
    return abs(one - other) <= max(0.03, SIZE_MARGIN * other)


def _ink(image: Image.Image, size: tuple[int, ...]) -> Image.Image:
    return ImageOps.invert(image.convert("L")).resize((size[0], size[1]), Image.Resampling.BOX)


def _orientation_difference(actual: Image.Image, reference: Image.Image) -> str:
    straight = _correlation(actual, reference)
    if straight is None or straight > 0.8:
        return ""
    if straight < -0.3:
        return f"inverted ({straight:.2f})"
    turned = {
        name: _correlation(actual, reference.transpose(turn).resize(actual.size)) or 0.0
        for name, turn in _TURNS.items()
    }
    best = max(turned, key=turned.__getitem__)
    if turned[best] > max(straight + 0.2, 0.6):
        return f"{best} ({straight:.2f}, and {turned[best]:.2f} that way)"
    return f"differs ({straight:.2f})" if straight < 0.4 else ""


def _correlation(one: Image.Image, other: Image.Image) -> float | None:
    """Return the correlation of two images; None if both are of one colour."""
    a, b = one.tobytes(), other.tobytes()
    count = len(a)
    mean_a, mean_b = sum(a) / count, sum(b) / count
    spread_a = sum((x - mean_a) ** 2 for x in a)
    spread_b = sum((x - mean_b) ** 2 for x in b)
    if spread_a < 4 * count and spread_b < 4 * count:
        return None
    if not spread_a or not spread_b:
        return 0.0
    together = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    return together / math.sqrt(spread_a * spread_b)
