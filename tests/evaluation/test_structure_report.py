"""Every table of the benchmark from one call, for our own models; and what a figure needs of them."""

import io

import numpy as np
import pandas as pd
import pytest

from prdlib.data.batches import EvaluationData
from prdlib.evaluation.adapters import AdapterError, PRDAdapter
from prdlib.evaluation.benchmark_set import make_benchmark_set
from prdlib.evaluation.embeddings import mean_image
from prdlib.evaluation.image_gain import gain_differences, gain_table
from prdlib.evaluation.structure_report import failures, found_trainings, structure_report, worst_copies
from prdlib.evaluation.wording import gain_sheet, image_gains
from prdlib.models import build_model
from prdlib.structure_plots import gain_heat_map


@pytest.fixture(scope="module")
def report(tiny_config, tiny_data):
    train = EvaluationData.first_views(tiny_data["train"])
    words = [" ".join(w) for w in train.words]
    models = {
        (name, seed): PRDAdapter(build_model(tiny_config, seed, words)[0])
        for name in ("clip", "prd")
        for seed in (0, 1)
    }
    for (name, _), model in models.items():
        model.model.config.training = {"perturbations": ["shuffle_trigrams", "swap_zone"] if name == "prd" else []}
    blind = mean_image(train.images)
    kinds = ("shuffle_trigrams", "swap_laterality", "swap_zone", "affirm_finding", "paraphrase_synonyms")
    benchmark = make_benchmark_set(train.tagged, train.study_ids, kinds, source="phantom")
    found = structure_report(models, train, train, blind, "phantom", 40, found_trainings(models), 100, benchmark)
    return found, train, models


def test_one_row_a_model_and_test_with_controls_and_text_models(report):
    found, _, _ = report
    gains = found.gains.set_index(["model", "test"])
    assert gains.index.is_unique
    assert set(gains.loc["clip"].index) == {"shuffle_trigrams", "swap_laterality", "swap_zone", "affirm_finding"}
    assert (gains["seeds"] == 2).all()
    assert gains[["accuracy", "blind", "image_gain", "n-gram", "TF-IDF"]].notna().all().all()
    assert np.allclose(gains["image_gain"], gains["accuracy"] - gains["blind"])
    assert (gains["blind"] >= gains["chance"]).all()
    assert gains.loc[("prd", "shuffle_trigrams"), "trained_on"] == "yes"
    assert gains.loc[("prd", "swap_laterality"), "trained_on"] == "no"
    assert set(gains.loc["clip", "trained_on"]) == {"no"}
    tables = {"image_gain", "gain_families", "gain_differences", "twins", "binding", "paraphrases", "failures", "cut"}
    assert set(found.tables()) == tables
    assert set(found.twins["model"]) == {"clip", "prd"}
    assert list(found.paraphrases["model"]) == ["clip", "prd"]
    assert (found.paraphrases["seeds"] == 2).all()
    assert (found.twins["seeds"] == 2).all()
    assert (gains["noops"] == 0).all()
    assert found.cut == {}
    assert set(found.families["family"]) == {"word_order", "clinical"}
    unseen = found.families.set_index(["model", "family", "trained_on"]).loc[("prd", "clinical", "no")]
    mine = gains.loc["prd"].loc[["swap_laterality", "affirm_finding"]]
    mine = mine[mine["gain_low"].notna()]
    assert unseen["tests"] == len(mine)
    assert unseen["median_gain"] == pytest.approx(mine["image_gain"].median())


def test_the_same_numbers_again(report, tiny_data):
    found, train, models = report
    again = structure_report(
        models, train, train, mean_image(train.images), "phantom", 40, found_trainings(models), 100, found.benchmark
    )
    pd.testing.assert_frame_equal(found.gains, again.gains)
    pd.testing.assert_frame_equal(found.outcomes, again.outcomes)


def test_the_answers_that_are_kept_give_the_tables_again(report):
    found, _, _ = report
    kept = pd.read_csv(io.StringIO(found.answers().to_csv(index=False)))
    assert set(kept[["correct", "tie", "mean image", "constant inverted"]].stack()) == {0, 1}
    asked = found.gains[found.gains["n"] > 0]
    for name, part in kept.groupby("model"):
        table = gain_table(part, 100)
        mine = asked[asked["model"] == name].reset_index(drop=True)
        pd.testing.assert_frame_equal(table, mine[table.columns], check_dtype=False)
    pd.testing.assert_frame_equal(gain_differences(kept), found.differences)


def test_failures_are_false_copies_that_score_higher(report):
    found, train, _ = report
    worst = worst_copies(found.outcomes, 3)
    pd.testing.assert_frame_equal(worst_copies(found.outcomes), found.tables()["failures"])
    assert worst["model"].value_counts().between(1, 3).all()
    worst = failures(worst[worst["model"] == "prd"], train)
    places = [found.benchmark.study_ids.index(study) for study in worst["study_id"]]
    assert list(worst["copy"]) == [found.benchmark.copies[t][i] for t, i in zip(worst["test"], places, strict=True)]
    assert worst["study_id"].is_unique
    assert (worst["margin"] < 0).all()
    assert worst["test"].is_unique
    for row in worst.itertuples():
        assert train.study_ids[row.row] == row.study_id
        assert row.original == train.words[row.row] != row.copy


