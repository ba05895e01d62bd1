"""How near are texts to images: by their global vectors, or by what words or segments find in the image's regions?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from prdlib.evaluation.adapters import DualEncoder, PRDAdapter
from prdlib.evaluation.image_gain import embed_texts, image_vectors
from prdlib.losses import local_similarity
from prdlib.losses.segment_region import segment_region_similarity
from prdlib.models import PRDModel
from prdlib.text import plain

SIMILARITIES = ("global", "local")
Text = Sequence[str]  # a text as (marked) words


def kinds_of(model: DualEncoder) -> tuple[str, ...]:
    """The similarities that a model has: both of ours, the global one of others."""
    return SIMILARITIES if isinstance(model, PRDAdapter) else SIMILARITIES[:1]


def similarities(model: DualEncoder, images: np.ndarray, texts: Sequence[Text], kind: str = "global") -> np.ndarray:
    """float64 [N, T] of uint8 images [N, S, S] and T texts.

    kind: 'global', the cosine of the two vectors; 'local', of our models alone: with a segment-region head the mean over a text's
    segments of what each finds among the places; of others the local loss's similarity with the mean over words, since prompts
    differ in length (its region-word space is random in a model that was trained without that loss: a control).
    Raises ValueError for a similarity that the model has not.
    """
    if kind not in kinds_of(model):
        raise ValueError(f"A similarity of this model is {' or '.join(kinds_of(model))}, not {kind!r}.")
    if kind == "global":
        embeds, place = embed_texts(model, [tuple(text) for text in texts])
        found = (image_vectors(model, images) @ embeds.T).numpy()
    else:
        distinct = sorted(set(map(tuple, texts)), key=lambda words: (len(words), words))
        place = {words: i for i, words in enumerate(distinct)}
        inner = model.model
        read = _found_by_segments if inner.config.segment_regions else _found_by_words
        found = read(inner, images, distinct)
    return found[:, [place[tuple(text)] for text in texts]]


def logit_scale(model: DualEncoder, kind: str = "global") -> float:
    """What training multiplies a similarity by: s of the global one (of a model that says none 1 / 0.07, where CLIP starts), the
    segment-region head's own; the local loss's similarity is a logit itself."""
    if kind == "global":
        return float(getattr(model, "logit_scale", 1 / 0.07))
    inner = model.model
    return float(inner.segment_scale.detach().exp()) if inner.config.segment_regions else 1.0


@torch.inference_mode()
def _found_by_segments(model: PRDModel, images: np.ndarray, texts: Sequence[Text], batch_size: int = 64) -> np.ndarray:
    model.eval()
    segments, mask = _stacked([model.encode_segments(texts[i : i + 32]) for i in range(0, len(texts), 32)])
    rows = [
        segment_region_similarity(model.encode_places(_pixels(images, i, batch_size)), segments, mask)
        for i in range(0, len(images), batch_size)
    ]
    return torch.cat(rows).double().cpu().numpy()


@torch.inference_mode()
def _found_by_words(model: PRDModel, images: np.ndarray, texts: Sequence[Text], batch_size: int = 64) -> np.ndarray:
    model.eval()
    heard = [plain(text) for text in texts]
    words, mask = _stacked([model.encode_words(heard[i : i + 32]) for i in range(0, len(heard), 32)])
    rows = [
        local_similarity(model.encode_regions(_pixels(images, i, batch_size)), words, mask, aggregation="mean")
        for i in range(0, len(images), batch_size)
    ]
    return torch.cat(rows).double().cpu().numpy()


def _pixels(images: np.ndarray, start: int, number: int) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images[start : start + number]))


def _stacked(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Embeddings [n, W, D] with masks [n, W] below each other, padded to the longest."""
    longest = max(mask.shape[1] for _, mask in parts)
    embeds = [pad(part, (0, 0, 0, longest - part.shape[1])) for part, _ in parts]
    return torch.cat(embeds), torch.cat([pad(mask, (0, longest - mask.shape[1])) for _, mask in parts])
