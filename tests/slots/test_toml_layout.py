"""The lines of the keys of a TOML document, however it is written."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot.slots.toml_layout import layout


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a = 1\nb = 2", ("b",), 2),
        ("# c\n\n[t]\n\n  k = 1 # = 2", ("t", "k"), 5),
        ("[t . u]\nk = 1", ("t", "u"), 1),
        ("['t'.\"u\"]\nk.l = 1", ("t", "u", "k", "l"), 2),
        ('["a\\u0062"]\n"x=y" = 1', ("ab", "x=y"), 2),
        ("[t]\na = [1,\n 2, # ] [x]\n]\nb = 3", ("t", "b"), 5),
        ('[t]\na = """\nb = 1\n[u]\n"""\nb = 3', ("t", "b"), 6),
        ("[t]\na = '''\nb = 1\n'''\nb = 3", ("t", "b"), 5),
        ('a = """x""""\nb = 1', ("b",), 2),
        ('a = "\\"]\\n[x]"\nb = 1', ("b",), 2),
        ("a = {b = 1, c = {d = 'x}'}}\ne = 1", ("a", "c", "d"), 1),
        ("a = {b = 1, c = [{d = 2}]}\ne = 1", ("e",), 2),
        ("[[l]]\nk = 1\n[[l]]\nj = 1", ("l", "j"), 4),
        ("a = 2026-01-01 00:00:00 # x\nb = 1", ("b",), 2),
        ("a=[]\nb={}\nc=1", ("c",), 3),
    ],
)
def test_lines(text: str, path: tuple[str, ...], line: int) -> None:
    tomllib.loads(text)
    assert layout(text).lines[path] == line


def test_table_ends() -> None:
    text = "[a]\nx = 1\ny = [\n 1,\n] # c\n\n# about b\n[b]\n\n[c]\n# nothing\n"
    assert layout(text).ends == {("a",): 5, ("b",): 8, ("c",): 10}


keys = st.from_regex(r"[A-Za-z0-9_-]{1,5}", fullmatch=True) | st.text(st.characters(codec="utf-8"), max_size=4).map(
    lambda key: '"' + "".join(f"\\U{ord(c):08x}" for c in key) + '"'
)
values = st.recursive(
    st.sampled_from(["1", "true", "'a#b'", '"]\\""', "1979-05-27", "'''\n[x]\n'''", '"""\ny = 1\n"""', "-inf"]),
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: "[\n" + ", # ]\n".join(parts) + "\n]"),
    max_leaves=6,
)


@given(st.lists(st.tuples(keys, st.lists(st.tuples(keys, values), max_size=4)), max_size=4))
def test_any_document(tables: list[tuple[str, list[tuple[str, str]]]]) -> None:
    """Every key of a valid document is found, and on the line where it was put."""
    lines: list[str] = []
    expected: dict[tuple[str, ...], int] = {}
    for table, entries in tables:
        lines.append(f"[{table}]")
        for key, value in entries:
            number = len(lines) + 1
            lines += f"{key} = {value}".split("\n")
            [(name, [(inner, _)])] = [(n, list(t.items())) for n, t in tomllib.loads(f"[{table}]\n{key} = 0").items()]
            expected[name, inner] = number
    text = "\n".join(lines)
    try:
        document: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # the same name twice
    found = layout(text).lines
    assert {(name, key) for name, table in document.items() for key in table} == expected.keys()
    assert {path: found[path] for path in expected} == expected
