"""Segment-region contrast, centred and debiased discrimination: against loops in float64 written from their formulas."""

import pytest
import torch
from torch.nn.functional import normalize

from prdlib import losses
from prdlib.losses.segment_region import segment_attention, segment_region_contrastive, segment_region_similarity


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def naive_similarity(places, segments, tau):
    found = []
    for segment in segments:
        terms = [(tau * (segment / segment.norm() * place / place.norm()).sum()).exp() for place in places]
        found.append((sum(terms) / len(terms)).log() / tau)
    return sum(found) / len(found)


def inputs():
    counts = [2, 1, 4]
    mask = torch.arange(4) < torch.tensor(counts)[:, None]
    return random(3, 5, 6, seed=1), random(3, 4, 6, seed=2), mask, counts


def same(value, expected, tensors):
    torch.testing.assert_close(value, expected)
    for one, two in zip(torch.autograd.grad(value, tensors), torch.autograd.grad(expected, tensors), strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("tau", [1.0, 10.0, 50.0])
def test_similarity_is_the_double_loops(tau):
    places, segments, mask, counts = inputs()
    value = segment_region_similarity(places, segments, mask, temperature=tau)
    expected = torch.stack(
        [torch.stack([naive_similarity(p, s[:n], tau) for s, n in zip(segments, counts, strict=True)]) for p in places]
    )
    weights = torch.arange(9, dtype=torch.float64).view(3, 3)
    same((value * weights).sum(), (expected * weights).sum(), [places, segments])
    assert value.abs().max() <= 1


@pytest.mark.parametrize("equal", [False, True])
def test_loss_is_the_double_loops(equal):
    places, segments, mask, counts = inputs()
    positives = torch.eye(3, dtype=torch.bool)
    if equal:
        positives[0, 2] = positives[2, 0] = True
    value = segment_region_contrastive(places, segments, mask, 7.0, temperature=10.0, positives=positives)
    pairs = [[7.0 * naive_similarity(p, s[:n], 10.0) for s, n in zip(segments, counts, strict=True)] for p in places]
    total = 0.0
    for i in range(3):
        for line in ([pairs[i][j] for j in range(3) if j == i or not positives[i][j]],
                     [pairs[j][i] for j in range(3) if j == i or not positives[j][i]]):  # fmt: skip
            total = total + torch.stack(line).exp().sum().log() - pairs[i][i]
    same(value, total / 6, [places, segments])


def test_padding_sends_no_gradient_and_changes_nothing():
    places, segments, mask, _ = inputs()
    spoilt = segments.detach().masked_fill(~mask[..., None], float("nan")).requires_grad_()
    value = segment_region_similarity(places, spoilt, mask)
    torch.testing.assert_close(value, segment_region_similarity(places, segments, mask))
    [gradient] = torch.autograd.grad(value.sum(), spoilt)
    assert gradient[~mask].eq(0).all()


def test_the_order_of_segments_means_nothing():
    places, segments, _, _ = inputs()
    mask = torch.ones(3, 4, dtype=torch.bool)
    torch.testing.assert_close(
        segment_region_similarity(places, segments, mask), segment_region_similarity(places, segments.flip(1), mask)
    )


def test_attention_finds_the_planted_place():
    places = normalize(random(2, 5, 6, seed=1), dim=-1)
    segments = torch.stack([places[0, [3, 1]], places[1, [4, 0]]])
    mask = torch.tensor([[True, True], [True, False]])
    attention = segment_attention(places, segments, mask, temperature=50.0)
    assert attention.argmax(dim=-1)[mask].tolist() == [3, 1, 4]
    torch.testing.assert_close(attention.sum(dim=-1), mask.double())


def test_a_report_without_a_segment_is_an_error():
    places, segments, mask, _ = inputs()
    mask = mask & torch.tensor([[True], [False], [True]])
    with pytest.raises(ValueError, match="report 1 of the batch has no segment"):
        segment_region_similarity(places, segments, mask)
    with pytest.raises(ValueError, match="segment_mask must be"):
        segment_region_similarity(places, segments, mask[:, :2])


def discrimination_inputs():
    valid = torch.tensor([[True, True, True], [True, False, True], [True, False, False], [True, True, False]])
    return random(4, 6, seed=3), random(4, 3, 6, seed=4), valid


def naive_rows(logits, valid):
    rows = []
    for line, kept in zip(logits, valid, strict=True):
        options = [k for k in range(len(line)) if k == 0 or kept[k]]
        if len(options) > 1:
            rows.append(torch.stack([line[k] for k in options]).exp().sum().log() - line[0])
    return sum(rows) / len(rows)


def test_centred_discrimination_takes_the_mean_over_images_away():
    images, reports, valid = discrimination_inputs()
    value = losses.perturbed_report_discrimination(images, reports, 3.0, valid, centred=True)
    logits = [
        [3.0 * ((v * u).sum() - sum((w * u).sum() for w in images) / len(images)) for u in row]
        for v, row in zip(images, reports, strict=True)
    ]
    same(value, naive_rows(logits, valid), [images, reports])


def test_debiased_discrimination_adds_the_expert_without_its_gradient_and_the_experts_own_loss():
    images, reports, valid = discrimination_inputs()
    prior = random(4, 3, seed=5)
    value = losses.perturbed_report_discrimination(images, reports, 3.0, valid, text_prior=prior)
    logits = [
        [3.0 * (v * u).sum() + b.detach() for u, b in zip(row, line, strict=True)]
        for v, row, line in zip(images, reports, prior, strict=True)
    ]
    expected = naive_rows(logits, valid) + naive_rows(list(prior), valid)
    same(value, expected, [images, reports, prior])
    with pytest.raises(ValueError, match="text_prior must be"):
        losses.perturbed_report_discrimination(images, reports, 3.0, valid, text_prior=prior[:, :2])


def test_what_an_expert_knows_needs_no_learning():
    """Images that all say the same: once the expert tells the original, the discrimination sends them hardly a gradient."""
    images = normalize(torch.ones(4, 6, dtype=torch.float64), dim=-1).requires_grad_()
    reports = normalize(random(4, 3, 6, seed=4), dim=-1)
    sure = torch.tensor([[20.0, 0.0, 0.0]] * 4, dtype=torch.float64)
    plain, informed = (
        torch.autograd.grad(losses.perturbed_report_discrimination(images, reports, 3.0, text_prior=prior), images)[
            0
        ].norm()
        for prior in (None, sure)
    )
    assert informed < 1e-6 * plain


def test_the_objective_adds_the_segment_loss_by_its_weight():
    places, segments, mask, _ = inputs()
    images, reports = normalize(random(3, 6, seed=6), dim=-1), normalize(random(3, 1, 6, seed=7), dim=-1)
    scales = torch.tensor(14.0), torch.tensor(20.0)
    parts = losses.Objective(segment_weight=0.5)(
        images,
        reports,
        *scales,
        place_embeds=places,
        segment_embeds=segments,
        segment_mask=mask,
        segment_scale=torch.tensor(7.0),
    )
    torch.testing.assert_close(parts["loss"], parts["contrastive"] + 0.5 * parts["segment"])
    torch.testing.assert_close(parts["segment"], segment_region_contrastive(places, segments, mask, 7.0))
    assert set(parts) == {"loss", "contrastive", "segment"}
    assert torch.isfinite(parts["loss"])
