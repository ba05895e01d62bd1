"""Collections of labels or boxes alone: read, prepared and classified, and refused by pre-training in one sentence."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prdlib.data import DataError, Studies, load_studies, prepare, prepared_info
from prdlib.data.batches import EvaluationData
from prdlib.data.groups import study_groups
from prdlib.data.preparation import refuse_without_reports
from prdlib.data.studies import empty_drops, split_of, usable_rows
from prdlib.evaluation.classification import linear_probe
from prdlib.training import fit


def write(folder, **changes):
    """Ten patients with a frontal and a lateral image each; the dark frontal ones have edema."""
    rows = []
    for i in range(10):
        for view in ("Frontal", "Lateral"):
            name = f"{i}-{view}.png"
            Image.fromarray(np.full((40, 50), 20 * i + 3 * (view == "Lateral"), np.uint8)).save(folder / name)
            split = "test" if i in (2, 7) else "validation" if i in (3, 8) else "train"
            rows.append({"study_id": f"s{i}", "patient_id": f"p{i}", "image": name, "view": view, "split": split,
                         "label:Edema": int(i < 5), "label:Mass": "" if i else 1})  # fmt: skip
    pd.DataFrame(rows).assign(**changes).to_csv(folder / "mine.csv", index=False)
    return folder / "mine.csv"


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    return load_studies("own_csv", file=write(tmp_path_factory.mktemp("labels")), reports=False)


def test_studies_say_that_they_have_no_reports(studies):
    assert not studies.reports
    assert (studies.table["report"] == "").all()
    assert studies.table.groupby("study_id")["report_group"].nunique().eq(1).all()
    assert studies.table["report_group"].nunique() == 10
    assert studies.summary()["distinct reports"].eq(0).all()
    assert studies.summary().loc["test", ["studies", "images"]].tolist() == [2, 4]
    assert studies.shared_reports()["report also in train"].eq(0).all()


def test_a_report_in_such_a_table_is_refused(studies):
    table = studies.table.assign(report=["Clear lungs.", *[""] * 19])
    with pytest.raises(DataError, match=r"Row 0 .*'report' is 'Clear lungs.': it must be '' in a collection without"):
        Studies(table, empty_drops(), "t", reports=False)
    with pytest.raises(DataError, match=r"Row 0 .*'report' is empty"):
        Studies(studies.table, empty_drops(), "t")


def test_rows_without_reports_are_usable_where_nobody_asks_for_reports():
    rows = pd.DataFrame({"study_id": ["a", "b"], "patient_id": ["p", None], "image": ["1.png", "2.png"]})
    kept, dropped = usable_rows(rows, reports=False)
    assert kept["study_id"].tolist() == ["a"]
    assert dropped["reason"].tolist() == ["column 'patient_id' is empty"]


def test_preparation_asks_for_no_tagger_and_classification_gets_its_arrays(studies, tmp_path, monkeypatch):
    monkeypatch.setattr("prdlib.text.tagging._tagger", lambda: pytest.fail("tagged"))
    data = prepare(studies, tmp_path, 32)
    info = prepared_info(tmp_path)
    assert info["reports"] is False
    assert json.loads((tmp_path / "prepared.json").read_text())["counts"]["train"] == {"studies": 6, "images": 12}
    parts = [EvaluationData.first_views(data[name], info["labels"]) for name in ("train", "validation", "test")]
    train, _, test = parts
    assert test.study_ids == ["s2", "s7"]
    assert test.patient_ids == ["p2", "p7"]
    assert test.images[:, 0, 0].tolist() == [40, 140]  # the frontal image of each
    assert test.labels[:, 0].tolist() == [1, 0]
    assert np.isnan(test.labels[:, 1]).all()
    assert train.label_names == ["Edema", "Mass"]
    assert test.words == [(), ()]
    assert test.groups.tolist() == study_groups(["s2", "s7"])
    features = [(part.images.mean(axis=(1, 2))[:, None] / 255, part.labels) for part in parts]
    table = linear_probe(*features, info["labels"], np.array(test.study_ids), resamples=20).set_index("label")
    assert table.loc["Edema", "value"] == 1
    assert np.isnan(table.loc["Mass", "value"])


def test_prepared_reports_are_told_apart(tiny_data):
    refuse_without_reports(tiny_data)


def test_pre_training_is_refused_in_one_sentence(studies, tiny_config, tmp_path):
    data = prepare(studies, tmp_path / "p", 32)
    config = replace(tiny_config, training=replace(tiny_config.training, batch_size=2))
    with pytest.raises(
        DataError, match=r"data have no reports, only labels or boxes.*use these data for classification"
    ):
        fit(config, "clip", 0, data, tmp_path / "f", "d", report=None)
    assert not (tmp_path / "f").exists()


def test_shares_of_fewer_splits():
    names = pd.Series([split_of(f"patient-{i}", {"train": 95, "validation": 5}) for i in range(4000)])
    assert set(names) == {"train", "validation"}
    assert (names == "validation").mean() == pytest.approx(0.05, abs=0.01)
