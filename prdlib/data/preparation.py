"""Prepared data: images resized once, reports tagged once, on disk in the form of ``datasets``.

<directory>/prepared.json   hash, labels, counts, settings; written last: a folder without it is not used
<directory>/dropped.csv     what the reader and this step left out
<directory>/data/           a datasets.DatasetDict
<directory>/shards/         finished parts while preparation is under way, removed at the end
<directory>/started.json    marks the folder as ours, with the hash that is being prepared
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import (
    Dataset,
    DatasetDict,
    Features,
    Sequence,
    Value,
    are_progress_bars_disabled,
    concatenate_datasets,
    disable_progress_bars,
    enable_progress_bars,
)
from filelock import FileLock

from prdlib.data.studies import LABEL_PREFIX, SPLITS, DataError, Studies
from prdlib.images import Geometry, ImageError, encode_png, fit, resize
from prdlib.repro import hash_json, write_atomic, write_json
from prdlib.text import TaggedReport, find_breaks, tag
from prdlib.text.clauses import rules_of_breaks

FORMAT = 4  # raise it when the prepared form changes: old folders are then made anew
SHARD = 500
OURS = {"prepared.json", "dropped.csv", "data", "shards", "started.json", ".lock"}
REPORT_COLUMNS = ("report", "words", "tags", "offsets", "punctuation", "n_words", "breaks")  # what tagged_report reads
INTEGERS = Sequence(Value("int32"))
FEATURES = Features(
    {
        "study_id": Value("string"),
        "patient_id": Value("string"),
        "view": Value("string"),
        "report": Value("string"),
        "report_group": Value("int64"),
        "words": Sequence(Value("string")),
        "tags": Sequence(Value("string")),
        "offsets": Sequence(INTEGERS),
        "punctuation": Sequence(INTEGERS),
        "n_words": Value("int32"),
        "breaks": Sequence(Value("int8")),
        "labels": Sequence(Value("float32")),
        "findings": Value("string"),
        "image": Value("binary"),
        "split": Value("string"),
    }
)


def prepare(studies: Studies, directory: str | Path, image_size: int, word_limit: int = 60) -> DatasetDict:
    """Prepared data of ``studies`` in ``directory``; made on the first call, loaded on the next.

    image_size: side of the square images, pixels (short side resized, centre cropped); word_limit: words kept of a report.
    An interrupted call goes on where it was; a change of table, options, size or limit starts afresh. Images that cannot be
    read go to dropped.csv. Two processes may call it at once: one waits for the other.
    Studies without reports have empty reports of no words: enough for classification, refused by pre-training.
    Raises DataError when no image could be read, or when ``directory`` holds anything that is not prepared data: nothing
    but this function's own files is ever replaced.
    """
    directory = Path(directory)
    key = content_hash(studies, image_size, word_limit)
    _refuse_foreign(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with FileLock(directory / ".lock"):
        if not (directory / "prepared.json").is_file() or prepared_info(directory)["hash"] != key:
            with _no_progress_bars():
                _prepare(studies, directory, image_size, word_limit, key)
    return load_prepared(directory)


def _refuse_foreign(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise DataError(f"{str(directory)!r} is a file: give an empty or new folder for the prepared data.")
    found = {path.name for path in directory.iterdir()} if directory.is_dir() else set()
    names = {name for name in found if not re.fullmatch(r"\..+\.tmp", name)}  # another process writes, or was killed
    ours = not names - {".lock"} or bool(names & {"started.json", "prepared.json"})
    if not ours or names - OURS:
        raise DataError(
            f"{str(directory)!r} holds files that are not prepared data ({min(names - OURS or names)!r}): "
            "give an empty or new folder."
        )


def _forget_other(directory: Path, key: str) -> None:
    """Remove what was prepared or begun under another hash. The mark goes first: a kill in between leaves a folder that is
    ours and empty of promises, never a half-deleted one that looks whole."""
    mark = directory / "started.json"
    if mark.is_file() and json.loads(mark.read_text())["hash"] == key:
        return
    write_json(mark, {"hash": None})
    for name in ("prepared.json", "dropped.csv"):
        (directory / name).unlink(missing_ok=True)
    for name in ("data", "shards"):
        if (directory / name).is_dir():
            shutil.rmtree(directory / name)
    write_json(mark, {"hash": key})


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


def _prepare(studies: Studies, directory: Path, image_size: int, word_limit: int, key: str) -> None:
    _forget_other(directory, key)
    table = studies.table.reset_index(drop=True)
    columns = [LABEL_PREFIX + name for name in studies.labels]
    table[columns] = table[columns].astype("float64")
    parts_of = {directory / "shards" / f"{i:07d}": table[i : i + SHARD] for i in range(0, len(table), SHARD)}
    missing = [part["report"] for folder, part in parts_of.items() if not folder.is_dir()]
    reports = pd.concat(missing).unique().tolist() if missing else []
    tagged = _tagged(reports if studies.reports else [], word_limit)
    shards = [_shard(studies, part, tagged, folder, image_size) for folder, part in parts_of.items()]
    drops = pd.concat(
        [studies.dropped, *(pd.read_csv(s / "dropped.csv", dtype=str) for s in shards)], ignore_index=True
    )
    write_atomic(directory / "dropped.csv", drops.to_csv(index=False))
    filled = [Dataset.load_from_disk(str(s / "rows")) for s in shards if (s / "rows").is_dir()]
    if not filled:
        raise DataError(
            f"None of the {len(table)} images of {studies.name!r} can be read: see {directory / 'dropped.csv'}."
        )
    whole = concatenate_datasets(filled)
    where = pd.Series(whole["split"])
    parts = DatasetDict(
        {s: whole.select(where.index[where == s]).remove_columns("split") for s in SPLITS if (where == s).any()}
    )
    shutil.rmtree(directory / "data", ignore_errors=True)
    parts.save_to_disk(str(directory / "data"))
    counts = {s: {"studies": len(set(part["study_id"])), "images": len(part)} for s, part in parts.items()}
    write_json(
        directory / "prepared.json",
        {"hash": key, "name": studies.name, "options": dict(studies.options), "labels": studies.labels,
         "reports": studies.reports, "image_size": image_size, "word_limit": word_limit, "counts": counts, "dropped": len(drops)},
    )  # fmt: skip
    shutil.rmtree(directory / "shards", ignore_errors=True)


def load_prepared(directory: str | Path) -> DatasetDict:
    """The prepared data of a folder, memory-mapped; DataError when the folder was not finished."""
    prepared_info(directory)
    return DatasetDict.load_from_disk(str(Path(directory) / "data"))


def prepared_info(directory: str | Path) -> dict[str, Any]:
    """prepared.json of a folder: hash, name, options, labels (order of the column), reports (whether there are any), image_size,
    word_limit, counts."""
    path = Path(directory) / "prepared.json"
    if not path.is_file():
        raise DataError(
            f"No prepared data in {Path(directory).name!r}: run notebook 01, or 'python -m prdlib prepare'."
        )
    return json.loads(path.read_text())


def content_hash(studies: Studies, image_size: int, word_limit: int) -> str:
    """Hash of everything that decides the prepared data but the pixels of image files (their sizes stand for them)."""
    table = studies.table
    files = [0 if str(p).startswith("phantom://") else _file_size(p) for p in table["image"]]
    names = [Path(p).name if not str(p).startswith("phantom://") else p for p in table["image"]]
    rows = table.drop(columns=["image"]).to_json(orient="values")
    return hash_json([FORMAT, rules_of_breaks(), rows, names, files, dict(studies.options), image_size, word_limit], 16)


def _file_size(path: str | Path) -> int:
    """Bytes of a file, 0 where there is none; asked once, since some disks answer slowly."""
    try:
        facts = os.stat(path)
    except OSError:
        return 0
    return facts.st_size if stat.S_ISREG(facts.st_mode) else 0


def rows_hash(data: DatasetDict) -> str:
    """Hash of all rows of prepared data, pixels included, for data whose folder is not known: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, split in sorted(data.items()):
        digest.update(name.encode())
        for row in split:
            image = row.pop("image")
            digest.update(json.dumps(row, sort_keys=True).encode())
            digest.update(image)
    return digest.hexdigest()[:16]


