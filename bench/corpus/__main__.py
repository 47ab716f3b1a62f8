"""Read a folder of mails and documents with the product's own code: ``python -m bench.corpus FOLDER``.

Prints how many of each sub-folder became what, and then the odd ones; how far it is stands on standard error. It is no
test: collections differ, and none of them is kept here. Documents are compared with what poppler and libtiff show of
them, by pdftoppm, tiff2rgba and tiffinfo.
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
    asked = parser.parse_args()
    if asked.workers < 1 or asked.odd < 0:
        parser.error("--workers is 1 or more, and --odd 0 or more")
    if not asked.folder.is_dir():
        parser.error(f"there is no folder {asked.folder}")
    files = files_of(asked.folder.absolute(), asked.only)
    if not files:
        parser.error(f"there are no {asked.only or 'mails and documents'} in {asked.folder}")
    missing = [name for name in PROGRAMS if any(sort == "documents" for _, sort in files) and not shutil.which(name)]
    if missing:
        parser.error(f"documents are compared by means of {', '.join(missing)}: install them, or say --only mails")
    # A name in a collection may be any octets.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    examined = [*progress(examine_all(files, asked.workers), len(files))]
    if asked.json:
        json.dump(
            [
                {"file": str(path.relative_to(asked.folder.absolute())), "sort": sort, **outcome._asdict()}
                for path, sort, outcome in examined
            ],
            sys.stdout,
            indent=1,
        )
    else:
        show(asked.folder.absolute(), examined, asked.odd)


def files_of(folder: Path, only: str | None) -> list[tuple[Path, str]]:
    """Return each file below a folder that is examined, and its sort."""
    return [(path, sort) for path in sorted(folder.rglob("*")) if (sort := sort_of(path)) and only in {None, sort}]


def examine_all(files: list[tuple[Path, str]], workers: int) -> Iterator[tuple[Path, str, Outcome]]:
    """Examine files, a few at a time."""
    pool = ThreadPoolExecutor(workers)
    try:
        outcomes = pool.map(lambda each: examine(*each), files)
        yield from ((path, sort, outcome) for (path, sort), outcome in zip(files, outcomes, strict=True))
    finally:
        # Whoever interrupts it does not want the others.
        pool.shutdown(cancel_futures=True)


def progress(examined: Iterable[tuple[Path, str, Outcome]], total: int) -> Iterator[tuple[Path, str, Outcome]]:
    """Say on standard error how many there are so far; on a terminal of each, elsewhere of every hundredth."""
    terminal = sys.stderr.isatty()
    for number, each in enumerate(examined, start=1):
        if terminal or number % 100 == 0 or number == total:
            end = "\r" if terminal and number < total else "\n"
            print(f"{number:,} of {total:,}", end=end, file=sys.stderr, flush=True)
        yield each


def sort_of(path: Path) -> str:
    """Return ``mails`` or ``documents``, by content; empty for what is neither."""
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


def examine(path: Path, sort: str) -> Outcome:
    """Examine one file in a folder of its own; a fault of ours is an outcome, too."""
    examine_one = mails.examine if sort == "mails" else documents.examine
    with tempfile.TemporaryDirectory(prefix="corpus-") as scratch:
        try:
            return examine_one(path, Path(scratch))
        except Exception as error:  # noqa: BLE001 - one file must not end the run
            return Outcome("broken", "".join(traceback.format_exception_only(error)).strip())


def show(folder: Path, examined: list[tuple[Path, str, Outcome]], most: int) -> None:
    """Print rates by sub-folder, then the odd ones."""
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
        for path, outcome in odd_ones[:most]:
            print(f"    {path.name}: {outcome.label}: {outcome.note[:160]}")
        if len(odd_ones) > most:
            print(f"    and {len(odd_ones) - most} more")


if __name__ == "__main__":
    main()
