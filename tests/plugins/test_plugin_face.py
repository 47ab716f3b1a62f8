"""``mailslot.plugin``: one import for everything that a plugin may use, loaded on demand."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mailslot
import mailslot.message
import mailslot.plugin

LIGHT = """
import sys
import mailslot
assert "mailslot.plugin" not in sys.modules
import mailslot.plugin
print([name for name in ("httpx2", "cryptography", "joserfc", "tomlkit", "sqlite3", "trio") if name in sys.modules])
"""


def test_mailslot_plugin_exports_the_public_api_and_all_types_it_uses() -> None:
    names = mailslot.plugin.__all__
    assert len(set(names)) == len(names)
    assert {*mailslot.__all__, *mailslot.message.__all__} <= set(names)
    for name in names:
        assert getattr(mailslot.plugin, name) is not None
    assert set(mailslot.plugin._LAZY) <= set(names)
    assert mailslot.plugin.MailError is mailslot.MailError
    with pytest.raises(AttributeError, match="has no attribute 'TokenHtp'"):
        _ = mailslot.plugin.TokenHtp


def test_importing_it_loads_no_optional_package() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
