"""Each loss against a double loop in float64, written from method.md with no look at the implementation."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from prdlib import losses
from prdlib.losses.local_pairs import Workspace, pair_similarity


def random(*shape, seed=0, unit=False):
    tensor = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (normalize(tensor, dim=-1) if unit else tensor).requires_grad_()


def naive_cross_entropy(similarity, positives):
    """Row and column softmax with the pairs of ``positives`` (i != j) left out of the denominators."""
    size = len(similarity)
    total = 0.0
    for i in range(size):
        row = [similarity[i][j] for j in range(size) if j == i or not positives[i][j]]
        column = [similarity[j][i] for j in range(size) if j == i or not positives[j][i]]
        for line in (row, column):
            total = total + torch.stack(line).exp().sum().log() - similarity[i][i]
    return total / (2 * size)


def naive_contrastive(image_embeds, text_embeds, scale, positives):
    size = len(image_embeds)
    pairs = [[scale * (image_embeds[i] * text_embeds[j]).sum() for j in range(size)] for i in range(size)]
    return naive_cross_entropy(pairs, positives)


def naive_discrimination(image_embeds, report_embeds, scale, valid):
    rows = []
    for i in range(len(image_embeds)):
        options = [0] + [k for k in range(1, report_embeds.shape[1]) if valid[i][k]]
        if len(options) == 1:
            continue
        scores = torch.stack([scale * (image_embeds[i] * report_embeds[i, k]).sum() for k in options])
        rows.append(scores.exp().sum().log() - scores[0])
    return torch.stack(rows).mean()


def naive_similarity(regions, words, tau1, tau2, tau3, mean=False):
    scores = [[(g * t).sum() for t in words] for g in regions]
    attention = [torch.softmax(torch.stack(row), 0) for row in scores]
    total = 0.0
    for w, word in enumerate(words):
        alpha = torch.softmax(torch.stack([tau1 * row[w] for row in attention]), 0)
        context = sum(a * g for a, g in zip(alpha, regions, strict=True))
        cosine = (word * context).sum() / (word.norm() * context.norm())
        total = total + (tau2 * cosine).exp()
    return tau3 * (total / (len(words) if mean else 1)).log()


def naive_local(regions, words, mask, taus, positives):
    size = len(regions)
    pairs = [[naive_similarity(regions[i], words[j][mask[j]], *taus) for j in range(size)] for i in range(size)]
    return naive_cross_entropy(pairs, positives)


def assert_same(value, expected, inputs):
    """Values and gradients agree to 1e-9 (float64)."""
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-12)
    for mine, naive in zip(torch.autograd.grad(value, inputs), torch.autograd.grad(expected, inputs), strict=True):
        torch.testing.assert_close(mine, naive, rtol=1e-7, atol=1e-11)


POSITIVES = torch.eye(5, dtype=torch.bool)
POSITIVES[0, 3] = POSITIVES[3, 0] = POSITIVES[1, 2] = POSITIVES[2, 1] = True
NONE = torch.zeros(5, 5, dtype=torch.bool)


@pytest.mark.parametrize("positives", [None, POSITIVES])
def test_contrastive_equals_double_loop(positives):
    images, texts = random(5, 7, seed=1, unit=True), random(5, 7, seed=2, unit=True)
    scale = torch.tensor(3.7, dtype=torch.float64, requires_grad=True)
    value = losses.image_text_contrastive(images, texts, scale, positives)
    expected = naive_contrastive(images, texts, scale, NONE if positives is None else positives)
    assert_same(value, expected, [images, texts, scale])


def test_contrastive_of_one_pair_is_zero():
    assert losses.image_text_contrastive(random(1, 4, unit=True), random(1, 4, unit=True), 10.0).item() == 0


def test_contrastive_when_all_reports_are_equal_is_zero():
    everything = torch.ones(5, 5, dtype=torch.bool)
    assert losses.image_text_contrastive(random(5, 4), random(5, 4), 10.0, everything).item() == 0


def test_both_directions_are_halved():
    """The released code halved one direction only: swapping images and texts must not change the loss."""
    images, texts = random(5, 7, seed=1, unit=True), random(5, 7, seed=2, unit=True)
    torch.testing.assert_close(
        losses.image_text_contrastive(images, texts, 9.0), losses.image_text_contrastive(texts, images, 9.0)
    )


def test_discrimination_equals_double_loop_with_masked_copies():
    images, reports = random(5, 7, seed=1, unit=True), random(5, 4, 7, seed=2, unit=True)
    scale = torch.tensor(5.1, dtype=torch.float64, requires_grad=True)
    valid = torch.ones(5, 4, dtype=torch.bool)
    valid[0, 2] = valid[1, 1] = valid[1, 3] = False
    valid[4, 1:] = False  # no copy left: this row leaves the mean
    value = losses.perturbed_report_discrimination(images, reports, scale, valid)
    assert_same(value, naive_discrimination(images, reports, scale, valid), [images, reports, scale])


def test_a_copy_that_is_left_out_sends_no_gradient_even_when_it_is_nan():
    images, reports = random(3, 4, seed=1, unit=True), random(3, 3, 4, seed=2, unit=True)
    broken = reports.detach().clone()
    broken[1, 2] = math.nan
    broken.requires_grad_()
    valid = torch.ones(3, 3, dtype=torch.bool)
    valid[1, 2] = False
    losses.perturbed_report_discrimination(images, broken, 10.0, valid).backward()
    assert images.grad.isfinite().all()
    assert broken.grad[1, 2].abs().sum() == 0


def test_discrimination_without_any_valid_copy_is_zero_with_zero_gradient():
    images, reports = random(3, 4, seed=1), random(3, 3, 4, seed=2)
    valid = torch.tensor([[True, False, False]] * 3)
    value = losses.perturbed_report_discrimination(images, reports, 10.0, valid)
    value.backward()
    assert value.item() == 0
    assert images.grad.abs().sum() == 0
    assert reports.grad.isfinite().all()


def test_discrimination_of_a_blind_guess_is_log_of_the_options():
    images = random(6, 4, seed=1, unit=True)
    same = images[:, None].expand(6, 5, 4)
    assert losses.perturbed_report_discrimination(images, same, 14.0).item() == pytest.approx(math.log(5))


@pytest.mark.parametrize("positives", [None, POSITIVES])
def test_local_equals_double_loop(positives):
    regions, words = random(5, 6, 7, seed=3), random(5, 4, 7, seed=4)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0], [0, 1, 0, 1]], dtype=torch.bool)
    value = losses.local_attentive_contrastive(regions, words, mask, positives=positives)
    expected = naive_local(regions, words, mask, (4.0, 5.0, 10.0), NONE if positives is None else positives)
    assert_same(value, expected, [regions, words])


@pytest.mark.parametrize("aggregation", ["sum", "mean"])
def test_local_similarity_of_unequal_numbers_of_images_and_reports(aggregation):
    regions, words = random(2, 5, 3, seed=3), random(3, 4, 3, seed=4)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)
    value = losses.local_similarity(
        regions, words, mask, attention_temperature=2.0, word_temperature=3.0, similarity_temperature=4.0,
        aggregation=aggregation,
    )  # fmt: skip
    for n in range(2):
        for m in range(3):
            expected = naive_similarity(regions[n], words[m][mask[m]], 2.0, 3.0, 4.0, aggregation == "mean")
            torch.testing.assert_close(value[n, m], expected, rtol=1e-9, atol=1e-12)


def test_padding_changes_nothing():
    regions, words = random(3, 5, 4, seed=3), random(3, 6, 4, seed=4)
    mask = torch.tensor([[1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0]], dtype=torch.bool)
    long = losses.local_attentive_contrastive(regions, words, mask)
    short = losses.local_attentive_contrastive(regions, words[:, :3], mask[:, :3])
    torch.testing.assert_close(long, short)


def test_local_attention_is_a_distribution_over_regions_and_zero_on_padding():
    regions, words = random(3, 5, 4, seed=3), random(3, 6, 4, seed=4)
    mask = torch.tensor([[1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0]], dtype=torch.bool)
    attention = losses.local_attention(regions, words, mask)
    torch.testing.assert_close(attention.sum(dim=2), mask.double())


def test_a_report_without_words_is_an_error():
    with pytest.raises(ValueError, match="report 1 of the batch has no word"):
        losses.local_similarity(random(2, 3, 4), random(2, 3, 4), torch.tensor([[1, 1, 1], [0, 0, 0]]).bool())


def test_wrong_shapes_are_errors():
    with pytest.raises(ValueError, match="differ"):
        losses.image_text_contrastive(random(2, 3), random(3, 3), 1.0)
    with pytest.raises(ValueError, match="report_embeds must be"):
        losses.perturbed_report_discrimination(random(2, 3), random(2, 3), 1.0)
    with pytest.raises(ValueError, match="positives must be"):
        losses.image_text_contrastive(random(2, 3), random(2, 3), 1.0, torch.ones(3, 3).bool())


def test_the_four_methods_are_weights_of_one_objective():
    images, reports = random(4, 6, seed=1, unit=True), random(4, 3, 6, seed=2, unit=True)
    regions, words = random(4, 5, 6, seed=3), random(4, 2, 6, seed=4)
    mask = torch.ones(4, 2, dtype=torch.bool)
    scales = torch.tensor(14.0), torch.tensor(20.0)
    itc = losses.image_text_contrastive(images, reports[:, 0], 14.0)
    prd = losses.perturbed_report_discrimination(images, reports, 20.0)
    local = losses.local_attentive_contrastive(regions, words, mask)
    for T, L in ((0, 0), (0, 0.1), (0.5, 0), (0.5, 0.1)):
        parts = losses.Objective(T, L)(
            images, reports, *scales, region_embeds=regions, word_embeds=words, word_mask=mask
        )
        torch.testing.assert_close(parts["loss"], itc + T * prd + L * local)
        assert ("discrimination" in parts, "local" in parts) == (T > 0, L > 0)


@pytest.mark.parametrize("keep", [0, 1 << 30])
@pytest.mark.parametrize("chunk", [1, 4 * 6 * 8 * 9, 1 << 30])
def test_local_similarity_is_the_same_in_chunks_kept_or_computed_again(chunk, keep):
    """One report at a time, some, all; S kept for the backward pass or not: the double loop's values and gradients."""
    regions, words = random(4, 6, 5, seed=1), random(17, 5, seed=2)
    counts = [3, 1, 7, 2, 4]
    value = pair_similarity(regions, words, counts, (4.0, 5.0, 10.0), None, chunk, keep)
    texts = words.split(counts)
    expected = torch.stack([torch.stack([naive_similarity(g, t, 4.0, 5.0, 10.0) for t in texts]) for g in regions])
    weights = torch.arange(20, dtype=torch.float64).view(4, 5)
    assert_same((value * weights).sum(), (expected * weights).sum(), [regions, words])


