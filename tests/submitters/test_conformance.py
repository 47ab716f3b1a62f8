"""Both clients held against what every submitter must do."""

from __future__ import annotations

from mailslot import connect_smtp
from mailslot_plugins.aiosmtplib.submitter import connect
from mailslot_plugins.conformance.submitter import SubmitterSuite


class TestOurOwn(SubmitterSuite):
    submitter = staticmethod(connect_smtp)


class TestAiosmtplib(SubmitterSuite):
    submitter = staticmethod(connect)
    backends = ("asyncio",)
