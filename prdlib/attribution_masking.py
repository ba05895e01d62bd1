"""What the similarity loses without a part: occlusion of places; ablation and Shapley values of words, or of phrases.

A word is left out as Integrated Gradients does it (prdlib.attribution): [PAD] for its pieces, between the special tokens. So the
Shapley values of a report's words and the Integrated Gradients of its words add up to the same number.
Sources: Zeiler and Fergus 2014 (occlusion), Castro et al. 2009 (Shapley values by sampled orders), both over Captum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from captum.attr import LayerIntegratedGradients, Occlusion, ShapleyValueSampling
from torch import Tensor

from prdlib.attribution import Attribution, encode_rows, rows_of_reports, without_words
from prdlib.attribution_inputs import check_number, marked_reports
from prdlib.models import PRDModel
from prdlib.models.text_encoder import merge_pieces
from prdlib.repro import generator
from prdlib.text import plain

TARGET = "similarity of the pair"
Reports = Sequence[str | Sequence[str]]  # text, or (marked) words


@torch.no_grad()
def occlusion(
    model: PRDModel,
    images: np.ndarray,
    reports: Reports,
    window: int = 0,
    stride: int = 0,
    batch_size: int = 256,
    encode: Callable[[PRDModel, Tensor], Tensor] | None = None,
) -> Attribution:
    """What <v_i, u_i> loses when a square is covered with the image's mean grey: [N, S, S], for each pixel the mean over the
    squares that hold it.

    images: uint8 [N, S, S]; reports: N word lists; window, stride: of the square, in pixels (0: S / 4 and S / 8); batch_size:
    most images that are encoded at once, at least N. encode: (model, pixels) -> image_embeds, such as
    :class:`SeenImages`; None: the model's own.
    """
    model.eval()
    size = images.shape[-1]
    window, stride = window or max(1, size // 4), stride or max(1, size // 8)
    pixels, texts = model.prepare_images(torch.from_numpy(images)), model.encode_reports(reports)

    def similarity(values: Tensor, text: Tensor) -> Tensor:
        embeds = encode(model, values) if encode else model.encode_images(values)
        return (embeds * text).sum(dim=1)

    maps = Occlusion(similarity).attribute(
        pixels,
        sliding_window_shapes=(1, window, window),
        strides=(1, stride, stride),
        baselines=pixels.mean(dim=(1, 2, 3), keepdim=True).expand_as(pixels),
        additional_forward_args=(texts,),
        perturbations_per_eval=max(1, batch_size // len(pixels)),
    )
    return Attribution(maps[:, 0].float().cpu().numpy(), None, "Occlusion", TARGET)


class SeenImages:
    """image_embeds [B, D] of pixels [B, 1, S, S], each encoded once by each model: controls cover the same images again."""

    def __init__(self) -> None:
        self._known: dict[tuple[PRDModel, bytes], Tensor] = {}

    def __call__(self, model: PRDModel, pixels: Tensor) -> Tensor:
        keys = [(model, blake2b(row.tobytes(), digest_size=16).digest()) for row in pixels.cpu().numpy()]
        new = {key: i for i, key in enumerate(keys) if key not in self._known}
        if new:
            self._known |= zip(new, model.encode_images(pixels[list(new.values())]), strict=True)
        return torch.stack([self._known[key] for key in keys])


def word_ablation(
    model: PRDModel, image_embeds: Tensor, reports: Reports, groups: Sequence[Sequence[int]] | None = None
) -> np.ndarray:
    """What <v, u> loses without one word, or without its group: [N, K, W]; for arguments see :func:`word_shapley`."""
    reports = marked_reports(model, reports)
    group = _groups(reports, groups)
    kept = np.arange(group.max() + 1)[None, :, None] != group[:, None]  # [N, G, W], each time all but one group
    everything = np.ones_like(kept[:, :1])
    scores = score_with_words(model, image_embeds, reports, np.concatenate([everything, kept], axis=1))  # [N, K, 1 + G]
    lost = scores[..., :1] - scores[..., 1:]
    by_word = np.take_along_axis(lost, group[:, None].clip(min=0).repeat(lost.shape[1], axis=1), axis=2)
    return np.where((group >= 0)[:, None], by_word, 0.0)


def word_shapley(
    model: PRDModel,
    image_embeds: Tensor,
    reports: Reports,
    groups: Sequence[Sequence[int]] | None = None,
    samples: int = 10,
    seed: int = 0,
    batch_size: int = 256,
) -> np.ndarray:
    """Shapley values of words for <v, u>, by ``samples`` orders of the words drawn from ``seed``: [N, K, W], 0 beyond a report.

    image_embeds: [N, K, D], K images for each report, such as its own and controls: a coalition of words is encoded once for all;
    reports: N strings or word lists; groups: for each report the group of each word (0 to G - 1), such as its phrase or segment,
    whose words come and go together and share one value; None: each word by itself. batch_size: most texts that are encoded at
    once, at least N. Their sum is exactly the change of the score from the report without words.
    """
    check_number("samples", samples)
    rng, reports = generator(seed, "shapley"), marked_reports(model, reports)

    def orders(features: int, number: int) -> Iterator[list[int]]:
        return (rng.permutation(features).tolist() for _ in range(number))

    def score(given: Tensor, mask: Tensor, there: Tensor, images: Tensor) -> Tensor:
        return (images * encode_rows(model, given, mask, there)[:, None]).sum(dim=2)

    model.eval()
    tokens, group = rows_of_reports(model, reports), _groups(reports, groups)
    ids, word_ids = tokens["input_ids"], tokens["word_ids"]
    sampling = ShapleyValueSampling(score)
    sampling.permutation_generator = orders  # Captum's own draws from torch's global generator
    values = sampling.attribute(
        ids,
        baselines=without_words(model, tokens),
        additional_forward_args=(tokens["attention_mask"], tokens["there"], image_embeds.to(ids.device)),
        feature_mask=torch.from_numpy(group.clip(min=0)).to(ids.device).gather(1, word_ids.clamp(min=0)),
        n_samples=samples,
        perturbations_per_eval=max(1, batch_size // len(ids)),
    )  # [N, K, S L], a group's value at each of its pieces
    first = np.zeros(group.shape, dtype=np.int64)  # a piece of each word
    rows, pieces = np.nonzero(word_ids.cpu().numpy() >= 0)
    first[rows, word_ids.cpu().numpy()[rows, pieces]] = pieces
    by_word = np.take_along_axis(values.float().cpu().numpy(), first[:, None].repeat(values.shape[1], axis=1), axis=2)
    return np.where((group >= 0)[:, None], by_word, 0.0)


def _groups(reports: Sequence[Sequence[str]], groups: Sequence[Sequence[int]] | None) -> np.ndarray:
    """[N, W] group of each word, -1 beyond a report."""
    words = [plain(report) for report in reports]
    told = groups if groups is not None else [range(len(row)) for row in words]
    table = np.full((len(words), max(map(len, words))), -1)
    for row, report, group in zip(table, words, told, strict=True):
        if len(group) != len(report):
            raise ValueError(f"A report of {len(report)} words has groups for {len(group)}: give one for each word.")
        row[: len(group)] = group
    return table


def word_gradients(
    model: PRDModel, image_embeds: Tensor, reports: Reports, steps: int = 16, batch_size: int = 64
) -> np.ndarray:
    """Integrated Gradients of <v, u> on the word embeddings, from the report without words: [N, K, W]; for arguments see
    :func:`word_shapley`. steps: points of the path."""
    check_number("steps", steps)
    model.eval()
    tokens = rows_of_reports(model, reports)
    blank, words = without_words(model, tokens), int(tokens["word_ids"].max()) + 1

    def similarity(ids: Tensor, mask: Tensor, there: Tensor, images: Tensor) -> Tensor:
        return (images * encode_rows(model, ids, mask, there)).sum(dim=1)

    gradients = LayerIntegratedGradients(similarity, model.text_encoder.get_input_embeddings())
    values = []
    for images in image_embeds.to(model.device).unbind(dim=1):
        pieces = gradients.attribute(
            inputs=tokens["input_ids"],
            baselines=blank,
            additional_forward_args=(tokens["attention_mask"], tokens["there"], images),
            n_steps=steps,
            internal_batch_size=max(batch_size, len(images)),
        )
        pieces = pieces.detach().sum(dim=2).view(len(images), -1, 1)
        values.append(merge_pieces(pieces, tokens["word_ids"], words)[..., 0])
    return torch.stack(values, dim=1).float().cpu().numpy()


@torch.no_grad()
def score_with_words(model: PRDModel, image_embeds: Tensor, reports: Reports, kept: np.ndarray) -> np.ndarray:
    """<v, u> of reports of which only some words are left: [N, K, T].

    image_embeds: [N, K, D]; reports: N word lists; kept: [N, T, W] bool. Leaving out is as everywhere here.
    """
    model.eval()
    tokens = rows_of_reports(model, reports)
    ids, word_ids, blank = tokens["input_ids"], tokens["word_ids"], without_words(model, tokens)
    inside = torch.from_numpy(kept).to(ids.device)
    scores = []
    for part in inside.unbind(dim=1):
        left = part.gather(1, word_ids.clamp(min=0)) | (word_ids < 0)
        texts = encode_rows(model, torch.where(left, ids, blank), tokens["attention_mask"], tokens["there"])
        scores.append((image_embeds.to(ids.device) * texts[:, None]).sum(dim=2))
    return torch.stack(scores, dim=2).float().cpu().numpy()


METHODS = {"Shapley values": word_shapley, "Word ablation": word_ablation, "Integrated Gradients": word_gradients}


def word_attribution(model: PRDModel, images: np.ndarray, reports: Reports, method: str, **options: Any) -> Attribution:
    """The words of N pairs by one of METHODS. images: uint8 [N, S, S]; reports: N word lists; options: of the method.

    delta: the completeness error, against the report without words; None of ablation, which does not promise it, and of groups.
    """
    with torch.no_grad():
        embeds = model.eval().encode_images(torch.from_numpy(images))[:, None]
    words = METHODS[method](model, embeds, reports, **options)[:, 0]
    delta = None
    if method != "Word ablation" and not options.get("groups"):
        delta = words.sum(axis=1) - change_by_words(model, embeds, reports)[:, 0]
    return Attribution(None, words, method, TARGET, delta)


def change_by_words(model: PRDModel, image_embeds: Tensor, reports: Reports) -> np.ndarray:
    """<v, u> of the whole report minus that of the report without words: [N, K]; image_embeds: [N, K, D]."""
    reports = marked_reports(model, reports)
    kept = np.stack(
        [np.full((len(reports), max(len(plain(r)) for r in reports)), whole) for whole in (True, False)], axis=1
    )
    scores = score_with_words(model, image_embeds, reports, kept)
    return scores[..., 0] - scores[..., 1]
