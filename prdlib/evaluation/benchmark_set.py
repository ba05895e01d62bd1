"""A frozen set of edited reports, so that two models are compared on the same copies.

A file is JSON lines. The first line is the header (format, version, source, split, seed, number of studies, kinds, and a hash of
all these and of the lines that follow; ``rules``, a hash of the words and rules that drew the copies, tells two versions of the
edits apart); then one line per study and kind: study_id, kind, hash of the original report, whether the edit applies, and the
copy as *operations* on the report's normalised words (runs 'a-b' of positions, or new words from the lexicon; a copy that came
out as its original, a no-op, has all positions in order). The text of a copy is in the file for phantoms alone; of a real
collection no report text is: whoever has it rebuilds the copies, and a report that is not the one of the file is found out by
its hash.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import prdlib.text
from prdlib.repro import hash_files, hash_json, write_atomic
from prdlib.text import PERTURBATIONS, Perturbed, TaggedReport, perturb_reports, plain, rebuild
from prdlib.text.segments import carry_breaks

FORMAT, VERSION = "prdlib-benchmark-set", 4
WITH_TEXT = "phantom"  # the only source whose edited reports are written out
HEADER = {
    "source": str,
    "split": str,
    "seed": int,
    "studies": int,
    "kinds": list,
    "rules": str,
    "hash": str,
}  # field -> its type
LINE = {"study_id", "kind", "original", "applies", "edit"}


class BenchmarkError(ValueError):
    """A benchmark set that cannot be used; one sentence."""


@dataclass(frozen=True)
class BenchmarkSet:
    """Originals and copies of N studies.

    study_ids: N; originals: N word tuples; copies: kind -> N word tuples, None where the edit does not apply or is a no-op;
    operations: kind -> N operations, None where the edit does not apply; seed: of the draws; source: the studies' name; split:
    theirs; of: number of studies in the set's file, of which these N are at hand (N for a new set); rules: hash of the edits'
    code and words when the copies were drawn; marked: originals and copies -> the same words with marks where segments begin, for
    models that read segments (of two copies with the same words the first says where).
    """

    study_ids: tuple[str, ...]
    originals: tuple[tuple[str, ...], ...]
    copies: dict[str, tuple[tuple[str, ...] | None, ...]]
    operations: dict[str, tuple[tuple[int | str, ...] | None, ...]]
    seed: int
    source: str
    split: str
    of: int
    rules: str
    marked: Mapping[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the edits."""
        return tuple(self.copies)

    def applicable(self, *kinds: str) -> list[int]:
        """Rows of the studies to which every one of ``kinds`` applies."""
        return [i for i in range(len(self.study_ids)) if all(self.copies[k][i] is not None for k in kinds)]

    def first(self, number: int) -> BenchmarkSet:
        """The set of the first ``number`` studies, as if drawn for them alone: a study's copies depend on no other."""
        part = slice(0, number)
        cut = {
            name: {kind: rows[part] for kind, rows in getattr(self, name).items()} for name in ("copies", "operations")
        }
        ids = self.study_ids[part]
        return replace(self, study_ids=ids, originals=self.originals[part], of=len(ids), **cut)

    def noops(self, *kinds: str) -> list[int]:
        """Rows of the studies where one of ``kinds`` applies and yet every draw gave the original: no question is asked there."""
        return [
            i for i in range(len(self.study_ids))
            if any(self.copies[k][i] is None and self.operations[k][i] is not None for k in kinds)
        ]  # fmt: skip

    @cached_property
    def hash(self) -> str:
        """Of the file's header and lines, 16 hexadecimal digits: two sets with the same hash ask the same questions."""
        return _hash(self._header(), list(self._lines()))

    def _header(self) -> dict[str, Any]:
        return {"format": FORMAT, "version": VERSION, "source": self.source, "split": self.split, "seed": self.seed,
                "studies": len(self.study_ids), "kinds": list(self.kinds), "rules": self.rules}  # fmt: skip

    def _lines(self) -> Iterable[dict[str, Any]]:
        for i, study_id in enumerate(self.study_ids):
            original = report_hash(self.originals[i])
            for kind in self.kinds:
                operations = self.operations[kind][i]
                edit = None if operations is None else _packed(operations)
                line = {
                    "study_id": study_id,
                    "kind": kind,
                    "original": original,
                    "applies": edit is not None,
                    "edit": edit,
                }
                if self.source == WITH_TEXT and study_id.startswith("phantom-"):
                    line["text"] = None if operations is None else " ".join(rebuild(self.originals[i], operations))
                yield line

    def save(self, path: str | Path) -> Path:
        """Write the set as JSON lines; report texts of phantoms alone are in the file."""
        lines = [json.dumps(line) for line in ({**self._header(), "hash": self.hash}, *self._lines())]
        return write_atomic(path, "\n".join(lines) + "\n")


