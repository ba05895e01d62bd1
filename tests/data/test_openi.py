"""The reader of Open-I: both layouts, what is left out, ids, labels, splits, and one sentence for bad input."""

from pathlib import Path

import pandas as pd
import pytest
from openi_collection import REPORTS, save_image, write_csv, write_xml

import prdlib.data.openi as openi
from prdlib.data import DataError, load_studies


def reasons(studies) -> dict[str, int]:
    return dict(zip(*studies.drop_counts()[["reason", "count"]].to_numpy().T, strict=True))


def test_csv_layout_matches_images_by_stem_and_joins_findings_and_impression(tmp_path):
    studies = load_studies("openi", directory=write_csv(tmp_path))
    first = studies.table[studies.table["study_id"] == "openi-1"]
    assert len(studies.table) == 8
    assert set(studies.table["patient_id"]) == {f"openi-{uid}" for uid in "1245"}
    assert set(first["report"]) == {"The heart is large. No effusion. Mild cardiomegaly."}
    assert set(first["view"]) == {"Frontal", "Lateral"}
    assert studies.read_image(first.iloc[0].to_dict()).shape == (40, 60)
    assert sum(reasons(studies).values()) == len(studies.dropped) == 3  # the empty report and its two images


@pytest.mark.parametrize("suffix", [".dcm.png", ".png", ".jpeg", ".JPG"])
def test_any_extension_is_the_same_image(tmp_path, suffix):
    assert len(load_studies("openi", directory=write_csv(tmp_path, suffix=suffix)).table) == 8


def test_both_layouts_give_the_same_ids_splits_labels_reports_and_groups(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    tables = [load_studies("openi", directory=d).table for d in (write_csv(tmp_path / "a"), write_xml(tmp_path / "b"))]
    keys = ["patient_id", "split", "report", "report_group", *(c for c in tables[0] if c.startswith("label:"))]
    one, other = (t.drop_duplicates("study_id").set_index("study_id")[keys].sort_index() for t in tables)
    pd.testing.assert_frame_equal(one, other)


def test_labels_come_from_problems(tmp_path):
    table = load_studies("openi", directory=write_csv(tmp_path)).table.drop_duplicates("study_id").set_index("study_id")
    labels = table.filter(like="label:")
    assert set(labels.columns[labels.loc["openi-5"] == 1]) == {"label:Pleural Effusion", "label:Opacity"}
    assert set(labels.columns[labels.loc["openi-1"] == 1]) == {"label:Cardiomegaly"}
    assert labels.loc["openi-2", "label:Normal"] == 1
    assert labels.loc["openi-1", "label:Normal"] == 0


def test_deidentified_token_is_dropped_or_kept(tmp_path):
    folder = write_csv(tmp_path)
    reports = [load_studies("openi", directory=folder, deidentified=d).table["report"] for d in ("drop", "keep")]
    assert not reports[0].str.contains("XXXX").any()
    assert reports[1].str.contains("XXXX").any()


def test_views_can_be_chosen(tmp_path):
    studies = load_studies("openi", directory=write_csv(tmp_path), views=("Frontal",))
    assert set(studies.table["view"]) == {"Frontal"}
    assert len(studies.table) == 4


def test_what_is_missing_or_unknown_is_in_the_drop_table(tmp_path):
    folder = write_csv(tmp_path)
    (folder / "images" / "1_IM-0001-1001.dcm.jpg").unlink()
    path = folder / "indiana_projections.csv"
    path.write_text(path.read_text() + "77,77_IM-0001-1001.dcm.png,Frontal\n")
    save_image(folder / "images" / "77_IM-0001-1001.dcm.jpg", 1)
    studies = load_studies("openi", directory=folder)
    items = set(studies.dropped["item"])
    assert {"1_IM-0001-1001.dcm.png", "77_IM-0001-1001.dcm.png", "3"} <= items
    assert len(studies.table) == 7


def test_verify_finds_a_truncated_image(tmp_path):
    folder = write_csv(tmp_path)
    broken = folder / "images" / "2_IM-0002-1001.dcm.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    studies = load_studies("openi", directory=folder, verify=True)
    assert len(studies.table) == 7
    assert studies.dropped["where"].str.contains(broken.name).any()


@pytest.mark.parametrize("name", ["indiana_reports.csv", "indiana_projections.csv"])
@pytest.mark.parametrize("column", [0, -1])
def test_a_missing_column_is_named_with_its_file(tmp_path, name, column):
    folder = write_csv(tmp_path)
    table = pd.read_csv(folder / name, dtype=str)
    gone = table.columns[column]
    table.drop(columns=gone).to_csv(folder / name, index=False)
    with pytest.raises(DataError, match=f"{name}.*'{gone}'.*: rename the column"):
        load_studies("openi", directory=folder)


def test_bad_input_gets_one_sentence(tmp_path):
    with pytest.raises(DataError, match="not found"):
        load_studies("openi", directory=tmp_path / "nowhere")
    with pytest.raises(DataError, match=rf"'{tmp_path}'.*indiana_reports\.csv.*NLMCXR_reports\.tgz"):
        load_studies("openi", directory=tmp_path)
    folder = write_csv(tmp_path)
    for options in ({"deidentified": "maybe"}, {"layout": "json"}):
        with pytest.raises(DataError, match="choose"):
            load_studies("openi", directory=folder, **options)
    for path in (folder / "images").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=f"no .png or .jpg image below '{folder}': put the images"):
        load_studies("openi", directory=folder)


def test_one_study_is_enough(tmp_path):
    assert len(load_studies("openi", directory=write_csv(tmp_path, {"1": REPORTS["1"]})).table) == 2


def test_split_list_in_git_is_the_rule():
    stored = pd.read_csv(Path(openi.__file__).with_name("openi_splits.csv"))
    pd.testing.assert_frame_equal(stored, openi.split_list(), check_dtype=False)
    assert len(stored) == 3999
    assert 0.78 < (stored["split"] == "train").mean() < 0.82


def test_shared_reports_are_counted(tmp_path):
    reports = {str(uid): ("Lungs are clear.", "", "normal") for uid in range(1, 40)}
    studies = load_studies("openi", directory=write_csv(tmp_path, reports))
    shared = studies.shared_reports()
    assert (shared["studies"] == shared["report also in train"]).all()
    assert shared["studies"].sum() == (openi.split_list()["split"][:39] != "train").sum() > 0