def test_the_local_loss_is_the_same_inside_autocast():
    regions, words = random(3, 6, 5, seed=1).float().detach(), random(3, 4, 5, seed=2).float().detach()
    values = []
    for enabled in (False, True):
        g, t = regions.clone().requires_grad_(), words.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = losses.local_attentive_contrastive(g, t, torch.ones(3, 4, dtype=torch.bool))
        loss.backward()
        values.append((loss.detach(), g.grad, t.grad))
    for plain, mixed in zip(*values, strict=True):
        torch.testing.assert_close(plain, mixed)


def test_products_in_bf16_differ_by_what_the_docstring_says():
    regions, words = random(16, 9, 32, seed=1).float(), random(16, 12, 32, seed=2, unit=True).float()
    results = []
    for products in (None, torch.bfloat16):
        g, t = regions.detach().requires_grad_(), words.detach().requires_grad_()
        loss = losses.local_attentive_contrastive(g, t, torch.ones(16, 12, dtype=torch.bool), products=products)
        loss.backward()
        results.append((loss.detach(), g.grad, t.grad))
    for exact, rounded in zip(*results, strict=True):
        assert 0 < (exact - rounded).norm() / exact.norm() < 1e-2


@pytest.mark.parametrize("tau1", [4.0, 40.0, 400.0])
def test_a_high_attention_temperature_stays_finite_and_right(tau1):
    regions, words = random(3, 6, 5, seed=1), random(7, 5, seed=2)
    value = pair_similarity(regions.float(), words.float(), [3, 4], (tau1, 5.0, 10.0))
    texts = words.split([3, 4])
    expected = torch.stack([torch.stack([naive_similarity(g, t, tau1, 5.0, 10.0) for t in texts]) for g in regions])
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-5)
    assert all(g.isfinite().all() for g in torch.autograd.grad(value.sum(), [regions, words]))


