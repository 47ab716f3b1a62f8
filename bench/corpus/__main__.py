"""Read a folder of mails and documents with the product's own code: ``python -m bench.corpus FOLDER``.

Prints the outcomes of each sub-folder with their numbers, then the odd files; the progress goes to standard error. It
is not a test: collections differ, and none is stored here. Documents are compared with the output of poppler and
libtiff (pdftoppm, tiff2rgba and tiffinfo).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import traceback
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from bench.corpus import documents, mails
from bench.corpus.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_OCTETS = 50_000_000
_FIELD = (
    b"from",
    b"return-path",
    b"received",
    b"delivered-to",
    b"to",
    b"subject",
    b"date",
    b"message-id",
    b"mime-version",
)
_MORE_FIELDS = (b"content-type", b"x-", b"reply-to", b"dkim-signature", b"authentication-results", b"sender", b"arc-")
PROGRAMS = ("pdftoppm", "tiff2rgba", "tiffinfo")
_MAIL_SUFFIXES = {".eml", ".msg", ".mail", ".mbox", ".mime"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.corpus", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--only", choices=("mails", "documents"), help="leave the others out")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="files at a time")
    parser.add_argument("--odd", type=int, default=40, help="odd ones to print of each sub-folder")
    arguments = parser.parse_args()
    if arguments.workers < 1 or arguments.odd < 0:
        parser.error("--workers is 1 or more, and --odd 0 or more")
    if not arguments.folder.is_dir():
        parser.error(f"there is no folder {arguments.folder}")
    files = files_of(arguments.folder.absolute(), arguments.only)
    if not files:
        parser.error(f"there are no {arguments.only or 'mails and documents'} in {arguments.folder}")
    missing = [name for name in PROGRAMS if any(kind == "documents" for _, kind in files) and not shutil.which(name)]
    if missing:
        parser.error(f"documents are compared by means of {', '.join(missing)}: install them, or say --only mails")
    # A name in a collection may be any octets.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    examined = [*progress(examine_all(files, arguments.workers), len(files))]
    if arguments.json:
        json.dump(
            [
                {"file": str(path.relative_to(arguments.folder.absolute())), "kind": kind, **outcome._asdict()}
                for path, kind, outcome in examined
            ],
            sys.stdout,
            indent=1,
        )
    else:
        show(arguments.folder.absolute(), examined, arguments.odd)


def files_of(folder: Path, only: str | None) -> list[tuple[Path, str]]:
    """Return the files below a folder that can be examined, each with its kind."""
    return [(path, kind) for path in sorted(folder.rglob("*")) if (kind := kind_of(path)) and only in {None, kind}]


def examine_all(files: list[tuple[Path, str]], workers: int) -> Iterator[tuple[Path, str, Outcome]]:
    """Examine files, a few at a time."""
    pool = ThreadPoolExecutor(workers)
    try:
        outcomes = pool.map(lambda each: examine(*each), files)
        yield from ((path, kind, outcome) for (path, kind), outcome in zip(files, outcomes, strict=True))
    finally:
        # After an interrupt, do not start the others.
        pool.shutdown(cancel_futures=True)


def progress(examined: Iterable[tuple[Path, str, Outcome]], total: int) -> Iterator[tuple[Path, str, Outcome]]:
    """Report on standard error how many files are done: on a terminal after each, elsewhere after every hundredth."""
    terminal = sys.stderr.isatty()
    for number, each in enumerate(examined, start=1):
        if terminal or number % 100 == 0 or number == total:
            end = "\r" if terminal and number < total else "\n"
            print(f"{number:,} of {total:,}", end=end, file=sys.stderr, flush=True)
        yield each


def kind_of(path: Path) -> str:
    """Return ``mails`` or ``documents``, by content; empty for any other file."""
    if not path.is_file() or path.is_symlink() or ".git" in path.parts or path.stat().st_size > MAX_OCTETS:
        return ""
    with path.open("rb") as file:
        head = file.read(4096)
    first = head.lstrip(b"\xef\xbb\xbf\r\n").removeprefix(b">")[:200].lower()
    name, colon, _ = first.partition(b":")
    if path.suffix.lower() in _MAIL_SUFFIXES or first.startswith(b"from ") or (colon and is_field(name)):
        return "mails"
    return "documents" if documents.is_document(path, head) else ""


def is_field(name: bytes) -> bool:
    return name.strip() in _FIELD or name.startswith(_MORE_FIELDS)


def examine(path: Path, kind: str) -> Outcome:
    """Examine one file in a scratch folder; an unexpected exception is an outcome, too."""
    examine_one = mails.examine if kind == "mails" else documents.examine
    with tempfile.TemporaryDirectory(prefix="corpus-") as scratch:
        try:
            return examine_one(path, Path(scratch))
        except Exception as error:  # noqa: BLE001 - one file must not end the run
            return Outcome("broken", "".join(traceback.format_exception_only(error)).strip())


def show(folder: Path, examined: list[tuple[Path, str, Outcome]], limit: int) -> None:
    """Print the rates of each sub-folder, then the odd files."""
    by_folder: dict[str, list[tuple[Path, str, Outcome]]] = defaultdict(list)
    for each in examined:
        relative = each[0].parent.relative_to(folder)
        by_folder[f"{relative} ({each[1]})"].append(each)
    for name, several in by_folder.items():
        counts = Counter(outcome.label for _, _, outcome in several)
        odd = sum(bool(outcome.note) for _, _, outcome in several)
        rates = ", ".join(f"{label} {count} ({count / len(several):.0%})" for label, count in counts.most_common())
        print(f"{name}: {len(several)}: {rates}; odd {odd}")
    for name, several in by_folder.items():
        odd_ones = [(path, outcome) for path, _, outcome in several if outcome.note]
        if odd_ones:
            print(f"\n{name}")
        for path, outcome in odd_ones[:limit]:
            print(f"    {path.name}: {outcome.label}: {outcome.note[:160]}")
        if len(odd_ones) > limit:
            print(f"    and {len(odd_ones) - limit} more")


if __name__ == "__main__":
    main()
