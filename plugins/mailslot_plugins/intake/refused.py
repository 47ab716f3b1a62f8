"""What the process of its own says where it will not open something."""

from __future__ import annotations


class Refused(Exception):  # noqa: N818 - it is no error: the file is what it is
    """What came in is not opened; its text is one sentence for a person."""
