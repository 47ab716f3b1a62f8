"""Grey text, pencil, hairlines and areas stay readable on a fax."""

from __future__ import annotations

import io
import random

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from mailslot_plugins.fax.halftone import to_black_and_white
from mailslot_plugins.fax.profile import FINE, STANDARD, Resolution
from mailslot_plugins.fax.render import render_pages

WIDE = 1728
TEXT = "The quick brown fox jumps over 0123456789"


def written(grey: int, paper: int = 255) -> Image.Image:
    page = Image.new("L", (WIDE, 120), paper)
    draw = ImageDraw.Draw(page)
    draw.text((60, 10), TEXT, fill=grey, font_size=40)
    draw.text((60, 70), TEXT, fill=grey, font_size=24)
    return page


def black(image: Image.Image) -> int:
    assert image.mode == "1"
    return image.histogram()[0]


def noisy(page: Image.Image, sigma: float) -> Image.Image:
    """A page as scanned: slightly blurred and noisy."""
    soft = page.filter(ImageFilter.GaussianBlur(0.7))
    rng = random.Random(1)
    noise = Image.frombytes(
        "L",
        page.size,
        bytes(round(min(255, max(0, rng.gauss(128, sigma)))) for _ in range(page.width * page.height)),
    )
    return ImageChops.add(soft, noise, 1, -128)


@pytest.mark.parametrize("grey", [0, 60, 120, 150, 180, 200, 215])
def test_grey_text_is_as_black_as_black_text(grey: int) -> None:
    expected, made = black(to_black_and_white(written(0))), black(to_black_and_white(written(grey)))
    assert 0.8 < made / expected < 1.15


@pytest.mark.parametrize("pencil", [90, 130, 165])
def test_pencil_on_scanned_paper(pencil: int) -> None:
    expected = black(to_black_and_white(written(0)))
    scanned = to_black_and_white(noisy(written(pencil, 232), 4))
    assert 0.6 < black(scanned) / expected < 1.4
    empty = to_black_and_white(noisy(Image.new("L", (WIDE, 120), 232), 4))
    # Hardly a dot on paper: each of them makes the fax longer.
    assert black(empty) < 0.002 * WIDE * 120


def test_areas_keep_their_tone() -> None:
    shares: list[float] = []
    for grey in (0, 60, 120, 180, 210):
        area = Image.new("L", (400, 400), 255)
        area.paste(grey, (50, 50, 350, 350))
        made = to_black_and_white(area)
        assert black(made.crop((0, 0, 400, 48))) == 0
        shares.append(black(made.crop((60, 60, 340, 340))) / 280**2)
    assert shares[0] == 1
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] > 0.03
    assert 0.4 < shares[2] < 0.75


def test_letters_on_a_tinted_ground_and_white_ones_on_black() -> None:
    tinted = to_black_and_white(written(0, 190))
    expected = to_black_and_white(written(0))
    # Each black pixel of the letters is there, between dots.
    assert black(ImageChops.logical_or(tinted, expected)) > 0.9 * black(expected)
    inverse = to_black_and_white(ImageChops.invert(written(0)))
    assert 0.8 < (WIDE * 120 - black(inverse)) / black(expected) < 1.15


def test_a_picture_is_dithered() -> None:
    picture = Image.radial_gradient("L").resize((800, 800))
    made = to_black_and_white(noisy(picture, 6))
    for place in ((350, 350, 450, 450), (100, 100, 200, 200), (350, 150, 450, 250)):
        tone = 1 - sum(grey * count for grey, count in enumerate(picture.crop(place).histogram())) / 255 / 100**2
        assert abs(black(made.crop(place)) / 100**2 - tone) < 0.2


def test_bilevel_images_are_unchanged() -> None:
    page = written(0).point([0] * 128 + [255] * 128)
    assert ImageChops.difference(to_black_and_white(page).convert("L"), page).getbbox() is None


def test_a_page_of_many_bands_has_no_seams() -> None:
    tall = Image.new("L", (200, 9000), 255)
    draw = ImageDraw.Draw(tall)
    for y in range(5, 9000, 23):
        draw.line((10, y, 190, y), fill=150)
    made = to_black_and_white(tall)
    assert all(black(made.crop((20, y, 180, y + 1))) == 160 for y in range(5, 9000, 23))
    assert black(made) == 181 * len(range(5, 9000, 23))


def ruled(grey: float) -> bytes:
    """A page with forty lines of each direction, of the widths that programs draw, wherever they fall."""
    rng = random.Random(1)
    lines: list[str] = []
    for number in range(40):
        width = (0, 0.05, 0.1, 0.25, 0.5)[number % 5]
        y, x = 60 + number * 18 + rng.random(), 310 + number * 6 + rng.random()
        lines += [
            f"{width} w {grey} G 60 {y:.3f} m 290 {y:.3f} l S",
            f"{width} w {grey} G {x:.3f} 60 m {x:.3f} 760 l S",
        ]
    content = "\n".join(lines).encode()
    return (
        b"%%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Count 1/Kids[3 0 R]>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R>>endobj\n"
        b"4 0 obj<</Length %d>>stream\n%s\nendstream endobj\ntrailer<</Root 1 0 R>>\n" % (len(content), content)
    )


def runs(image: Image.Image) -> int:
    octets = image.convert("L").tobytes()
    return sum(octet == 0 and (not at or octets[at - 1] != 0) for at, octet in enumerate(octets))


@pytest.mark.parametrize(
    ("grey", "resolution", "across"), [(0, FINE, 40), (0.6, FINE, 40), (0, STANDARD, 40), (0.4, STANDARD, 38)]
)
def test_hairlines(grey: float, resolution: Resolution, across: int) -> None:
    [page] = render_pages(ruled(grey), "pdf", resolution, 1)
    assert runs(page.crop((500, 0, 501, page.height))) >= across
    assert runs(page.crop((850, page.height // 2, WIDE, page.height // 2 + 1))) >= 38


def test_letters_of_a_coarse_scan_are_smooth() -> None:
    drawn = Image.new("L", (2 * WIDE, 2 * WIDE), 255)
    draw = ImageDraw.Draw(drawn)
    for inset in range(200, 1300, 350):
        draw.ellipse((inset, inset, 2 * WIDE - inset, 2 * WIDE - inset), outline=0, width=24)
    coarse = io.BytesIO()
    drawn.resize((WIDE // 2, WIDE // 2), Image.Resampling.BOX).save(coarse, "PNG")
    [page] = render_pages(coarse.getvalue(), "png", FINE, 1)
    whole = drawn.resize(page.size, Image.Resampling.BOX).point(lambda grey: 0 if grey < 128 else 255)
    wrong = ImageChops.difference(page.convert("L"), whole).histogram()[255]
    assert wrong < 0.06 * whole.histogram()[0]
