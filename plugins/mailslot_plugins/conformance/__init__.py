"""What every plugin of a kind must do, as tests that its makers run on their own: pytest classes to derive from."""

import pytest

for _name in ("flow", "maildrop", "submitter", "token_source"):
    pytest.register_assert_rewrite(f"mailslot_plugins.conformance.{_name}")
