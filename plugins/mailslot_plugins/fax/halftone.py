"""Pages in grey made black and white, so that people read on the fax what they saw on the page.

No one threshold does that: what leaves the paper white loses grey text, pencil and hairlines, and what keeps them
blackens photographs. So thin strokes are told from areas. A stroke is as dark as it has to be to stand out against
what is around it, and becomes black; an area keeps its tone, as dots (Floyd and Steinberg). A picture, whose tone
changes everywhere, is left to the dots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PIL import Image, ImageChops, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STROKE: Final = 8
"""Pixels of the widest stroke: a millimetre at 204 dpi. What is wider is an area."""

CONTRAST: Final = 26
"""What a stroke is darker than its surroundings, of 255; noise of a scanner and of JPEG stays below it."""

FLAT: Final = 40
"""How much the surroundings of a stroke may change within a few millimetres; where they change more is a picture."""

WHITE: Final = 30
"""What an area is darker than paper before it gets dots; paper is never quite white, and dots all over it would make a
fax three times as long."""

_BLACK: Final = 48
"""The darkest tone that still gets white dots."""

_LIGHT: Final = 196
_SPREAD: Final = 4
_MUCH: Final = 0.15
_FAINT: Final = 64
_NOISE: Final = 2.5
_EDGE: Final = 0.45
_NOISE_CELL: Final = 32
_CELL: Final = 8
_BAND: Final = 2_000
"""Lines that are worked on at a time; more would take more memory than there is for a large page."""


def black_and_white(image: Image.Image) -> Image.Image:
    """Return an image in mode ``1``: strokes black, areas in their tone.

    Args:
        image: of any mode.
    """
    if image.mode == "1":
        return image
    grey = image if image.mode == "L" else image.convert("L")
    if _is_bilevel(grey):
        return grey.convert("1", dither=Image.Dither.NONE)
    paper = _paper(grey)
    made = Image.new("1", grey.size, 255)
    for top, bottom in _bands(grey.height):
        # A stroke at the edge of a band is judged by what is beyond it.
        above, below = max(0, top - 4 * _CELL), min(grey.height, bottom + 4 * _CELL)
        band = _shown(grey.crop((0, above, grey.width, below)), paper)
        made.paste(band.crop((0, top - above, grey.width, bottom - above)), (0, top))
    return made


def _is_bilevel(grey: Image.Image) -> bool:
    histogram = grey.histogram()
    return histogram[0] + histogram[255] == grey.width * grey.height


def _bands(height: int) -> Iterator[tuple[int, int]]:
    for top in range(0, height, _BAND):
        yield top, min(height, top + _BAND)


def _paper(grey: Image.Image) -> int:
    """Return the tone of the paper: the lightest that much of the page has; white where there is none."""
    histogram = grey.histogram()
    least = _MUCH * grey.width * grey.height
    for tone in range(255, _LIGHT, -1):
        around = histogram[max(0, tone - _SPREAD) : tone + _SPREAD + 1]
        if sum(around) >= least and histogram[tone] == max(around):
            return tone
    return 255


def _shown(grey: Image.Image, paper: int) -> Image.Image:
    filled = _without_strokes(grey)
    strokes = _beyond_noise(ImageChops.subtract(filled, grey))
    light = max(0, paper - WHITE)
    if not any(filled.histogram()[:light]):
        # There is nothing but strokes on paper.
        return ImageChops.invert(strokes).convert("1", dither=Image.Dither.NONE)
    on_paper = filled.point([0] * light + [255] * (256 - light))
    plain = ImageChops.lighter(_flat(filled), on_paper)
    strokes = ImageChops.darker(strokes, plain)
    # The grey edges of strokes are no areas: there, the tone is that of what is around.
    areas = Image.composite(filled, grey, _widened(strokes, ImageChops.lighter))
    dots = areas.point(_tones(paper)).convert("1")
    dots.paste(0, mask=strokes.convert("1", dither=Image.Dither.NONE))
    return dots


def _beyond_noise(darker: Image.Image) -> Image.Image:
    """Return 255 where a pixel is so much darker than what is around it that it is no noise.

    Noise is everywhere, and ink, even that of small print, on a part of the paper only: the mean tells one from the
    other, as long as black ink does not count for more than grey.
    """
    clipped = darker.point([min(each, _FAINT) for each in range(256)])
    noise = clipped.reduce(_NOISE_CELL).point(lambda mean: mean * _NOISE).resize(darker.size, Image.Resampling.BILINEAR)
    # The edge of a black stroke is grey, and no stroke of its own.
    edge = _widened(darker, ImageChops.lighter).point(lambda most: most * _EDGE)
    least = ImageChops.lighter(edge, noise.point([max(each, CONTRAST) for each in range(256)]))
    return ImageChops.subtract(darker, least).point([0] + [255] * 255)


def _tones(paper: int) -> list[int]:
    """Return what each tone becomes: paper and what is hardly darker white, ink black."""
    white = max(_BLACK + 1, paper - WHITE)
    return [min(255, max(0, round((tone - _BLACK) * 255 / (white - _BLACK)))) for tone in range(256)]


def _widened(image: Image.Image, choose: Callable[[Image.Image, Image.Image], Image.Image]) -> Image.Image:
    """Return the extreme of each pixel and the eight around it."""
    for across, down in ((1, 0), (0, 1)):
        sides = ImageChops.offset(image, across, down), ImageChops.offset(image, -across, -down)
        image = choose(image, choose(*sides))
    return image


def _without_strokes(grey: Image.Image) -> Image.Image:
    """Return what is left where thin dark strokes are filled with what is around them (a morphological closing)."""
    around = STROKE + 1
    sheet = Image.new("L", (grey.width + 2 * around, grey.height + 2 * around), 255)
    sheet.paste(grey, (around, around))
    # First the lightest of each neighbourhood, then the darkest of those.
    lightest = _extreme(sheet, 1, ImageChops.lighter)
    filled = _extreme(lightest, -1, ImageChops.darker)
    return filled.crop((around, around, around + grey.width, around + grey.height))


def _extreme(
    image: Image.Image, direction: int, choose: Callable[[Image.Image, Image.Image], Image.Image]
) -> Image.Image:
    """Return for each pixel the extreme of a square of `STROKE` + 1 pixels that begins or ends with it."""
    for across, down in ((1, 0), (0, 1)):
        reached = 1
        while reached <= STROKE:
            step = min(reached, STROKE + 1 - reached) * direction
            image = choose(image, ImageChops.offset(image, step * across, step * down))
            reached += abs(step)
    return image


def _flat(filled: Image.Image) -> Image.Image:
    """Return 255 where the surroundings hardly change, 0 in a picture."""
    small = filled.reduce(_CELL)
    span = ImageChops.subtract(small.filter(ImageFilter.MaxFilter(5)), small.filter(ImageFilter.MinFilter(5)))
    return span.point([255] * FLAT + [0] * (256 - FLAT)).resize(filled.size, Image.Resampling.NEAREST)