def test_a_second_backward_pass_gives_the_same_gradient():
    """What was kept is written over by the first; the second computes it again."""
    regions, words = random(3, 6, 5, seed=1), random(7, 5, seed=2)
    value = pair_similarity(regions, words, [3, 4], (4.0, 5.0, 10.0), keep_bytes=1 << 30).sum()
    first = torch.autograd.grad(value, [regions, words], retain_graph=True)
    for one, two in zip(first, torch.autograd.grad(value, [regions, words]), strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("keep", [0, 1 << 30])
def test_losses_that_take_each_others_memory_have_their_own_gradients(keep):
    """Two losses in flight in one workspace, of different sizes, differentiated in either order, and one after them."""
    pairs = [
        ((random(3, 6, 5, seed=1), random(7, 5, seed=2)), [3, 4]),
        ((random(2, 4, 5, seed=3), random(9, 5, seed=4)), [9]),
    ]
    expected = [torch.autograd.grad(pair_similarity(*i, c, (4.0, 5.0, 10.0)).sum(), i) for i, c in pairs]
    workspace = Workspace()
    for order in ([0, 1], [1, 0], [0], [1]):
        values = [
            pair_similarity(*i, c, (4.0, 5.0, 10.0), keep_bytes=keep, workspace=workspace).sum() for i, c in pairs
        ]
        for n in order:
            for got, want in zip(torch.autograd.grad(values[n], pairs[n][0]), expected[n], strict=True):
                torch.testing.assert_close(got, want)


def test_a_workspace_asks_for_memory_once():
    workspace = Workspace()
    regions, words = random(3, 6, 5, seed=1), random(7, 5, seed=2)
    places = set()
    for _ in range(3):
        pair_similarity(regions, words, [3, 4], (4.0, 5.0, 10.0), workspace=workspace).sum().backward()
        places.add(workspace.memory.data_ptr())
    assert len(places) == 1
    assert workspace.memory.numel() == 4 * 7 * 3 * 6


def test_local_similarity_passes_gradcheck():
    regions, words = random(2, 3, 4, seed=1), random(5, 4, seed=2)
    assert torch.autograd.gradcheck(lambda g, t: pair_similarity(g, t, [2, 3], (4.0, 5.0, 10.0)), [regions, words])


def test_local_similarity_keeps_little_for_the_backward_pass_of_a_large_batch():
    """Without what the batch could keep, autograd holds less than S alone: nothing of the size images x regions x words."""
    saved = []
    regions, words = random(16, 9, 8, seed=1), random(160, 8, seed=2)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
        pair_similarity(regions, words, [10] * 16, (4.0, 5.0, 10.0), keep_bytes=0)
    assert sum(saved) < 16 * 9 * 160  # of S alone


def test_a_region_of_zeros_and_a_word_of_zeros_have_finite_gradients():
    regions, words = torch.zeros(2, 3, 4, requires_grad=True), torch.zeros(5, 4, requires_grad=True)
    pair_similarity(regions, words, [2, 3], (4.0, 5.0, 10.0)).sum().backward()
    assert regions.grad.isfinite().all()
    assert words.grad.isfinite().all()
