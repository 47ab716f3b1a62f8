"""The plugin registry with damaged plugins: each is named, and the others work."""

from __future__ import annotations

import errno
import sys
import threading
from types import ModuleType
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.to_thread import run_sync

from mailslot.entry_points import plugin_packages
from mailslot.errors import InputError
from mailslot.registry import PluginError, PluginGroup
from mailslot.service.pipeline import PLUGINS, find_pipelines
from mailslot.shortage import is_memory_exhausted, is_shortage
from mailslot.slots.flows import TOKEN_SOURCES
from mailslot.slots.records import Records
from mailslot.slots.token_sources import TokenSources
from mailslot_plugins.printers.printer import PrinterOptions, find_printer
from shortage import no_descriptors

if TYPE_CHECKING:
    from plugins.conftest import Site

GROUP = PluginGroup[object]("mailslot.telex", noun="telex", check=callable)
GOOD = "def make(): return 'good'\n"
SLOW = """
import sys
from mailslot.sasl.credentials import StaticToken

assert sys.modules["telex_gate"].opened.wait(120), "the loop stood still"

def source(settings):
    return StaticToken("x" * 20)
"""


def brings(**entries: str) -> str:
    return "\n".join(["[mailslot.telex]", *(f"{name} = {value}" for name, value in entries.items()), ""])


def refusal(name: str, group: PluginGroup[object] = GROUP) -> PluginError:
    with pytest.raises(PluginError) as caught:
        group.find(name)
    assert str(caught.value).count("\n") == caught.value.detail.count("\n") == 0
    assert "Traceback" not in f"{caught.value} {caught.value.detail}"
    return caught.value


def test_plugins_are_loaded_on_demand(site: Site) -> None:
    site.module("telex_good", f"with open({str(site.path / 'ran')!r}, 'a') as file:\n    file.write('x')\n{GOOD}")
    site.install("acme", brings(good="telex_good:make", gone="telex_gone:make"))
    assert GROUP.names() == ("gone", "good")
    assert [entry.value for entry in GROUP.entries()] == ["telex_gone:make", "telex_good:make"]
    with pytest.raises(InputError, match=r"^There is no telex 'goood'\. Did you mean good\?$"):
        GROUP.find("goood")
    assert not (site.path / "ran").exists()
    assert GROUP.find("good") is GROUP.find("good")
    assert (site.path / "ran").read_text() == "x"


def test_what_a_machine_is_too_short_of_passes(site: Site) -> None:
    """A flood of connections takes all descriptors, just when a plugin is loaded for the first time."""
    site.module("telex_good", GOOD)
    site.module("telex_bad", "from anyio import gone")
    site.install("acme", brings(good="telex_good:make", bad="telex_bad:make"))
    # What finds modules on the path has looked there before.
    assert not is_shortage(refusal("bad"))
    with no_descriptors():
        short = refusal("good")
    assert is_shortage(short)
    assert "Too many open files" in short.detail
    assert callable(GROUP.find("good"))


def test_a_plugin_that_cannot_be_loaded_for_lack_of_memory(site: Site) -> None:
    """What is being handled meanwhile is not to blame for it."""
    site.module("telex_large", "raise MemoryError")
    site.install("acme", brings(large="telex_large:make"))
    short = refusal("large")
    assert is_shortage(short)
    assert not is_memory_exhausted(short)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE])
def test_an_error_that_is_a_cause_of_its_own_cause(number: int) -> None:
    """As one is that was raised again where what it had caused was handled."""
    error, cause = ValueError(), OSError(number, "")
    error.__context__, cause.__cause__ = cause, error
    assert is_shortage(error) == is_shortage(cause) == (number == errno.EMFILE)


