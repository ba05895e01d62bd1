"""Sentence pairs for natural-language inference: RadNLI, MedNLI and the phantom's own, in one validated table.

RadNLI (Miura et al., NAACL 2021, arXiv 2010.10042; PhysioNet radnli-report-inference 1.0.0) has a development and a test part
and none to train on. It is used as published: train on MedNLI, choose on RadNLI's development part, test on its test part.
MedNLI (Romanov and Shivade, EMNLP 2018, arXiv 1808.06752; PhysioNet mednli 1.0.0) has all three. Both are files of one JSON
object a line; what RadNLI calls pair_id is pairID in MedNLI, whose lines also carry parses, which are not read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from prdlib.data.phantom_pairs import LABELS, SQUARE, sentence_pairs
from prdlib.data.studies import SPLITS, DataError, empty_drops, existing_folder, split_of
from prdlib.text import normalise

PAIR_COLUMNS = ("pair_id", "premise", "hypothesis", "label", "split", "group")
RADNLI = {"validation": "radnli_dev_v1.jsonl", "test": "radnli_test_v1.jsonl"}
MEDNLI = {"train": "mli_train_v1.jsonl", "validation": "mli_dev_v1.jsonl", "test": "mli_test_v1.jsonl"}
FOLDER = "give its folder as downloaded (setting evaluation.{})"  # what to do when there is none
PRECEDENCE = ("test", "validation", "train")  # a premise of two splits stays in the first of these


@dataclass(frozen=True)
class SentencePairs:
    """A validated table of premises and hypotheses.

    table: one row per pair with the columns PAIR_COLUMNS, all text; ``label`` is one of LABELS (entailment, neutral,
        contradiction), ``split`` train, validation or test. Pairs of one ``group`` share a premise (of the phantom, a Latin
        square): they stand in one split and are resampled together.
    dropped: what the reader left out: columns ``item`` (pair_id), ``reason``, ``where``.
    name: of the collection; ``options``: what the reader was called with (plain JSON types).

    Raises DataError for a missing column, an empty table, a cell that is not text or has no words, an unknown label or split, a
    pair_id that stands twice in a split, and a premise or group that stands in two splits.
    """

    table: pd.DataFrame
    dropped: pd.DataFrame
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        table = self.table
        missing = [c for c in PAIR_COLUMNS if c not in table]
        if missing:
            raise DataError(
                f"The table of {self.name!r} has no column {missing[0]!r}: a reader must fill {', '.join(PAIR_COLUMNS)}."
            )
        if table.empty:
            raise DataError(f"No usable sentence pair in {self.name!r}: mend the collection, or load another.")
        for column in PAIR_COLUMNS:
            self._refuse(~table[column].map(_has_words), column, "it must be text with words")
        self._refuse(~table["label"].isin(LABELS), "label", f"it must be one of {', '.join(LABELS)}")
        self._refuse(~table["split"].isin(SPLITS), "split", f"it must be one of {', '.join(SPLITS)}")
        self._refuse(
            table.duplicated(["split", "pair_id"]), "pair_id", "it stands twice in its split, give each pair an id"
        )
        for column, keys in (("premise", table["premise"].map(normalise)), ("group", table["group"])):
            torn = table["split"].groupby(keys).transform("nunique") > 1
            self._refuse(torn, column, "it stands in more than one split, keep it in one")

    def _refuse(self, bad: pd.Series, column: str, rule: str) -> None:
        if bad.any():
            row = int(bad.to_numpy().argmax())
            raise DataError(
                f"Row {row} of {self.name!r}: column {column!r} is {self.table[column].iloc[row]!r}: {rule}."
            )

    def split(self, name: str) -> pd.DataFrame:
        """The pairs of one split; empty where the collection has none, as RadNLI of 'train'. DataError for an unknown name."""
        if name not in SPLITS:
            raise DataError(f"Unknown split {name!r}: choose one of {', '.join(SPLITS)}.")
        return self.table[self.table["split"] == name].reset_index(drop=True)

    def summary(self) -> pd.DataFrame:
        """Of each split: pairs, distinct premises and hypotheses, and pairs of each label."""
        rows = {}
        for name in SPLITS:
            part = self.split(name)
            if len(part):
                counts = part["label"].value_counts().reindex(list(LABELS), fill_value=0)
                rows[name] = {
                    "pairs": len(part), "premises": part["premise"].nunique(), "hypotheses": part["hypothesis"].nunique(),
                    **counts.to_dict(),
                }  # fmt: skip
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("split")


def load_radnli(directory: str | Path, mednli: str | Path | None = None) -> SentencePairs:
    """RadNLI's development part as validation and its test part as test.

    directory: the folder with radnli_dev_v1.jsonl and radnli_test_v1.jsonl. mednli: that of MedNLI, whose
    mli_train_v1.jsonl becomes the training split (its other files are not read); without it there is none, and only what needs
    no training can be scored.
    Raises DataError as :func:`load_mednli` does.
    """
    folder = existing_folder(directory, "RadNLI", FOLDER.format("nli_directory"))
    parts = [_read(folder / file, split, "RadNLI", "pair_id") for split, file in RADNLI.items()]
    if mednli is not None:
        training = existing_folder(mednli, "MedNLI", FOLDER.format("nli_training"))
        parts.append(_read(training / MEDNLI["train"], "train", "MedNLI", "pairID"))
    return _finish(parts, "RadNLI", {"training": "none" if mednli is None else "MedNLI"})


def load_mednli(directory: str | Path) -> SentencePairs:
    """MedNLI with its own training, development (validation) and test parts.

    directory: the folder with mli_train_v1.jsonl, mli_dev_v1.jsonl and mli_test_v1.jsonl.
    Left out and listed: pairs with a sentence that has no words, and pairs outside test whose premise stands in test too, or of
    training in validation; the test part is kept as published.
    Raises DataError for a missing folder or file, for a line (named) that is no JSON object, lacks a key or holds something
    else than text or an unknown gold_label, and for a pair's id that stands twice in a file.
    """
    folder = existing_folder(directory, "MedNLI", FOLDER.format("nli_directory"))
    return _finish([_read(folder / file, split, "MedNLI", "pairID") for split, file in MEDNLI.items()], "MedNLI", {})


def load_phantom_pairs(squares: int = 400, seed: int = 0) -> SentencePairs:
    """``squares`` Latin squares of the phantom's sentence pairs, nine pairs each (see prdlib.data.phantom_pairs).

    A square stands in one split whole, by a hash of its name. Squares with a premise that another split has too are left out
    whole and listed, so that a hypothesis alone, and a premise alone, says nothing of the label in any split.
    Raises DataError for numbers below one (seed: below 0).
    """
    if squares < 1 or seed < 0:
        raise DataError(f"The phantom needs squares of at least 1 and seed of at least 0, not {squares} and {seed}.")
    table = sentence_pairs(SQUARE * squares, seed).rename(
        columns={"sentence1": "premise", "sentence2": "hypothesis", "gold_label": "label"}
    )
    table["group"] = [f"phantom-{seed}-square-{i // SQUARE:06d}" for i in range(len(table))]
    table["split"] = table["group"].map(split_of)
    table, dropped = _disjoint(table)
    return SentencePairs(table[list(PAIR_COLUMNS)], dropped, "phantom", {"squares": int(squares), "seed": int(seed)})


def _read(path: Path, split: str, name: str, id_key: str) -> pd.DataFrame:
    """The pairs of one file with the columns PAIR_COLUMNS and where (file and line)."""
    if not path.is_file():
        raise DataError(f"{name}: {path.name} is missing in {str(path.parent)!r}: put there the file as downloaded.")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: {path.name} is not UTF-8 text ({error.reason}): download it again.") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"{path.name}, line {number}"
            rows.append(_pair(line, f"{name}: {where}", id_key) | {"split": split, "where": where})
    if not rows:
        raise DataError(f"{name}: {path.name} holds no pair: download it again.")
    return pd.DataFrame(rows)


def _pair(line: str, where: str, id_key: str) -> dict[str, str]:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not valid JSON ({error.msg}): download the file again.") from error
    if not isinstance(entry, dict):
        raise DataError(f"{where}: a {type(entry).__name__}, not an object with keys: download the file again.")
    pair = {}
    for column, key in zip(PAIR_COLUMNS, (id_key, "sentence1", "sentence2", "gold_label"), strict=False):
        if key not in entry:
            raise DataError(f"{where}: no key {key!r} (it has {', '.join(entry)}): download the file again.")
        value = entry[key]
        if column == "pair_id" and type(value) is int:
            value = str(value)
        if not isinstance(value, str):
            raise DataError(f"{where}: {key} is {value!r}, not text: mend the line, or download the file again.")
        pair[column] = value.strip()
    if pair["label"] not in LABELS:
        raise DataError(f"{where}: gold_label is {pair['label']!r}: it must be one of {', '.join(LABELS)}.")
    if not pair["pair_id"]:
        raise DataError(f"{where}: {id_key} is empty: give the pair an id.")
    return pair


def _finish(parts: list[pd.DataFrame], name: str, options: dict[str, Any]) -> SentencePairs:
    table = pd.concat(parts, ignore_index=True)
    twice = table.duplicated(["split", "pair_id"])  # a split is a file
    if twice.any():
        row = table[twice].iloc[0]
        raise DataError(f"{name}: {row['where']}: pair {row['pair_id']!r} stands above already: keep one.")
    silent = ~(table["premise"].map(_has_words) & table["hypothesis"].map(_has_words))
    drops = _drops(table[silent], "a sentence without words")
    table = table[~silent].reset_index(drop=True)
    table["group"] = table["premise"].map(normalise)
    table, shared = _disjoint(table)
    dropped = pd.concat([drops, shared], ignore_index=True)
    return SentencePairs(table[list(PAIR_COLUMNS)].reset_index(drop=True), dropped, name, options)


def _disjoint(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(the pairs whose premise is of one split, drop table of the others): groups leave the splits that come later in
    PRECEDENCE, whole."""
    rank = table["split"].map(PRECEDENCE.index)
    late = rank > rank.groupby(table["premise"].map(normalise)).transform("min")
    late = late.groupby([table["group"], table["split"]]).transform("any")
    kept = table[~late].reset_index(drop=True)
    return kept, _drops(table[late], "premise stands in another split")


def _drops(rows: pd.DataFrame, reason: str) -> pd.DataFrame:
    if rows.empty:
        return empty_drops()
    where = rows["where"] if "where" in rows else rows["group"]
    return pd.DataFrame({"item": rows["pair_id"], "reason": reason, "where": where}).reset_index(drop=True)


def _has_words(value: Any) -> bool:
    return isinstance(value, str) and normalise(value) != ""