def report_hash(words: Sequence[str]) -> str:
    """SHA-256 of a report's normalised words, 16 hexadecimal digits."""
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:16]


@cache
def rules_hash() -> str:
    """Hash of the edits' code and words (prdlib.text without its tokenizer), 16 hexadecimal digits."""
    folder = Path(prdlib.text.__file__).parent
    code = [path for path in folder.glob("*.py") if path.name != "tokenization.py"]
    return hash_files(sorted([*code, *folder.glob("*.yaml")]), 16)


def make_benchmark_set(
    tagged: Sequence[TaggedReport],
    study_ids: Sequence[str],
    kinds: Sequence[str] = (),
    seed: int = 0,
    source: str = "",
    split: str = "test",
) -> BenchmarkSet:
    """Draw one copy of every kind for every study; the same for the same seed, whatever else is in the table.

    kinds: names out of PERTURBATIONS (none: all of them); source, split: what the studies are. A copy that equals its original
    is no copy (``noops``). Raises BenchmarkError when a study stands in the table twice.
    """
    twice = next((study for study, number in Counter(map(str, study_ids)).items() if number > 1), None)
    if twice is not None:
        raise BenchmarkError(f"Study {twice} stands in the table more than once: give one row a study.")
    kinds = tuple(kinds) or tuple(PERTURBATIONS)
    drawn = perturb_reports(tagged, kinds, seed, 0, study_ids)
    columns = {kind: [row[k] for row in drawn] for k, kind in enumerate(kinds)}
    return BenchmarkSet(
        tuple(map(str, study_ids)),
        tuple(t.words for t in tagged),
        {k: tuple(None if c.is_noop else tuple(c.text.split()) for c in column) for k, column in columns.items()},
        {k: tuple(c.operations if c.applies else None for c in column) for k, column in columns.items()},
        seed,
        source,
        split,
        len(study_ids),
        rules_hash(),
        _marked([*tagged, *(copy for row in drawn for copy in row)]),
    )


def _marked(reports: Iterable[TaggedReport | Perturbed]) -> dict[tuple[str, ...], tuple[str, ...]]:
    marked: dict[tuple[str, ...], tuple[str, ...]] = {}
    for report in reports:
        if report.breaks:
            words = report.marked
            marked.setdefault(plain(words), words)
    return marked


def load_benchmark_set(path: str | Path, tagged: Sequence[TaggedReport], study_ids: Sequence[str]) -> BenchmarkSet:
    """The set of a file for the reports at hand; studies that only one of the two has are left out.

    ``of`` says how many studies the file has.

    Raises BenchmarkError for a file that is no benchmark set, was changed, or belongs to other reports.
    """
    path = Path(path)
    header, lines = _read(path)
    row_of = {study: i for i, study in enumerate(map(str, study_ids))}
    kept = [line for line in lines if line["study_id"] in row_of]
    if not kept:
        raise BenchmarkError(f"{path.name} has none of these studies: is it the set of {header['source']!r}?")
    ids = list(dict.fromkeys(line["study_id"] for line in kept))
    originals = [tagged[row_of[study]] for study in ids]
    reports = {study: original.words for study, original in zip(ids, originals, strict=True)}
    hashes = {study: report_hash(words) for study, words in reports.items()}
    operations: dict[str, dict[str, tuple[int | str, ...] | None]] = {kind: {} for kind in header["kinds"]}
    for line in kept:
        if hashes[line["study_id"]] != line["original"]:
            raise BenchmarkError(
                f"{path.name}: the report of {line['study_id']} is not the one that the set was made from: use the same "
                "version, word limit and settings of the collection."
            )
        operations[line["kind"]][line["study_id"]] = _unpacked(line["edit"]) if line["applies"] else None
    table = {kind: tuple(found.get(study) for study in ids) for kind, found in operations.items()}
    copies = {
        kind: tuple(None if o is None else _copy(reports[s], o) for s, o in zip(ids, column, strict=True))
        for kind, column in table.items()
    }
    return BenchmarkSet(
        tuple(ids),
        tuple(reports[s] for s in ids),
        copies,
        table,
        header["seed"],
        header["source"],
        header["split"],
        header["studies"],
        header["rules"],
        _marked([*originals, *_rebuilt(originals, table)]),
    )


