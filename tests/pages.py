"""Finds the pages of the documentation, and the code and commands in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.hook import fill_page

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>```+)(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)(?P=fence)",
    re.MULTILINE | re.DOTALL,
)
PYTHON = re.compile(r"(?P<from><!-- from \S+ -->\n\n)?^```python\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^ {4,}(?:\$ )?(mailslot .+)$", re.MULTILINE)


def pages() -> dict[str, str]:
    """Every page, by its path; those of the site with what is written from the code."""
    ours = [path for path in DOCS.rglob("*.md") if "sample-plugin" not in path.parts]
    others = [
        ROOT / "README.md",
        DOCS / "sample-plugin" / "README.md",
        ROOT / "plugins" / "mailslot-imap" / "README.md",
    ]
    found = {str(path.relative_to(ROOT)): fill_page(path.read_text(encoding="utf-8")) for path in sorted(ours)}
    return found | {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in others}


def blocks(text: str, *languages: str) -> Iterator[str]:
    """The fenced code in some languages."""
    for found in FENCE.finditer(text):
        if found["language"] in languages:
            yield re.sub(rf"^{found['indent']}", "", found["code"], flags=re.MULTILINE)


def commands(text: str) -> Iterator[str]:
    """The lines that call mailslot, as a person would type them."""
    for block in [*blocks(text, "sh", "text", ""), *("\n".join(INDENTED.findall(text)),)]:
        for line in block.replace("\\\n", " ").splitlines():
            called = re.search(r"(?:^|[|;] *)(?:\$ )?(mailslot .+)", line)
            if called is not None and not re.search(r"COMMAND|\[OPTIONS\]", line):
                # What stands behind many blanks is said of the command.
                yield re.split(r"   +|  #", called[1])[0]


def run_python(text: str, name: str, **ports: int) -> dict[str, Any]:
    """Run a page's Python, with its servers' names and ports replaced; gives what it has defined."""
    code = "\n".join(blocks(text, "python"))
    for server, port in ports.items():
        code, count = re.subn(rf'"{server}\.example\.com", [0-9]+', f'"localhost", {port}', code)
        assert count == 1
    names: dict[str, Any] = {}
    exec(compile(code, name, "exec"), names)
    return names
