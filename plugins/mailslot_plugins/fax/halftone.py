"""Converts grey pages to black and white, so that the fax shows what the page showed.

No single threshold can do that: one that keeps the paper white loses grey text, pencil and hairlines, and one that
keeps them blackens photographs. Therefore thin strokes are separated from areas. A stroke that stands out against its
surroundings becomes black; an area keeps its tone as dots (Floyd-Steinberg dithering). Pictures, whose tone changes
everywhere, are dithered as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PIL import Image, ImageChops, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_STROKE: Final = 8
"""Pixels of the widest stroke: a millimetre at 204 dpi. Anything wider is an area."""

MIN_CONTRAST: Final = 26
"""How much darker than its surroundings a stroke must be, of 255; scanner noise and JPEG artefacts stay below it."""

MAX_FLAT_CHANGE: Final = 40
"""How much the surroundings of a stroke may change within a few millimetres; more is a picture."""

WHITE_TOLERANCE: Final = 30
"""How much darker than the paper an area must be to get dots. Paper is never quite white, and dots all over it would
triple the size of a fax."""

_BLACK: Final = 48
"""The darkest tone that still gets white dots."""

_LIGHTEST_GREY: Final = 196
_SPREAD: Final = 4
_PAPER_SHARE: Final = 0.15
_FAINT_CONTRAST: Final = 64
_NOISE_FACTOR: Final = 2.5
_EDGE_FACTOR: Final = 0.45
_NOISE_CELL: Final = 32
_CELL: Final = 8
_BAND_HEIGHT: Final = 2_000
"""Lines that are converted at a time, to bound the memory for a large page."""


def to_black_and_white(image: Image.Image) -> Image.Image:
    """Return an image in mode ``1``: black strokes, dithered areas."""
    if image.mode == "1":
        return image
    grey = image if image.mode == "L" else image.convert("L")
    if _is_bilevel(grey):
        return grey.convert("1", dither=Image.Dither.NONE)
    paper = _paper_tone(grey)
    result = Image.new("1", grey.size, 255)
    for top, bottom in _bands(grey.height):
        # A stroke at the edge of a band needs its surroundings beyond the edge.
        above, below = max(0, top - 4 * _CELL), min(grey.height, bottom + 4 * _CELL)
        band = _convert_band(grey.crop((0, above, grey.width, below)), paper)
        result.paste(band.crop((0, top - above, grey.width, bottom - above)), (0, top))
    return result


def _is_bilevel(grey: Image.Image) -> bool:
    histogram = grey.histogram()
    return histogram[0] + histogram[255] == grey.width * grey.height


def _bands(height: int) -> Iterator[tuple[int, int]]:
    for top in range(0, height, _BAND_HEIGHT):
        yield top, min(height, top + _BAND_HEIGHT)


def _paper_tone(grey: Image.Image) -> int:
    """Return the tone of the paper: the lightest tone that is frequent on the page; white if there is none."""
    histogram = grey.histogram()
    threshold = _PAPER_SHARE * grey.width * grey.height
    for tone in range(255, _LIGHTEST_GREY, -1):
        similar = histogram[max(0, tone - _SPREAD) : tone + _SPREAD + 1]
        if sum(similar) >= threshold and histogram[tone] == max(similar):
            return tone
    return 255


def _convert_band(grey: Image.Image, paper: int) -> Image.Image:
    filled = _without_strokes(grey)
    strokes = _above_noise(ImageChops.subtract(filled, grey))
    light = max(0, paper - WHITE_TOLERANCE)
    if not any(filled.histogram()[:light]):
        # There are only strokes on paper.
        return ImageChops.invert(strokes).convert("1", dither=Image.Dither.NONE)
    on_paper = filled.point([0] * light + [255] * (256 - light))
    plain = ImageChops.lighter(_flat_areas(filled), on_paper)
    strokes = ImageChops.darker(strokes, plain)
    # The grey edges of strokes are not areas: they get the tone of their surroundings.
    areas = Image.composite(filled, grey, _neighbourhood_extreme(strokes, ImageChops.lighter))
    dots = areas.point(_tone_map(paper)).convert("1")
    dots.paste(0, mask=strokes.convert("1", dither=Image.Dither.NONE))
    return dots


def _above_noise(darker: Image.Image) -> Image.Image:
    """Return 255 for pixels that are darker than their surroundings by more than noise.

    Noise is everywhere, ink only on a part of the paper: the mean darkness shows the level of the noise, if black ink
    does not count more than grey.
    """
    clipped = darker.point([min(each, _FAINT_CONTRAST) for each in range(256)])
    noise = (
        clipped.reduce(_NOISE_CELL)
        .point(lambda mean: mean * _NOISE_FACTOR)
        .resize(darker.size, Image.Resampling.BILINEAR)
    )
    # The grey edge of a black stroke is not a stroke itself.
    edge = _neighbourhood_extreme(darker, ImageChops.lighter).point(lambda most: most * _EDGE_FACTOR)
    threshold = ImageChops.lighter(edge, noise.point([max(each, MIN_CONTRAST) for each in range(256)]))
    return ImageChops.subtract(darker, threshold).point([0] + [255] * 255)


def _tone_map(paper: int) -> list[int]:
    """Return the mapping of tones: paper and slightly darker tones to white, ink to black."""
    white = max(_BLACK + 1, paper - WHITE_TOLERANCE)
    return [min(255, max(0, round((tone - _BLACK) * 255 / (white - _BLACK)))) for tone in range(256)]


def _neighbourhood_extreme(image: Image.Image, pick: Callable[[Image.Image, Image.Image], Image.Image]) -> Image.Image:
    """Return for each pixel the extreme of its 3 × 3 neighbourhood."""
    for x, y in ((1, 0), (0, 1)):
        sides = ImageChops.offset(image, x, y), ImageChops.offset(image, -x, -y)
        image = pick(image, pick(*sides))
    return image


def _without_strokes(grey: Image.Image) -> Image.Image:
    """Return the image with thin dark strokes filled by their surroundings (a morphological closing)."""
    padding = MAX_STROKE + 1
    padded = Image.new("L", (grey.width + 2 * padding, grey.height + 2 * padding), 255)
    padded.paste(grey, (padding, padding))
    # First the lightest of each square, then the darkest of those.
    lightest = _extreme(padded, 1, ImageChops.lighter)
    filled = _extreme(lightest, -1, ImageChops.darker)
    return filled.crop((padding, padding, padding + grey.width, padding + grey.height))


def _extreme(
    image: Image.Image, direction: int, pick: Callable[[Image.Image, Image.Image], Image.Image]
) -> Image.Image:
    """Return for each pixel the extreme of a square of `MAX_STROKE` + 1 pixels that begins or ends at it."""
    for x, y in ((1, 0), (0, 1)):
        covered = 1
        while covered <= MAX_STROKE:
            step = min(covered, MAX_STROKE + 1 - covered) * direction
            image = pick(image, ImageChops.offset(image, step * x, step * y))
            covered += abs(step)
    return image


def _flat_areas(filled: Image.Image) -> Image.Image:
    """Return 255 where the surroundings hardly change, 0 in pictures."""
    small = filled.reduce(_CELL)
    span = ImageChops.subtract(small.filter(ImageFilter.MaxFilter(5)), small.filter(ImageFilter.MinFilter(5)))
    return span.point([255] * MAX_FLAT_CHANGE + [0] * (256 - MAX_FLAT_CHANGE)).resize(
        filled.size, Image.Resampling.NEAREST
    )