def _rebuilt(
    originals: Sequence[TaggedReport], table: Mapping[str, Sequence[tuple[int | str, ...] | None]]
) -> Iterable[Perturbed]:
    """The copies of a file with their breaks; an edit that this version does not know is taken for one that moves words."""
    for kind, column in table.items():
        in_place = kind in PERTURBATIONS and PERTURBATIONS[kind].in_place
        for original, operations in zip(originals, column, strict=True):
            if operations is not None:
                breaks = carry_breaks(original.breaks, operations, in_place)
                text = " ".join(rebuild(original.words, operations))
                yield Perturbed(text, original.normalised, False, operations, True, breaks)


def _copy(words: tuple[str, ...], operations: Sequence[int | str]) -> tuple[str, ...] | None:
    copy = rebuild(words, operations)
    return None if copy == words else copy


def benchmark_header(path: str | Path) -> dict[str, Any]:
    """The first line of a file, checked against the others: format, version, source, split, seed, studies, kinds, hash.

    Raises BenchmarkError for a file that is no benchmark set or was changed.
    """
    return _read(Path(path))[0]


def benchmark_split(path: str | Path) -> str:
    """The split whose studies a file is made of; raises BenchmarkError likewise."""
    return str(benchmark_header(path)["split"])


def _read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if not path.is_file():
        raise BenchmarkError(f"No benchmark set at {str(path)!r}: write one with 'python -m prdlib benchmark-set'.")
    try:
        header, *lines = (json.loads(line) for line in path.read_text().splitlines())
    except ValueError as error:
        raise BenchmarkError(f"{path.name} is not a benchmark set: a line is no JSON, or the file is empty.") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise BenchmarkError(f"{path.name} is not a benchmark set: its first line lacks the format {FORMAT!r}.")
    if header.get("version") != VERSION:
        raise BenchmarkError(
            f"{path.name} has version {header.get('version')}, this library reads {VERSION}: write it again."
        )
    wrong = [name for name, kind in HEADER.items() if type(header.get(name)) is not kind]
    if wrong:
        raise BenchmarkError(f"{path.name}: its first line has no valid {', '.join(wrong)}: write the set again.")
    unknown = [kind for kind in header["kinds"] if not isinstance(kind, str) or kind not in PERTURBATIONS]
    if unknown:
        raise BenchmarkError(
            f"{path.name} has an edit {unknown[0]!r} that this library does not know: use the version that wrote the set."
        )
    if _hash(header, lines) != header["hash"] or not _complete(header, lines):
        raise BenchmarkError(f"{path.name} was changed or cut off since it was written: get it, or write it, again.")
    return header, lines


def _hash(header: Mapping[str, Any], lines: Sequence[Any]) -> str:
    return hash_json([{name: value for name, value in header.items() if name != "hash"}, *lines], 16)


def _complete(header: Mapping[str, Any], lines: Sequence[Any]) -> bool:
    """Whether there is one line for every study and kind that the header announces."""
    if not all(isinstance(line, dict) and line.keys() >= LINE for line in lines):
        return False
    asked = [(str(line["study_id"]), str(line["kind"])) for line in lines]
    studies = {study for study, _ in asked}
    whole = {(study, kind) for study in studies for kind in header["kinds"]}
    return len(studies) == header["studies"] and len(asked) == len(whole) and set(asked) == whole


def _packed(operations: Sequence[int | str]) -> list[str]:
    """[3, 4, 5, 'no', 7] -> ['3-5', '=no', '7']: runs of positions, and new words behind '='."""
    packed: list[str] = []
    runs = groupby(
        enumerate(operations), key=lambda item: ("word", item[0]) if isinstance(item[1], str) else item[1] - item[0]
    )
    for _, run in runs:
        parts = [part for _, part in run]
        if isinstance(parts[0], str):
            packed.append(f"={parts[0]}")
        else:
            packed.append(f"{parts[0]}-{parts[-1]}" if len(parts) > 1 else f"{parts[0]}")
    return packed


def _unpacked(packed: Sequence[str]) -> tuple[int | str, ...]:
    operations: list[int | str] = []
    for part in packed:
        if part.startswith("="):
            operations.append(part[1:])
        else:
            first, _, last = part.partition("-")
            operations += range(int(first), int(last or first) + 1)
    return tuple(operations)
