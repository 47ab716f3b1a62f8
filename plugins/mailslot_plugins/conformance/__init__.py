"""Conformance tests for plugins, as pytest classes to derive from."""

import pytest

for _name in ("flow", "maildrop", "submitter", "token_source"):
    pytest.register_assert_rewrite(f"mailslot_plugins.conformance.{_name}")
