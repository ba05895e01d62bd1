"""What the released code does otherwise, each quirk by itself beside what it stands in for (objective.quirks, data.split_by)."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from prdlib.config import ConfigError, load_profile
from prdlib.data import DataError
from prdlib.data.batches import Collate, PairDataset
from prdlib.data.image_split import split_by_image
from prdlib.evaluation.label_subsets import refuse_shared_patients
from prdlib.losses import Objective, symmetric_cross_entropy
from prdlib.names import QUIRKS
from prdlib.notebook import Run
from prdlib.text import PERTURBATIONS, WordTokenizer, train_wordpiece
from prdlib.training import fit


def cross_entropy(row, target):
    return np.log(np.exp(row).sum()) - row[target]


def test_the_released_contrast_counts_one_direction_half():
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 5)))
    rows = np.mean([cross_entropy(logits[i].numpy(), i) for i in range(5)])
    columns = np.mean([cross_entropy(logits[:, i].numpy(), i) for i in range(5)])
    assert symmetric_cross_entropy(logits).item() == pytest.approx((rows + columns) / 2)
    assert symmetric_cross_entropy(logits, halved_direction=True).item() == pytest.approx(rows + columns / 2)


def test_both_contrasts_of_the_objective_are_halved():
    g = torch.Generator().manual_seed(0)
    embeds = [torch.nn.functional.normalize(torch.randn(4, n, 8, generator=g), dim=-1) for n in (1, 1, 6, 3)]
    image, report, regions, words = embeds[0][:, 0], embeds[1], embeds[2], embeds[3]
    scale, mask = torch.tensor(5.0), torch.ones(4, 3, dtype=torch.bool)
    given = {"region_embeds": regions, "word_embeds": words, "word_mask": mask}
    plain, halved = (
        Objective(local_weight=1.0, halved_direction=h)(image, report, scale, scale, **given) for h in (False, True)
    )
    logits = scale * image @ report[:, 0].T
    assert halved["contrastive"] == symmetric_cross_entropy(logits, halved_direction=True)
    assert plain["contrastive"] == symmetric_cross_entropy(logits)
    assert halved["local"] != plain["local"]


def test_fixed_copies_are_those_of_the_first_epoch_in_every_epoch(tiny_data):
    split = tiny_data["train"]
    drawn = {f: PairDataset(split, tuple(PERTURBATIONS), 3, seed=1, fixed_copies=f) for f in (False, True)}
    fixed, fresh = ([drawn[f][epoch, 0]["copies"] for epoch in range(4)] for f in (True, False))
    assert fixed[0] == fresh[0] == fixed[1] == fixed[2] == fixed[3]
    assert len({str(copies) for copies in fresh}) > 1
    views = {str(drawn[True][epoch, 0]["image"]) for epoch in range(4)}
    assert views == {str(drawn[False][epoch, 0]["image"]) for epoch in range(4)}  # of copies alone


def test_pieces_stand_for_words(tiny_data):
    reports = {" ".join(words) for words in tiny_data["train"]["words"]}
    tokenizer = WordTokenizer(train_wordpiece(reports, 60))  # a small vocabulary: most words are broken
    items = [PairDataset(tiny_data["train"])[i] for i in range(4)]
    words, pieces = Collate(tokenizer)(items), Collate(tokenizer, word_pieces=True)(items)
    assert torch.equal(words["input_ids"], pieces["input_ids"])
    for of_words, of_pieces in zip(words["word_ids"], pieces["word_ids"], strict=True):
        told = of_pieces[of_pieces >= 0]
        assert told.tolist() == list(range(len(told)))
        assert torch.equal(of_pieces >= 0, of_words >= 0)
    longest = [text for row in words["layout"]["sequences"] for text in row]
    assert pieces["layout"]["words"] == [int((words["word_ids"][text] >= 0).sum()) for text in longest]
    assert sum(pieces["layout"]["words"]) > sum(words["layout"]["words"])


@pytest.mark.parametrize("quirk", QUIRKS)
def test_every_quirk_reaches_the_training(tiny_config, tiny_data, tmp_path, quirk):
    """Same seed and data, another loss: of kept_noops too, since many a report has no attributes to exchange."""
    kinds = ("shuffle_all_words", "exchange_attributes")
    small = {
        "training": replace(tiny_config.training, epochs=2),
        "model": replace(tiny_config.model, vocabulary_size=60),
    }
    losses = []
    for quirks in ((), (quirk,)):
        objective = replace(tiny_config.objective, perturbations=kinds, copies=2, quirks=quirks)
        config = replace(tiny_config, objective=objective, **small)
        history = fit(config, "prd", 0, tiny_data, tmp_path / str(len(quirks)), "d", report=None).history
        losses.append(history[["contrastive", "discrimination", "local"]].to_numpy())
    assert np.isfinite(losses[1]).all()
    assert not np.allclose(*losses, rtol=1e-5)


def test_the_split_by_image_leaks_and_scores_by_patient_refuse_it(tmp_path, tiny_data):
    data = split_by_image(tiny_data)
    assert sum(map(len, data.values())) == sum(map(len, tiny_data.values()))
    patients = {name: set(data[name]["patient_id"]) for name in data}
    assert patients["train"] & patients["test"]
    settings = {"data.n_studies": 120, "data.image_size": 32, "data.word_limit": 40, "data.split_by": "image"}
    run = Run(load_profile("quick", settings), tmp_path / "runs" / "run")
    with pytest.raises(DataError, match="patient"):
        refuse_shared_patients({name: run.split(name) for name in ("train", "test")})


def test_quirks_name_a_run_only_where_there_are_any():
    plain, quirky = load_profile("cpu"), load_profile("cpu", {"objective.quirks": ["fixed_copies"]})
    assert "quirks" not in plain.scientific()["objective"]
    assert quirky.run_id != plain.run_id
    with pytest.raises(ConfigError, match=r"unknown quirk 'fixed_copy' \(did you mean 'fixed_copies'\?\)"):
        load_profile("cpu", {"objective.quirks": ["fixed_copy"]})