@pytest.mark.parametrize(
    ("source", "says", "detail"),
    [
        ("import no_such_module", "of acme 1.0 needs the module no_such_module, which is not installed.", "No module"),
        ("import anyio.gone", "of acme 1.0 needs the module anyio.gone, which is not installed.", "No module"),
        ("from anyio import gone", "of acme 1.0 cannot be loaded.", "ImportError: cannot import name"),
        ("def make(:", "of acme 1.0 cannot be loaded.", "SyntaxError"),
        ("raise KeyboardInterrupt", "of acme 1.0 cannot be loaded.", "KeyboardInterrupt"),
        ("raise SystemExit(3)", "of acme 1.0 cannot be loaded.", "SystemExit: 3 (*telex_bad.py, line 1)"),
        ("import pytest\npytest.skip('x', allow_module_level=True)", "of acme 1.0 cannot be loaded.", "Skipped: x"),
        ("raise OSError('one\\ntwo \\x1b[31m')", "of acme 1.0 cannot be loaded.", "OSError: one two ?[31m"),
        ("x = 1", "of acme 1.0 cannot be loaded.", "AttributeError: *'make'"),
        ("make = 'junk'", "of acme 1.0 cannot be used: what it names is not a telex.", "telex_bad:make is a str"),
    ],
)
def test_a_broken_plugin_is_named_and_others_work(site: Site, source: str, says: str, detail: str) -> None:
    site.module("telex_good", GOOD)
    site.module("telex_bad", source)
    site.install("acme", brings(bad="telex_bad:make", good="telex_good:make"))
    error = refusal("bad")
    assert str(error) == f"The telex bad {says}"
    assert all(part in error.detail for part in detail.split("*"))
    assert (error.cause, error.extra) == ("not_configured", "")
    loaded = GROUP.load_all()
    assert list(loaded.plugins) == ["good"]
    assert {name: str(each) for name, each in loaded.errors.items()} == {"bad": str(error)}


def test_keyboard_interrupt_propagates(site: Site) -> None:
    site.module("telex_bad", "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhile True: pass")
    site.install("acme", brings(bad="telex_bad:make"))
    with pytest.raises(KeyboardInterrupt):
        GROUP.find("bad")


@pytest.mark.parametrize(
    ("entry", "requires", "extra"),
    [
        ("telex_bad:make", ["No.Such_Module>=1; extra == 'wire'"], "acme[wire]"),
        ("telex_bad:make", ['no-such-module (>=1) ; python_version > "3" and extra == "wire"'], "acme[wire]"),
        ("telex_bad:make [line]", ["gone-one; extra == 'line'", "gone-two; extra == 'docs'"], "acme[line]"),
        ("telex_bad:make", ["gone-one; extra == 'telex_bad'", "gone-two; extra == 'docs'"], "acme[telex_bad]"),
        # All that is known of these is that they lack something, too.
        ("telex_bad:make", ["gone-one; extra == 'docs'", "anyio; extra == 'telex_bad'", "no-such-module"], ""),
        ("telex_bad:make", [], ""),
    ],
)
def test_a_missing_extra_is_named(site: Site, entry: str, requires: list[str], extra: str) -> None:
    site.module("telex_bad", "import no_such_module.inner")
    site.install("acme", brings(bad=entry), *requires)
    error = refusal("bad")
    assert error.extra == extra
    if extra:
        assert str(error) == f"The telex bad needs no_such_module: pip install '{extra}'."


def test_two_packages_with_the_same_plugin_name(site: Site) -> None:
    site.module("telex_good", GOOD + "other = make\n")
    site.install("beta", brings(same="telex_good:make", alike="telex_good:make"))
    site.install("acme", brings(same="telex_good:other", alike="telex_good:make"))
    assert str(refusal("same")) == (
        "The telex same is brought by acme 1.0 and beta 1.0: uninstall all of them but one."
    )
    assert GROUP.names() == ("alike", "same")
    assert list(GROUP.load_all().plugins) == ["alike"]


def test_our_own_plugins_cannot_be_replaced(site: Site) -> None:
    site.module("telex_good", "def printer(address, options): return 'not ours'\n")
    site.install("aaa", "[mailslot.printers]\nfolder = telex_good:printer\n")
    assert find_printer("folder /tmp", PrinterOptions()) != "not ours"
    loaded = PluginGroup[object]("mailslot.printers", noun="printer").load_all()
    assert "folder" in loaded.plugins
    assert str(loaded.errors["folder"]) == (
        "The printer folder of aaa 1.0 is passed over, since mailslot has one of that name itself."
    )


