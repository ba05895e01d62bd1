"""Conclusions say what the numbers say, and no more than the intervals allow."""

import pandas as pd

from prdlib.evaluation import wording


def row(**values):
    return {"value": 0.5, "ci_low": 0.4, "ci_high": 0.6, "chance": 0.2, "pool": 100, **values}


def test_one_training_names_what_the_image_adds():
    def said(low, high):
        rows = [row(metric="R@1 image to report", input="image", chance=0.01)]
        rows += [row(metric="5-option accuracy", input=name) for name in ("image", "mean image")]
        rows.append(row(metric="5-option accuracy", input="image - mean image", value=0.1, ci_low=low, ci_high=high))
        return wording.one_training(pd.DataFrame(rows))

    assert "; above the mean image: 0.100 [0.050, 0.150]" in said(0.05, 0.15)
    assert "; with no sure difference to the mean image: 0.100 [-0.050, 0.150]" in said(-0.05, 0.15)
    assert "R@1 image to report: 0.500 [0.400, 0.600], chance 0.010, among 100 reports." in said(0, 1)


def compared(method, metric, difference, p_holm, seeds=3):
    facts = {
        "method": method,
        "metric": metric,
        "seeds": seeds,
        "paired_seeds": seeds,
        "minus": "clip",
        "p_holm": p_holm,
    }
    ends = {"difference_low": difference - 0.1, "difference_high": difference + 0.1}
    return row(**facts, difference=difference, **ends)


ROWS = [
    row(method="clip", metric="R@1 image to report", seeds=3),
    compared("prd", "R@1 image to report", 0.2, 0.01),
    compared("prd", "5-option accuracy", -0.2, 0.04),
    compared("gloria", "R@1 image to report", 0.2, None, seeds=1),
    compared("other", "R@1 image to report", 0.2, 0.06),
    compared("other", "a score that is no headline", 0.0, 1.0),
]


def test_what_is_sure_after_the_correction_is_named_and_one_seed_claims_nothing():
    text = wording.against_baseline(pd.DataFrame(ROWS))
    assert text == (
        "prd against clip: above in R@1 image to report (+0.200); below in 5-option accuracy (-0.200).\n"
        "gloria against clip: one seed or too few studies, so nothing is claimed.\n"
        "other against clip: no sure difference.\n"
        "Sure: p < 0.05 after Holm's correction over all 4 comparisons that have two seeds or more."
    )


def test_an_ablation_is_one_line_a_row():
    table = pd.DataFrame(ROWS).assign(
        seconds=90.0, n=100, paired_studies=100, **{"mean image": [None, None, 0.25, None, None, None]}
    )
    sheet = wording.ablation_sheet(table)
    assert sheet.columns.tolist() == [
        "method", "seeds", "minutes", "R@1 (chance 0.2)", "5 options | mean image (chance 0.2)",
    ]  # fmt: skip
    assert sheet.loc[0].tolist() == ["clip", 3, 1.5, "0.500 [0.400, 0.600]", ""]
    assert sheet.set_index("method").loc["prd", "5 options | mean image (chance 0.2)"] == "0.500 [0.400, 0.600] | 0.250"
    differences = wording.difference_sheet(table).set_index("method")
    assert differences.index.tolist() == ["prd", "gloria", "other"]
    assert differences.loc["prd"].tolist() == [3, "+0.200 [+0.100, +0.300] *", "-0.200 [-0.300, -0.100] *"]
    assert differences.loc["gloria", "R@1"] == "+0.200 [+0.100, +0.300]"
    assert wording.difference_sheet(table[table["method"] == "clip"]).empty
    fewer = wording.difference_sheet(table.assign(paired_studies=56)).set_index("method")
    assert fewer.loc["gloria", "R@1"] == "+0.200 [+0.100, +0.300] (n = 56)"
    whole = wording.ablation_sheet(table, ["clip", "never run"])
    assert whole.iloc[-1].tolist() == ["never run", 0, "missing", "missing", "missing"]
    assert whole.iloc[:-1]["method"].tolist() == sheet["method"].tolist()


