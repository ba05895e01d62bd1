"""A probe for binding: is what a dual encoder's inner product cannot tell still in its regions and words?

A fusion head (:mod:`prdlib.models.matching_head`) is trained on frozen encoders to say whether an image and a report belong
together, as image-text matching in ALBEF and BLIP. Its negatives, by name:

    in-batch    for each image a report of the batch, and for each report an image, drawn by the inner product: the nearer, the
                more often; never one with the same words
    exchanged   the report with the attributes of two findings exchanged (``exchange_attributes``)
    clinical    the report after another clinical edit, drawn afresh for each study and epoch
    mirrored    the report with left and right exchanged; and each pair's mirror image is a pair itself, so that the same words
                are true of one image and false of the other

Twins are then asked of the head as of an inner product. As a linear probe does for labels, it says what the encoders hold, not
what retrieval uses: a head must read every pair, an inner product only two lists of vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from prdlib.data.batches import EvaluationData
from prdlib.evaluation.embeddings import embed_images, embed_reports, region_features
from prdlib.evaluation.scores import pair_scores, snap_ties
from prdlib.evaluation.twins import Twins, outcomes_of_scores
from prdlib.models import PRDModel
from prdlib.models.matching_head import MatchingHead
from prdlib.models.segment_encoder import words_of_reports
from prdlib.models.text_encoder import merge_pieces
from prdlib.repro import generator
from prdlib.text import FAMILIES, TaggedReport, draw_names, exchange_sides, perturb, plain

NEGATIVES = ("in-batch", "exchanged", "clinical", "mirrored")
OTHER_EDITS = tuple(name for name in FAMILIES["clinical"] if name != "exchange_attributes")
Marked = tuple[str, ...]


@dataclass(frozen=True)
class MatchingProbe:
    """model: with frozen weights; head: trained, in eval mode; history: epoch, loss, 'pairs told' and 'negatives told',
    the shares told right."""

    model: PRDModel
    head: MatchingHead
    history: pd.DataFrame

    @torch.inference_mode()
    def scores(self, regions: Tensor, reports: Sequence[Marked], batch_size: int = 256) -> Tensor:
        """Logits [N] of N pairs: regions [N, R, C] of :func:`region_features`, reports as (marked) words."""
        parts = [torch.zeros(0)]
        for i in range(0, len(reports), batch_size):
            words, mask = word_states(self.model, reports[i : i + batch_size])
            parts.append(self.head(words, mask, regions[i : i + batch_size].to(words.device)).cpu())
        return torch.cat(parts)


@torch.inference_mode()
def word_states(model: PRDModel, reports: Sequence[Marked]) -> tuple[Tensor, Tensor]:
    """(states [N, W, H] of the words of N reports before any projection, word_mask [N, W]); pieces of a word are summed."""
    distinct = sorted(set(reports))
    tokens = model.tokenise(distinct)
    _, states = model.sequence_features(tokens, words=True)
    word_ids = tokens["word_ids"]
    if model.config.segments != "none":
        states, word_ids = words_of_reports(states, word_ids, tokens["segment_index"])
    merged = merge_pieces(states.float(), word_ids, int(word_ids.max()) + 1)
    mask = torch.arange(merged.shape[1], device=merged.device) < word_ids.amax(dim=1, keepdim=True) + 1
    place = {report: i for i, report in enumerate(distinct)}
    rows = torch.tensor([place[report] for report in reports], device=merged.device)
    return merged[rows], mask[rows]


def fit_matching(
    model: PRDModel,
    data: EvaluationData,
    seed: int = 0,
    negatives: Sequence[str] = NEGATIVES,
    epochs: int = 6,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    layers: int = 1,
    width: int = 128,
    report: Callable[[str], None] | None = None,
) -> MatchingProbe:
    """Train a matching head on the pairs of ``data`` (training studies); the encoders of ``model`` are not changed.

    negatives: names out of NEGATIVES. report: told one line per epoch. seed: of the head's weights, its dropout, the order of
    studies and what is drawn.
    Raises ValueError for an unknown kind of negatives, for none, and for fewer than two studies.
    """
    unknown = [name for name in negatives if name not in NEGATIVES]
    if unknown or not negatives:
        raise ValueError(f"Unknown negatives {unknown}: choose of {', '.join(NEGATIVES)}, at least one.")
    if len(data.study_ids) < 2:
        raise ValueError(f"A matching head needs two studies or more, not {len(data.study_ids)}.")
    mirror = "mirrored" in negatives
    regions = [region_features(model, data.images)]
    if mirror:
        regions.append(region_features(model, data.images[:, :, ::-1]))
    images, reports, scale = (
        embed_images(model, data.images),
        embed_reports(model, data.marked),
        float(model.scales()[0].detach()),
    )
    batch_size = min(batch_size, len(data.study_ids))
    steps = len(data.study_ids) // batch_size
    rows = []
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(seed)
        width_of_words, (number, width_of_regions) = model.text_encoder.config.hidden_size, regions[0].shape[1:]
        head = MatchingHead(width_of_words, width_of_regions, number, width, layers).to(model.device)
        optimizer = torch.optim.AdamW(head.parameters(), lr=learning_rate, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, learning_rate, total_steps=steps * epochs, pct_start=0.1
        )
        for epoch in range(epochs):
            order = generator(seed, epoch, "matching order").permutation(len(data.study_ids))
            losses, right, wrong = [], [], []
            for step in range(steps):
                chosen = order[step * batch_size : (step + 1) * batch_size]
                pairs = _pairs(data, chosen, scale * images @ reports[chosen].T, negatives, seed, epoch)
                pairs.sort(key=lambda pair: len(pair[2]))  # short reports are not padded to the longest
                logits = torch.cat([_logits(model, head, regions, pairs[i : i + 96]) for i in range(0, len(pairs), 96)])
                truth = torch.tensor([float(match) for *_, match in pairs], device=model.device)
                # pairs and negatives count alike, however many negatives there are
                weight = torch.where(truth > 0, 0.5 / truth.sum(), 0.5 / (1 - truth).sum())
                loss = (binary_cross_entropy_with_logits(logits, truth, reduction="none") * weight).sum()
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                losses.append(float(loss.detach()))
                told = (logits.detach() > 0) == (truth > 0)
                right.append(float(told[truth > 0].float().mean()))
                wrong.append(float(told[truth == 0].float().mean()))
            rows.append({"epoch": epoch + 1, "loss": np.mean(losses), "pairs told": np.mean(right),
                         "negatives told": np.nanmean(wrong) if not np.isnan(wrong).all() else np.nan})  # fmt: skip
            if report:
                report(" ".join(f"{name} {value:.3g}" for name, value in rows[-1].items()))
    return MatchingProbe(model, head.eval(), pd.DataFrame(rows))


def _logits(
    model: PRDModel, head: MatchingHead, regions: Sequence[Tensor], pairs: Sequence[tuple[int, bool, Marked, bool]]
) -> Tensor:
    shown = torch.stack([regions[int(mirrored)][row] for row, mirrored, _, _ in pairs]).to(model.device)
    words, mask = word_states(model, [text for _, _, text, _ in pairs])
    return head(words.clone(), mask.clone(), shown)  # what inference mode made takes part in no gradient


def _pairs(
    data: EvaluationData, chosen: np.ndarray, similarity: Tensor, negatives: Sequence[str], seed: int, epoch: int
) -> list[tuple[int, bool, Marked, bool]]:
    """(row of the image, whether it is mirrored, report, whether they belong together), pairs first.

    chosen: rows of the batch; similarity: logits [all images, batch].
    """
    marked = data.marked
    found = [(int(row), False, marked[row], True) for row in chosen]
    if "mirrored" in negatives:
        found += [(int(row), True, exchange_sides(marked[row]), True) for row in chosen]
    for place, row in enumerate(chosen):
        row = int(row)
        for text in _edited(data.tagged[row], negatives, seed, epoch, data.study_ids[row]):
            found.append((row, False, text, False))
        if "mirrored" in negatives and exchange_sides(marked[row]) != marked[row]:
            found += [(row, False, exchange_sides(marked[row]), False), (row, True, marked[row], False)]
        if "in-batch" in negatives:
            rng = generator(seed, epoch, data.study_ids[row], "matching")
            other = data.groups[chosen] != data.groups[row]
            if other.any():
                found.append((row, False, marked[chosen[_drawn(similarity[row], other, rng)]], False))
                found.append((int(chosen[_drawn(similarity[chosen, place], other, rng)]), False, marked[row], False))
    return found


def _drawn(similarity: Tensor, allowed: np.ndarray, rng: np.random.Generator) -> int:
    """One place of ``allowed``, by a softmax of logits."""
    logits = np.where(allowed, similarity.double().numpy(), -np.inf)
    weights = np.exp(logits - logits.max())
    return int(rng.choice(len(weights), p=weights / weights.sum()))


def _edited(report: TaggedReport, negatives: Sequence[str], seed: int, epoch: int, study_id: str) -> list[Marked]:
    """The edited copies of a report that are negatives; edits that do not apply or change nothing give none."""
    names = ["exchange_attributes"] if "exchanged" in negatives else []
    if "clinical" in negatives:
        names += draw_names(OTHER_EDITS, 1, seed, epoch, study_id)
    copies = [perturb(report, name, generator(seed, epoch, study_id, name)) for name in names]
    return [copy.marked for copy in copies if not copy.is_noop]


def matching_accuracy(probe: MatchingProbe, data: EvaluationData, seed: int = 0) -> pd.DataFrame:
    """Does the head know pairs of studies that it has not seen? One row per study with another report to choose from: study_id,
    'fusion head' and 'inner product': 1 when the study's own report scores above that of a random other study, for its image;
    chance 1/2."""
    regions = region_features(probe.model, data.images)
    rng = generator(seed, "matching accuracy")
    other = np.array([_another(data.groups, row, rng) for row in range(len(data.groups))])
    rows = np.flatnonzero(other >= 0)
    own = probe.scores(regions[rows], [data.marked[row] for row in rows])
    wrong = probe.scores(regions[rows], [data.marked[row] for row in other[rows]])
    images, reports = embed_images(probe.model, data.images), embed_reports(probe.model, data.marked)
    by_product = pair_scores(images[rows], torch.stack([reports[rows], reports[other[rows]]], dim=1))
    return pd.DataFrame(
        {"study_id": [data.study_ids[row] for row in rows], "fusion head": (own > wrong).numpy().astype(float),
         "inner product": (by_product[:, 0] > by_product[:, 1]).numpy().astype(float)}
    )  # fmt: skip


def _another(groups: np.ndarray, row: int, rng: np.random.Generator) -> int:
    others = np.flatnonzero(groups != groups[row])
    return int(rng.choice(others)) if len(others) else -1


def matching_twins(probe: MatchingProbe, twins: Twins, blind_image: np.ndarray | None = None) -> pd.DataFrame:
    """What :func:`prdlib.evaluation.twins.twin_outcomes` asks, with the head's logits for scores."""
    number = len(twins.study_ids)
    structured = probe.model.config.segments != "none"
    texts = [tuple(twins.marked[words] if structured else plain(words)) for pair in twins.reports for words in pair]
    regions = region_features(probe.model, twins.images.reshape(-1, *twins.images.shape[2:])) if number else None
    if regions is None:
        return outcomes_of_scores(twins, torch.zeros(0, 2, 2))
    regions = regions.view(number, 2, *regions.shape[1:])
    both = [texts[2 * i + k] for i in range(number) for k in (0, 1)]
    scores = [probe.scores(regions[:, film].repeat_interleave(2, dim=0), both).view(number, 2) for film in (0, 1)]
    blind = None
    if blind_image is not None:
        alone = region_features(probe.model, blind_image[None])
        blind = _exact(probe.scores(alone.expand(2 * number, -1, -1), both).view(number, 2))
    return outcomes_of_scores(twins, torch.stack([_exact(part) for part in scores], dim=1), blind)


def _exact(scores: Tensor) -> Tensor:
    """Logits [n, 2] whose difference is rounding made equal."""
    scores = scores.double()
    return snap_ties(scores, scores.abs().amax(dim=1))