def tagged_report(row: Mapping[str, Any]) -> TaggedReport:
    """The TaggedReport of a prepared row. Equal words are one string in memory: half the bytes, and quicker to compare."""
    return TaggedReport(
        row["report"],
        tuple(map(sys.intern, row["words"])),
        tuple(map(sys.intern, row["tags"])),
        tuple(map(tuple, row["offsets"])),
        tuple(map(tuple, row["punctuation"])),
        row["n_words"],
        tuple(row["breaks"]),
    )


def refuse_without_reports(data: Mapping[str, Dataset]) -> None:
    """DataError when a row of prepared ``data`` has no report: contrastive training pairs images with reports."""
    for name, split in data.items():
        if 0 in split["n_words"]:
            raise DataError(
                f"The {name} data have no reports, only labels or boxes, and pre-training pairs images with reports: load a "
                "collection with reports, and use these data for classification."
            )


def _tagged(reports: list[str], word_limit: int) -> dict[str, TaggedReport]:
    """Report -> its words with tags and breaks; '' is the report of a collection without them, and asks for no tagger."""
    found = find_breaks(tag(reports, word_limit)) if reports else []
    return {"": TaggedReport("", (), (), (), (), 0), **dict(zip(reports, found, strict=True))}


def _in_square(finding: Mapping[str, Any], geometry: Geometry) -> dict[str, Any]:
    """A finding with its box in fractions of the prepared square instead of the image."""
    box = finding.get("box")
    return {**finding, "box": geometry.box_in_square(box)} if box is not None else dict(finding)


def _shard(studies: Studies, rows: pd.DataFrame, tagged: Mapping[str, TaggedReport], folder: Path, size: int) -> Path:
    if folder.is_dir():
        return folder
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    labels = [LABEL_PREFIX + name for name in studies.labels]
    kept, drops = [], []
    for row in rows.to_dict("records"):
        try:
            pixels = studies.read_image(row)
            image = encode_png(resize(pixels, size))
        except ImageError as error:
            drops.append({"item": Path(str(row["image"])).name, "reason": "image cannot be read", "where": str(error)})
            continue
        report = asdict(tagged[row["report"]])
        del report["text"]
        plain = {name: row[name] for name in ("study_id", "patient_id", "view", "report", "report_group", "split")}
        findings = [_in_square(finding, fit(*pixels.shape, size)) for finding in row["findings"]]
        kept.append({**plain, **report, "labels": [row[c] for c in labels], "image": image,
                     "findings": json.dumps(findings)})  # fmt: skip
    if kept:  # an empty table cannot be loaded again
        columns = {name: [row[name] for row in kept] for name in FEATURES}
        Dataset.from_dict(columns, features=FEATURES).save_to_disk(str(temporary / "rows"))
    write_atomic(
        temporary / "dropped.csv", pd.DataFrame(drops, columns=["item", "reason", "where"]).to_csv(index=False)
    )
    return temporary.rename(folder)