def test_one_method_is_not_compared():
    assert "nothing to compare" in wording.against_baseline(pd.DataFrame(ROWS[:1]).assign(minus=None))


def test_gains_name_the_sure_ones_and_what_nobody_has():
    gains = pd.DataFrame(
        {
            "model": ["clip", "clip"],
            "test": ["swap_zone", "5 options"],
            "image_gain": [0.3, -0.1],
            "gain_low": [0.2, -0.2],
            "n": [40, 40],
        }
    )
    text = wording.image_gains(gains)
    assert "clip: image gain above 0 in swap zone (+0.30) (1 of 2 tests" in text
    assert text.endswith("In none of the models: 5 options.")
    assert "image gain above 0 in no test" in wording.image_gains(gains.iloc[1:])


def test_differences_of_gain_name_those_that_pass_the_correction():
    table = pd.DataFrame(
        {"model": "prd", "minus": "clip", "test": ["swap_zone", "5 options", "swap_laterality"], "value": [0.3, -0.2, 0.1],
         "p": [0.001, 0.002, None], "p_holm": [0.002, 0.2, None]}
    )  # fmt: skip
    assert wording.gain_differences(table) == (
        "prd against clip: image gain differs in swap zone (+0.30) (1 of 2 tests, p < 0.05 after Holm's correction over all 2)."
    )
    assert "nothing to compare" in wording.gain_differences(table.iloc[:0])


def test_side_by_side_keeps_every_value_and_the_order():
    table = pd.DataFrame([
        row(metric="b", method="prd", chance=None), row(metric="b", method="clip", chance=None, value=0.4321),
        row(metric="a", method="other", ci_low=None), row(metric="a", method="prd", value=None),
    ])  # fmt: skip
    wide = wording.side_by_side(table, ["metric", "chance"], "method")
    assert wide.columns.tolist() == ["metric", "chance", "clip", "prd", "other"]
    assert wide["metric"].tolist() == ["b", "a"]
    assert wide["clip"].tolist() == ["0.432 [0.400, 0.600]", ""]
    assert wide["prd"].tolist() == ["0.500 [0.400, 0.600]", ""]
    assert wide["other"].tolist() == ["", "0.500"]
    assert "nothing to show" in wording.side_by_side(pd.DataFrame(), ["metric"], "method").iloc[0, 0]


def test_sheets_of_the_benchmark_show_every_model():
    gains = pd.DataFrame(
        {"model": ["clip", "prd"], "test": "swap_zone", "accuracy": [0.5, 0.8], "blind": 0.6, "image_gain": [-0.1, 0.2],
         "gain_low": [-0.2, None], "gain_high": [0.0, None], "chance": 0.5, "n": 40, "n-gram": 0.5, "TF-IDF": 0.45}
    )  # fmt: skip
    sheet = wording.gain_sheet(gains)
    assert sheet.columns.tolist() == ["test", "chance", "n", "n-gram", "TF-IDF", "clip", "prd"]
    assert sheet.loc[0, "clip"] == "0.50 / 0.60; -0.10 [-0.20, +0.00]"
    assert sheet.loc[0, "prd"] == "0.80 / 0.60; +0.20"
    shares = {"prefers_original": 0.5, "prefers_original_low": 0.4, "prefers_original_high": 0.6}
    shares |= {"above_edit": 0.7, "above_edit_low": 0.6, "above_edit_high": 0.8}
    rewordings = pd.DataFrame([{"model": "clip", "paraphrase": "voice", "n": 30, "pairs": 60, **shares}])
    assert wording.paraphrase_sheet(rewordings).loc[0, "clip"] == "0.50 [0.40, 0.60]; 0.70 [0.60, 0.80]"


def test_what_was_cut_is_said():
    assert wording.cut_texts(pd.DataFrame()) == "No text was longer than a model's context."
    table = pd.DataFrame({"model": ["clip:x"], "texts cut": [3]})
    assert wording.cut_texts(table) == "clip:x: 3 texts are longer than its context and were cut"
