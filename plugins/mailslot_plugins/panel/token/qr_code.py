"""An address as a picture for a phone's camera."""

from __future__ import annotations

import segno
from markupsafe import Markup


def qr(address: str) -> Markup:
    """Return a QR code as SVG without a style of its own; black on white, since not every camera reads the reverse.

    Args:
        address: what it holds.
    """
    made = segno.make(address, micro=False, error="m")
    return Markup(made.svg_inline(border=3, omitsize=True, dark="#000", light="#fff", svgclass="qr", lineclass=None))  # noqa: S704 - made of modules
