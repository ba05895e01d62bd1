"""Word-pieces: a small WordPiece vocabulary learnt from reports, and word-wise encoding with any fast tokenizer."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from prdlib.text.tagging import lexicon

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def train_wordpiece(reports: Iterable[str], vocabulary_size: int) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer of normalised ``reports``: their characters and their most frequent words, up to
    ``vocabulary_size`` pieces; a rarer word falls into the longest known words and characters. The antonyms of words
    (lexicon.yaml), which replace them in perturbed copies, count as often as the words themselves.

    The trainer of ``tokenizers`` breaks ties by the order of a hash map, so two processes learn two vocabularies; here ties go
    by the alphabet, and the result is the same for any order of the reports, in any process.
    Raises ValueError when there is no word to learn from.
    """
    counts = Counter(word for report in set(reports) for word in report.split())
    if not counts:
        raise ValueError("No words to learn a vocabulary from: give the normalised training reports.")
    for word, antonym in lexicon()["antonyms"].items():  # a perturbed copy is not to stand out by broken words
        if word in counts:
            counts[antonym] = max(counts[antonym], counts[word])
    characters = sorted({character for word in counts for character in word})
    pieces = [*SPECIAL, *characters, *(f"##{c}" for c in characters)]
    words = sorted((w for w in counts if len(w) > 1), key=lambda w: (-counts[w], w))
    vocabulary = {piece: i for i, piece in enumerate([*pieces, *words[: max(0, vocabulary_size - len(pieces))]])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


class WordTokenizer:
    """Encodes reports given as words with any fast tokenizer of transformers, word by word with a cache.

    The pieces of a word do not depend on its neighbours once words are split, so each word is tokenised once.
    ``max_length``: pieces of a report, special tokens included; further *whole* words are left out.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, max_length: int = 512) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length
        self.pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        frame = tokenizer(["x"], is_split_into_words=True)
        inner = [i for i, word in enumerate(frame.word_ids()) if word is not None]
        self._start, self._end = frame["input_ids"][: inner[0]], frame["input_ids"][inner[-1] + 1 :]
        self._pieces: dict[str, list[int]] = {}

    def pieces(self, word: str) -> list[int]:
        """Ids of a word's pieces; the unknown token for a word that has none."""
        found = self._pieces.get(word)
        if found is None:
            encoded = self.tokenizer([word], is_split_into_words=True, add_special_tokens=False)["input_ids"]
            found = self._pieces[word] = list(encoded) or [self.tokenizer.unk_token_id]
        return found

    def encode(self, words: Sequence[str]) -> tuple[list[int], list[int]]:
        """(input ids, word ids) of a report; the word id is the position of the word, -1 for special tokens."""
        pieces = [self.pieces(word) for word in words]
        room = self.max_length - len(self._start) - len(self._end)
        ends = list(accumulate(map(len, pieces)))
        pieces = pieces[: bisect_right(ends, room)]
        word_ids = [position for position, part in enumerate(pieces) for _ in part]
        return (
            [*self._start, *chain.from_iterable(pieces), *self._end],
            [*[-1] * len(self._start), *word_ids, *[-1] * len(self._end)],
        )

    def pad(self, encoded: Sequence[tuple[Sequence[int], Sequence[int]]]) -> dict[str, torch.Tensor]:
        """input_ids, attention_mask, word_ids as int64 tensors [N, L], padded to the longest (word id -1)."""
        lengths = np.array([len(ids) for ids, _ in encoded])
        mask = np.arange(lengths.max()) < lengths[:, None]
        filled = {"input_ids": np.full(mask.shape, self.pad_id), "word_ids": np.full(mask.shape, -1)}
        for name, rows in zip(filled, zip(*encoded, strict=True), strict=True):
            filled[name][mask] = np.fromiter(chain.from_iterable(rows), np.int64, int(lengths.sum()))
        return {
            name: torch.from_numpy(values)
            for name, values in {**filled, "attention_mask": mask.astype(np.int64)}.items()
        }

    def save(self, folder: str | Path) -> None:
        """The underlying tokenizer's files, readable by ``AutoTokenizer.from_pretrained``."""
        self.tokenizer.save_pretrained(str(folder))


def padded_index(rows: Sequence[Sequence[Any]], place: Mapping[Any, int] | None = None) -> torch.Tensor:
    """Rows of different lengths as int64 [N, longest], -1 where there is nothing more; the places of items in ``place``, or
    the items themselves."""
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    index = np.full(mask.shape, -1)
    items = chain.from_iterable(rows)
    index[mask] = np.fromiter(items if place is None else (place[i] for i in items), np.int64, int(lengths.sum()))
    return torch.from_numpy(index)
