"""The report files of MIMIC-CXR, read once: findings and impression of each, kept in a cache beside them."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from prdlib.data import report_sections
from prdlib.repro import hash_files, write_atomic

CACHE = "prdlib-reports-{key}.parquet"


def read_reports(folder: Path, names: Iterable[str], cache: Path | None) -> dict[str, str | None]:
    """Name -> findings and impression of each report file that is there: '' when it has neither, None when it is no text.

    folder, names: the files are <folder>/<name>, e.g. files/p10/p10000032/s50414267.txt. cache: folder of the cache; None: none
    is kept. The cache's name holds a hash of names, sizes and times of change of the files, and of the rules of sections: what
    was changed is read anew. A progress bar is on stderr while files are read, but not when that is no terminal. A cache that
    cannot be written is a warning, one that is damaged is made anew.
    """
    facts = _facts(folder, names)
    path = None if cache is None else cache / CACHE.format(key=_key(facts))
    found = _cached(path)
    if found is not None:
        return found
    found = {name: _text(folder / name) for name in tqdm(facts, desc="reports", unit="file", disable=None)}
    if path is not None and found:
        buffer = io.BytesIO()
        pd.DataFrame({"name": list(found), "report": list(found.values())}, dtype="str").to_parquet(buffer)
        try:
            write_atomic(path, buffer.getvalue())
        except OSError as error:
            warnings.warn(
                f"The reports will be read again next time: {str(path.parent)!r} cannot be written ({error.strerror}), give "
                "another folder as cache.",
                stacklevel=2,
            )
    return found


def _facts(folder: Path, names: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Name -> (bytes, time of change) of the files that are there."""
    facts = {}
    for name in names:
        try:
            found = os.stat(f"{folder}{os.sep}{name}")
        except OSError:
            continue
        facts[name] = (found.st_size, found.st_mtime_ns)
    return facts


def _key(facts: dict[str, tuple[int, int]]) -> str:
    digest = hashlib.sha256(hash_files([report_sections.__file__]).encode())
    for name in sorted(facts):
        digest.update(f"{name}\0{facts[name]}\0".encode())
    return digest.hexdigest()[:16]


def _cached(path: Path | None) -> dict[str, str | None] | None:
    if path is None or not path.is_file():
        return None
    try:
        table = pd.read_parquet(path)
        return {
            name: text if isinstance(text, str) else None
            for name, text in zip(table["name"], table["report"], strict=True)
        }
    except (OSError, ValueError, KeyError):  # pyarrow's errors are ValueErrors
        return None


def _text(path: Path) -> str | None:
    try:
        return report_sections.joined(*report_sections.sections(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError):
        return None