def test_a_shadowed_older_version_is_ignored(site: Site, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.module("telex_good", GOOD)
    site.install("Acme.Telex", brings(good="telex_good:make"))
    monkeypatch.syspath_prepend(str(tmp_path / "first"))
    first = type(site)(tmp_path / "first")
    first.path.mkdir()
    first.install("acme-telex", brings(better="telex_good:make"))
    assert GROUP.names() == ("better",)


def test_damaged_metadata_hide_no_other_plugin(site: Site) -> None:
    site.module("telex_good", GOOD)
    site.install("acme", brings(good="telex_good:make", odd="telex_good:make:more", empty=""))
    site.install("damaged", "[mailslot.telex]\nthis is no entry point\n")
    site.install("binary", "[mailslot.telex]\nx = y\n")
    (site.path / "binary-1.0.dist-info" / "entry_points.txt").write_bytes(b"\xff\xfe[")
    site.install("nameless", brings(orphan="telex_gone:make"), metadata="")
    assert set(GROUP.load_all().plugins) == {"good"}
    assert "of an unknown package needs the module telex_gone" in str(refusal("orphan"))


@pytest.mark.parametrize("value", ["acme-telex:make", ":", "", "..:make", "acme telex"])
def test_an_entry_point_that_names_no_object(site: Site, value: str) -> None:
    """Every command asks for the packages of all plugins, for their loggers, before it does anything else."""
    site.module("telex_good", GOOD)
    site.install("acme", brings(odd=value))
    site.install("other", brings(good="telex_good:make"))
    assert {"mailslot", "telex_good"} <= plugin_packages()
    assert all(plugin_packages()), "an empty name is the logger of all programs in the process"
    assert set(GROUP.load_all().plugins) == {"good"}
    assert "The telex odd of acme 1.0 cannot be loaded." in str(refusal("odd"))


def test_plugin_names_with_odd_characters(site: Site) -> None:
    site.module("telex_good", GOOD)
    site.install("acme", brings(**{"tëlex": "telex_good:make", "\x1b[31mred [b] x": "telex_gone:make"}))
    assert GROUP.find("tëlex")
    assert r"The telex '\x1b[31mred [b] x' of" in str(refusal("\x1b[31mred [b] x"))
    with pytest.raises(InputError, match=r"no telex '\\x07'; there are '\\x1b\[31mred \[b\] x', tëlex\.$"):
        GROUP.find("\x07")


def test_plugins_must_match_their_protocol(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.module(
        "telex_bad",
        "from mailslot_plugins.status.pipeline import StatusPipeline as a_class\n"
        "from mailslot_plugins.tokens.browser import BrowserFlow as flow\n"
        "class Wrong(a_class):\n    polls = 7\n"
        "class Worse(a_class):\n    @property\n    def name(self): raise OSError('on purpose')\n"
        "wrong, worse, junk = Wrong(), Worse(), {}\n",
    )
    names = ("a_class", "junk", "worse", "wrong")
    entries = "\n".join(["[mailslot.pipelines]", *(f"{name} = telex_bad:{name}" for name in names), ""])
    site.install("acme", f"{entries}[mailslot.token_sources]\nflow = telex_bad:flow\njunk = telex_bad:junk\n")
    assert {"status", "scan"} <= {pipeline.name for pipeline in find_pipelines()}
    assert set(PLUGINS.load_all().errors) == set(names)
    for name in names:
        assert f"The pipeline {name} of acme 1.0 cannot be used" in caplog.text
    for name in ("flow", "junk"):
        assert "is not a token source" in str(refusal(name, TOKEN_SOURCES))


async def test_a_slow_import_does_not_block_the_event_loop(
    site: Site, tmp_path, monkeypatch: pytest.MonkeyPatch, anyio_backend_name: str
) -> None:
    module = f"telex_slow_{anyio_backend_name}"
    site.module(module, SLOW)
    site.install("acme", f"[mailslot.token_sources]\nslow = {module}:source\n")
    records = Records(tmp_path)
    # Whoever sets it has it loaded already.
    records.settings.change("smtp", {"token_source": "slow x"})
    gate = ModuleType("telex_gate")
    gate.opened = threading.Event()
    monkeypatch.setitem(sys.modules, "telex_gate", gate)

    async def go_on() -> None:
        while module not in sys.modules:  # noqa: ASYNC110 - imports tell nobody
            await anyio.sleep(0.01)
        for _ in range(20):
            await anyio.sleep(0.01)
        gate.opened.set()

    async with anyio.create_task_group() as group:
        group.start_soon(go_on)
        sources = TokenSources(records)
        settings = await run_sync(records.effective, "smtp")
        await sources.source("smtp", settings)
        assert gate.opened.is_set()
        await sources.aclose()


def test_output_at_import_does_not_reach_stdout(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    for number in range(4):
        site.module(f"telex_loud_{number}", f"import time\nprint('hello')\ntime.sleep({number / 10})\n{GOOD}")
    site.install("acme", brings(**{f"loud{number}": f"telex_loud_{number}:make" for number in range(4)}))
    threads = [threading.Thread(target=GROUP.find, args=(name,)) for name in GROUP.names()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sys.stdout is before
    said = capfd.readouterr()
    assert (said.out, said.err.count("hello")) == ("", 4)
