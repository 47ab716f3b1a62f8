"""QR codes of addresses."""

from __future__ import annotations

from markupsafe import Markup


def qr(address: str) -> Markup:
    """Return a QR code as SVG without inline styles; black on white, since some cameras cannot read the reverse."""
    import segno  # noqa: PLC0415 - few sign-ins show one

    made = segno.make(address, micro=False, error="m")
    return Markup(made.svg_inline(border=3, omitsize=True, dark="#000", light="#fff", svgclass="qr", lineclass=None))  # noqa: S704 - made of modules
