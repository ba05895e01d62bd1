"""A hand-made pair of encoders whose similarity is linear in the cells of an image and in its words: attributions are known."""

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

SIZE, CELL, DIM, PAD = 64, 16, 4, 0
SIDE = SIZE // CELL


class Tokenizer:
    pad_id = PAD


class LinearPair(nn.Module):
    """v = cells A, u = sum of the words' embeddings; ``seen`` [SIDE, SIDE]: cells outside it are 0 for every layer."""

    def __init__(self, seed=0, seen=None):
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.config = SimpleNamespace(
            image_size=SIZE, word_limit=60, segments="none", segment_window=0, segment_regions=False, training={}
        )
        self.pixel_input, self.map = nn.Identity(), nn.Identity()
        self.embedding = nn.Embedding(64, DIM)
        with torch.no_grad():
            self.embedding.weight.copy_(torch.randn(64, DIM, generator=g))
        self.projection = torch.rand(SIDE * SIDE, DIM, generator=g)
        self.seen = torch.ones(SIDE, SIDE) if seen is None else torch.as_tensor(seen).float()
        self.image_encoder = SimpleNamespace(attribution_layer=self.map)
        self.text_encoder = SimpleNamespace(get_input_embeddings=lambda: self.embedding)
        self.word_tokenizer, self.device = Tokenizer(), torch.device("cpu")

    def prepare_images(self, images):
        images = torch.as_tensor(images)
        images = images[:, None] if images.ndim == 3 else images
        return images.float() / 255 if images.dtype == torch.uint8 else images

    def cells(self, images):
        pooled = nn.functional.avg_pool2d(self.pixel_input(self.prepare_images(images)), CELL)
        return self.map(pooled * self.seen)

    def encode_images(self, images):
        return self.cells(images).flatten(1) @ self.projection

    def tokenise(self, reports):
        length = max(map(len, reports))
        ids = torch.zeros(len(reports), length, dtype=torch.long)
        words = torch.full((len(reports), length), -1)
        for i, report in enumerate(reports):
            ids[i, : len(report)] = torch.tensor([number(word) for word in report])
            words[i, : len(report)] = torch.arange(len(report))
        return {"input_ids": ids, "attention_mask": (words >= 0).long(), "word_ids": words}

    def encode_reports(self, reports):
        tokens = reports if isinstance(reports, dict) else self.tokenise(reports)
        return (self.embedding(tokens["input_ids"]) * tokens["attention_mask"][..., None]).sum(dim=1)

    # -- what word-to-region attention asks for: the word "seen" is what the seen cells show ---------------------------

    def encode_regions(self, images):
        return self.cells(images).flatten(2).transpose(1, 2) * self.embedding.weight[number("seen")]

    def encode_words(self, reports):
        tokens = self.tokenise(reports)
        return nn.functional.normalize(self.embedding(tokens["input_ids"]), dim=-1), tokens["word_ids"] >= 0


def number(word):
    """1 to 63, the same for equal words."""
    return 1 + sum(ord(letter) * 7**i for i, letter in enumerate(word)) % 63


def saliency(model, text):
    """d <v, u> / d cell: [SIDE, SIDE]."""
    with torch.no_grad():
        return ((model.projection @ model.encode_reports([text])[0]).view(SIDE, SIDE) * model.seen).numpy()


def spread(cells):
    """[SIDE, SIDE] as [SIZE, SIZE], each cell's value at each of its pixels."""
    return np.kron(cells, np.ones((CELL, CELL)))
