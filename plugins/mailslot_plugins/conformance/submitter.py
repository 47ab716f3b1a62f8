"""Conformance tests for submitters, against the sandbox: the guarantees of `mailslot.slots.submitter`.

A test module derives from `SubmitterSuite`, in a class whose name begins with ``Test``, and names its submitter::

    class TestMine(SubmitterSuite):
        submitter = staticmethod(connect)
        backends = ("asyncio",)

It needs anyio's pytest plugin.
"""

from __future__ import annotations

from mailslot_plugins.conformance.submitter_faults import FaultTests
from mailslot_plugins.conformance.submitter_messages import MessageTests
from mailslot_plugins.conformance.submitter_sessions import SessionTests


class SubmitterSuite(MessageTests, SessionTests, FaultTests):
    """All tests of a submitter.

    Attributes:
        submitter: the object that the entry point names.
        backends: the event loops that it supports.
        differences: the names of tests that it cannot pass, with the reasons; such a test must fail.
    """
