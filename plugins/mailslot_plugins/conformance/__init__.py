"""Conformance tests for plugins, as pytest classes to derive from."""

import pytest

_SUBMITTER = ("submitter", "submitter_harness", "submitter_messages", "submitter_sessions", "submitter_faults")

for _name in ("flow", "maildrop", *_SUBMITTER, "token_source"):
    pytest.register_assert_rewrite(f"mailslot_plugins.conformance.{_name}")