def outcomes_of(**right):
    """40 studies; each model: (correct with the image, correct with the mean image)."""
    ids = [f"s{i:02d}" for i in range(40)]
    base = pd.DataFrame({"test": "t", "family": "clinical", "study_id": ids, "chance": 0.5, "seed": 0, "tie": 0.0})
    parts = []
    for name, (seen, blind) in right.items():
        unseen = {"correct": seen, "mean image": blind, "mean image inverted": 1.0 - blind, "other image": 0.5}
        parts.append(base.assign(model=name, **unseen))
    return pd.concat(parts)


def test_differences_are_of_image_gain_and_corrected():
    found = gain_differences(outcomes_of(a=(0.5, 0.5), b=(1.0, 0.5), c=(0.5, 0.5)), resamples=200).set_index("model")
    assert found.loc["b", "value"] == pytest.approx(0.5)
    assert found.loc["b", "p_holm"] < 0.05
    assert found.loc["c", "value"] == 0
    assert found.loc["c", "p_holm"] == 1
    assert (found["minus"] == "a").all()


def test_a_difference_can_pass_the_correction_of_a_whole_table():
    """63 comparisons, of which one is real: with as many resamples as intervals need, no p could pass."""
    parts = []
    for k in range(21):
        part = outcomes_of(a=(0.5, 0.5), b=(1.0 if k == 0 else 0.5, 0.5), c=(0.5, 0.5), d=(0.5, 0.5))
        parts.append(part.assign(test=f"t{k}"))
    found = gain_differences(pd.concat(parts), resamples=100)
    assert len(found) == 63
    assert list(found.loc[found["p_holm"] < 0.05, ["test", "model"]].itertuples(index=False, name=None)) == [
        ("t0", "b")
    ]


def test_models_are_compared_on_the_studies_that_both_were_asked():
    both = outcomes_of(a=(0.5, 0.5), b=(1.0, 0.5))
    part = both[(both["model"] == "a") | (both["study_id"] < "s25")]
    assert gain_differences(part, resamples=100).loc[0, "n"] == 25
    apart = both[(both["model"] == "a") ^ (both["study_id"] < "s20")]
    row = gain_differences(apart, resamples=100).loc[0]
    assert row["n"] == 0
    assert np.isnan(row["value"])


def test_an_inverted_prior_makes_no_difference():
    """Right with any image, wrong with the mean image: no sight, and no gain over the baseline."""
    found = gain_differences(outcomes_of(a=(0.5, 0.5), b=(1.0, 0.0)), resamples=200)
    assert found.loc[0, "value"] == 0


def test_models_that_do_not_see_do_not_differ_however_far_their_controls_are_ahead():
    found = gain_differences(outcomes_of(a=(0.5, 0.9), b=(0.5, 0.5), c=(0.9, 0.9)), resamples=200)
    assert (found["value"] == 0).all()
    assert (found["p_holm"] == 1).all()


def test_an_edit_that_applies_to_no_study_has_a_row_that_says_so(report):
    found, train, models = report
    kinds = (*found.benchmark.kinds, "change_measurement", "shuffle_all_words")
    benchmark = make_benchmark_set(train.tagged, train.study_ids, kinds, source="phantom")
    one = {key: model for key, model in models.items() if key[1] == 0}
    again = structure_report(
        one, train, train, mean_image(train.images), "phantom", 40, resamples=100, benchmark=benchmark
    )
    assert list(dict.fromkeys(again.gains["model"])) == ["clip", "prd"]
    for name in ("clip", "prd"):
        part = again.gains[again.gains["model"] == name]
        assert list(part["test"]) == ["shuffle_all_words", "shuffle_trigrams", "swap_laterality", "swap_zone", "affirm_finding",
                                      "change_measurement"]  # fmt: skip
        row = part.iloc[-1]
        assert (row["n"], row["chance"]) == (0, 0.5)
        assert np.isnan(row["accuracy"])
    assert image_gains(again.gains).endswith("Edits that apply to no study: change measurement.")
    assert gain_sheet(again.gains).iloc[-1]["clip"] == "applies to no study"
    assert "(n = 0)" in "".join(t.get_text() for t in gain_heat_map(again.gains).axes[0].get_yticklabels())


def test_a_checkpoint_of_another_size_is_refused(report, tiny_config):
    found, train, models = report
    with pytest.raises(AdapterError, match="trained on 32 px and 40 words, these data have 32 px and 50 words"):
        structure_report(models, train, train, train.images[0], "phantom", 50, benchmark=found.benchmark)
