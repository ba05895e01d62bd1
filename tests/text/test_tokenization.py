"""Word-wise encoding equals the tokenizer's own; a vocabulary is the same in every process."""

import os
import random
import subprocess
import sys

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from prdlib.text import WordTokenizer, train_wordpiece

TEXTS = [
    "small left pleural effusion",
    "no acute cardiopulmonary abnormality",
    "the heart is enlarged",
    "clear lungs",
] * 3
SAMPLES = ["small effusion", "cardiomegaly xylophone", "the the the", "3.5 cm"]


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    from tokenizers.processors import TemplateProcessing

    tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", add_prefix_space=True
    )


@pytest.mark.parametrize("tokenizer", [train_wordpiece(TEXTS, 120), byte_level()], ids=["wordpiece", "byte-level"])
@pytest.mark.parametrize("text", SAMPLES)
def test_encoding_word_by_word_equals_the_tokenizer(tokenizer, text):
    words = text.split()
    ids, word_ids = WordTokenizer(tokenizer).encode(words)
    expected = tokenizer(words, is_split_into_words=True)
    assert ids == expected["input_ids"]
    assert word_ids == [-1 if w is None else w for w in expected.word_ids()]


def test_pad_marks_words_and_padding():
    tokenizer = WordTokenizer(train_wordpiece(TEXTS, 400))
    batch = tokenizer.pad([tokenizer.encode(["clear"]), tokenizer.encode(["clear", "lungs"])])
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert batch["word_ids"].tolist() == [[-1, 0, -1, -1], [-1, 0, 1, -1]]
    assert batch["input_ids"][0, 3] == tokenizer.pad_id


def test_length_is_limited_by_whole_words():
    tokenizer = WordTokenizer(train_wordpiece(TEXTS, 60), max_length=8)
    ids, word_ids = tokenizer.encode(["cardiopulmonary", "abnormality", "effusion"])
    assert len(ids) <= 8
    whole = [len(tokenizer.pieces(w)) for w in ("cardiopulmonary", "abnormality", "effusion")]
    kept = [sum(w == i for w in word_ids) for i in range(3)]
    assert all(k in (0, n) for k, n in zip(kept, whole, strict=True))


def test_vocabulary_does_not_depend_on_order_or_hash_seed():
    code = f"from prdlib.text import train_wordpiece; print(sorted(train_wordpiece({TEXTS!r}, 90).get_vocab().items()))"
    outputs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                       env={**os.environ, "PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    shuffled = random.Random(0).sample(TEXTS, len(TEXTS))
    outputs.add(f"{sorted(train_wordpiece(shuffled, 90).get_vocab().items())}\n")
    assert len(outputs) == 1


def test_saved_and_loaded_tokenizer_is_the_same(tmp_path):
    tokenizer = WordTokenizer(train_wordpiece(TEXTS, 120))
    tokenizer.save(tmp_path)
    again = WordTokenizer(AutoTokenizer.from_pretrained(tmp_path))
    assert again.encode(["small", "left", "xyz"]) == tokenizer.encode(["small", "left", "xyz"])


def test_no_words_to_learn_from_is_an_error():
    with pytest.raises(ValueError, match="No words"):
        train_wordpiece(["", " "], 100)


def test_antonyms_of_the_words_are_whole_words() -> None:
    tokenizer = WordTokenizer(train_wordpiece(["small left effusion", "moderate effusion"], 200))
    for word in ("large", "right", "negligible"):
        assert len(tokenizer.pieces(word)) == 1, word
    assert "severe" not in tokenizer.tokenizer.get_vocab()  # neither in the reports nor the antonym of a word in them
