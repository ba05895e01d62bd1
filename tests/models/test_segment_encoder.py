"""Models that read segments: what a segment may see, forward against the single encoders, saving, published settings."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from prdlib.data.batches import Collate, PairDataset
from prdlib.models import PRDModel, WeightsError, build_model
from prdlib.models.segment_encoder import SegmentRegionHead, words_of_reports
from prdlib.text import plain
from prdlib.text.tokenization import padded_index

MARKED = [
    ("small", "left", "effusion", ";", "with", "large", "right", "nodule"),
    ("no", "edema", ".", "small", "left", "effusion"),
    ("heart", "is", "large"),
]
REPORTS = [" ".join(plain(words)) for words in MARKED]
METHODS = ("structured", "structured_prd", "grounded", "grounded_prd")


def build(config, method="grounded_prd", **model):
    config = config.for_method(method)
    return build_model(replace(config, model=replace(config.model, **model)), 0, REPORTS)[0].eval()


@pytest.fixture(scope="module")
def model(tiny_config):
    return build(tiny_config)


def images(number=3, size=32):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 255, (number, size, size), dtype=np.uint8))


@torch.no_grad()
def test_words_see_their_segment_and_nothing_else(model):
    changed = (*MARKED[0][:3], ";", "with", "small", "right", "edema")
    (first, other), mask = model.encode_words([MARKED[0], changed])
    assert mask.all()
    torch.testing.assert_close(first[:3], other[:3])
    assert not torch.isclose(first[3:], other[3:]).all(dim=-1).any()


@torch.no_grad()
def test_the_order_of_segments_cannot_be_seen_but_what_stands_in_them_can(model):
    swapped = ("with", "large", "right", "nodule", ";", "small", "left", "effusion")
    exchanged = ("small", "right", "effusion", ";", "with", "large", "left", "nodule")
    one, same, other = model.encode_reports([MARKED[0], swapped, exchanged])
    torch.testing.assert_close(one, same)
    assert (one - other).abs().max() > 1e-4


@torch.no_grad()
def test_a_report_is_its_own_whatever_stands_in_the_batch(model):
    together = model.encode_reports(MARKED)
    for i, words in enumerate(MARKED):
        torch.testing.assert_close(model.encode_reports([words])[0], together[i], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.norm(dim=-1), torch.ones(3))


@torch.no_grad()
def test_equal_segments_are_encoded_once(model):
    tokens = model.tokenise(MARKED)
    assert len(tokens["input_ids"]) == 4  # 'small left effusion' stands in two reports
    assert (tokens["segment_index"] >= 0).sum(dim=1).tolist() == [2, 2, 1]


@torch.no_grad()
def test_strings_are_parsed_and_words_without_marks_are_one_segment(model):
    text = "Small left effusion. No edema."
    torch.testing.assert_close(
        model.encode_reports([text]), model.encode_reports([("small", "left", "effusion", ".", "no", "edema")])
    )
    unmarked = model.tokenise([("small", "left", "effusion", "no", "edema")])
    assert unmarked["segment_index"].tolist() == [[0]]


@torch.no_grad()
@pytest.mark.parametrize("method", METHODS)
def test_forward_equals_the_single_encoders(tiny_config, tiny_data, method):
    config = tiny_config.for_method(method)
    reports = sorted({" ".join(words) for words in tiny_data["train"]["words"]})
    model = build_model(config, 0, reports)[0].eval()
    copies = 3 if config.objective.discrimination_weight else 0
    pairs = PairDataset(tiny_data["train"], config.objective.kinds if copies else (), copies, 0)
    items = [pairs[(0, i)] for i in range(8)]
    batch = Collate(model.word_tokenizer, segments=model.config.segments)(items)
    names = ("pixel_values", "input_ids", "attention_mask", "word_ids", "report_index", "segment_index")
    asked = {name: batch[name] for name in names}
    segments = model.config.segment_regions
    output = model(**asked, local=True, segments=segments, layout=batch["layout"])
    for name, value in model(**asked, local=True, segments=segments).items():  # the layout read from the tensors
        torch.testing.assert_close(value, output[name])
    texts = [text for item in items for text in (item["words"], *item["copies"])]
    expected = model.encode_reports(texts).view(8, 1 + copies, -1)
    torch.testing.assert_close(output.report_embeds, expected, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(output.image_embeds, model.encode_images(batch["pixel_values"]))
    words, mask = model.encode_words([item["words"] for item in items])
    assert torch.equal(output.word_mask, mask)
    torch.testing.assert_close(output.word_embeds[mask], words[mask], rtol=1e-3, atol=1e-4)
    if segments:
        embeds, mask = model.encode_segments([item["words"] for item in items])
        width = embeds.shape[1]
        assert torch.equal(output.segment_mask[:, :width], mask)
        torch.testing.assert_close(output.segment_embeds[:, :width][mask], embeds[mask], rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(output.place_embeds, model.encode_places(batch["pixel_values"]))
        assert output.place_embeds.shape == (8, 5, 16)  # 2 x 2 regions and the whole image


@torch.no_grad()
def test_places_know_where_they_are(tiny_config):
    """Two regions that look alike are two places; without positions they are one."""
    head = SegmentRegionHead(4, 4, 8, 16, 4, positions=True)
    same = torch.ones(1, 4, 2, 2)
    places = head.places(torch.ones(1, 4), same)[0]
    assert not torch.allclose(places[0], places[1])
    blind = SegmentRegionHead(4, 4, 8, 16, 4, positions=False).places(torch.ones(1, 4), same)[0]
    torch.testing.assert_close(blind[0], blind[1])
    with pytest.raises(WeightsError, match="positions for 4 regions, the image has 9"):
        head.places(torch.ones(1, 4), torch.ones(1, 4, 3, 3))


def test_words_of_segments_stand_in_the_order_of_their_report():
    states = torch.arange(6, dtype=torch.float).view(3, 2, 1)
    ids = torch.tensor([[0, 1], [0, -1], [0, 0]])
    joined, word_ids = words_of_reports(states, ids, padded_index([[2, 0], [1]]))
    assert joined[0, :, 0].tolist() == [4, 5, 0, 1]
    assert word_ids.tolist() == [[0, 0, 1, 2], [0, -1, -1, -1]]


@torch.no_grad()
def test_distance_bias_dims_what_is_far(tiny_config):
    words = ("small", "left", "effusion", "with", "large", "right", "nodule", "no", "edema", "heart")
    changed = (*words[:-1], "is")
    moved = []
    for slope in (0.0, 5.0):
        model = build(tiny_config, "structured", distance_bias=slope)
        one, two = model.encode_words([words, changed])[0]
        moved.append((one[0] - two[0]).norm() / (one[-1] - two[-1]).norm())
    assert moved[1] < 0.1 * moved[0]


@torch.no_grad()
@pytest.mark.parametrize("method", ["structured", "grounded_prd"])
def test_saved_and_loaded_model_gives_the_same_numbers(tiny_config, tmp_path, method):
    model = build(tiny_config, method)
    model.save_pretrained(tmp_path)
    again = PRDModel.from_pretrained(tmp_path).eval()
    assert torch.equal(again.encode_images(images()), model.encode_images(images()))
    assert torch.equal(again.encode_reports(MARKED), model.encode_reports(MARKED))
    assert again.config.segments == "clause"


def test_what_a_model_cannot_do_is_one_sentence(tiny_config, model):
    flat = build_model(tiny_config, 0, REPORTS)[0].eval()
    for asked in (lambda: flat.encode_segments(MARKED), lambda: flat.encode_places(images())):
        with pytest.raises(ValueError, match="no segment-region head: train method grounded"):
            asked()
    tokens = model.tokenise(MARKED)
    del tokens["segment_index"]
    with pytest.raises(ValueError, match="segment_index"):
        model.encode_reports(tokens)
    with pytest.raises(ValueError, match="segment_index is for models that read segments"):
        flat(
            images().float()[:, None] / 255, **model.tokenise(MARKED), report_index=torch.zeros(3, 1, dtype=torch.long)
        )


def test_marks_change_nothing_for_a_model_that_reads_whole_reports(tiny_config):
    flat = build_model(tiny_config, 0, REPORTS)[0].eval()
    with torch.no_grad():
        torch.testing.assert_close(flat.encode_reports(MARKED), flat.encode_reports(REPORTS))


def test_the_text_prior_learns_without_moving_the_encoders(tiny_config, tiny_data):
    config = tiny_config.for_method("grounded_prd")
    config = replace(config, objective=replace(config.objective, discrimination="debiased"))
    model = build_model(config, 0, sorted({" ".join(words) for words in tiny_data["train"]["words"]}))[0]
    pairs = PairDataset(tiny_data["train"], config.objective.kinds, 3, 0)
    batch = Collate(model.word_tokenizer, segments="clause")([pairs[(0, i)] for i in range(4)])
    names = ("pixel_values", "input_ids", "attention_mask", "word_ids", "report_index", "segment_index")
    output = model(**{name: batch[name] for name in names}, layout=batch["layout"])
    assert output.text_prior.shape == (4, 4)
    output.text_prior.sum().backward()
    moved = {
        name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0
    }
    assert moved == {"text_prior"}
