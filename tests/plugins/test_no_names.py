"""The library knows no plugin by name, and the panel no pipeline; neither needs any of ours."""

from __future__ import annotations

import ast
import logging
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mailslot.entry_points import plugin_packages
from mailslot.service.log import set_up_logging

if TYPE_CHECKING:
    from plugins.conftest import Site

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "transport" / "mailslot"
PANEL = ROOT / "plugins" / "mailslot_plugins" / "panel"
PIPELINES = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["mailslot.pipelines"])
SOMETHING_ELSE = {
    ("transport/mailslot/cli/fleet.py", "status"),  # the command `fleet status`
    ("transport/mailslot/cli/token.py", "status"),  # the command `token status`
    ("transport/mailslot/diagnosis/decoding/sasl_message.py", "status"),  # a member of XOAUTH2's challenge
    ("transport/mailslot/fleet/engine.py", "scan"),  # the search for what is due, a task
    ("transport/mailslot/oauth/token_errors.py", "status"),  # a member of Google's errors
    ("transport/mailslot/sasl/authentication.py", "status"),  # a member of XOAUTH2's challenge
    ("transport/mailslot/sasl/exchange.py", "status"),  # the same
    ("transport/mailslot/service/service.py", "status"),  # a task of the service
    ("plugins/mailslot_plugins/panel/fleet/audit.py", "status"),  # a member of ASGI's messages
    ("plugins/mailslot_plugins/panel/fleet/lists.py", "status"),  # a member of JSON
    ("plugins/mailslot_plugins/panel/monitoring/page.py", "status"),  # members of JSON
    ("plugins/mailslot_plugins/panel/problem.py", "status"),
}


def constants(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@pytest.mark.parametrize("place", [LIBRARY, PANEL], ids=["library", "panel"])
def test_the_library_names_no_pipeline(place: Path) -> None:
    files = sorted(place.rglob("*.py"))
    assert len(files) > 50
    named = {(str(path.relative_to(ROOT)), text) for path in files for text in constants(path) & PIPELINES}
    assert named <= SOMETHING_ELSE
    assert {each for each in SOMETHING_ELSE - named if (ROOT / each[0]).is_relative_to(place)} == set()


def test_no_panel_template_links_to_a_pipeline() -> None:
    for path in PANEL.rglob("*.html"):
        text = path.read_text()
        assert not [name for name in PIPELINES if f'"/{name}"' in text or f"/settings/{name}" in text], path


def test_the_library_names_no_module_of_a_plugin() -> None:
    files = [path for path in LIBRARY.rglob("*") if path.suffix in {".py", ".toml", ".pyi"}]
    assert [path for path in files if "mailslot_plugins" in path.read_text()] == []


def test_plugin_logs_are_kept_like_ours(site: Site) -> None:
    site.install("acme", "[mailslot.printers]\nacme = acme_mail.printer:printer\n")
    assert plugin_packages() >= {"mailslot", "mailslot_plugins", "acme_mail"}
    root = logging.getLogger()
    before, levels = (root.handlers, root.level), {name: logging.getLogger(name).level for name in plugin_packages()}
    log = site.path / "log"
    with log.open("w") as stream:
        try:
            set_up_logging(stream, plain=True)
            logging.getLogger("acme_mail.printer").info("printed")
        finally:
            for handler in root.handlers:
                handler.flush()
            root.handlers = before[0]
            for name, level in {"": before[1], **levels}.items():
                logging.getLogger(name).setLevel(level)
    assert "printed" in log.read_text()


WITHOUT_PLUGINS = """
import sys
sys.modules["mailslot_plugins"] = None
import anyio
from mailslot.service.pipeline import RetryPolicies, find_pipelines
from mailslot.service.retry_policy import DEFAULT
from mailslot.slots.section import section_names

assert find_pipelines() == []
assert section_names() == ("device",), section_names()
assert anyio.run(RetryPolicies().of, "scan") is DEFAULT
"""


def test_without_any_of_our_plugins_the_library_works() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_PLUGINS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
