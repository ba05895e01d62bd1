"""Input as users really have it: linked folders, rows without ids, hostile XML."""

import pandas as pd
import pytest
from openi_collection import write_csv, write_xml

from prdlib.data import DataError, load_studies


def test_the_image_folder_may_be_a_link(tmp_path):
    (tmp_path / "c").mkdir()
    folder = write_csv(tmp_path / "c")
    (folder / "images").rename(tmp_path / "elsewhere")
    (folder / "images").symlink_to(tmp_path / "elsewhere")
    assert len(load_studies("openi", directory=folder).table) == 8


def test_views_may_be_one_word(tmp_path):
    assert len(load_studies("openi", directory=write_csv(tmp_path), views="Frontal").table) == 4


def test_a_report_without_uid_is_a_dropped_row(tmp_path):
    folder = write_csv(tmp_path)
    table = pd.read_csv(folder / "indiana_reports.csv", dtype=str)
    table.loc[[0, 1], "uid"] = None
    table.to_csv(folder / "indiana_reports.csv", index=False)
    studies = load_studies("openi", directory=folder)
    assert set(studies.table["study_id"]) == {"openi-4", "openi-5"}
    assert (studies.dropped["reason"] == "report without a uid").sum() == 2


def test_xml_with_entities_is_refused_in_one_sentence(tmp_path):
    folder = write_xml(tmp_path)
    (folder / "ecgen-radiology" / "9.xml").write_text('<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>')
    with pytest.raises(DataError, match=r"9\.xml"):
        load_studies("openi", directory=folder)


def test_reports_with_the_same_sentences_share_a_group(tmp_path):
    table = load_studies("openi", directory=write_csv(tmp_path)).table.drop_duplicates("study_id").set_index("study_id")
    groups = table["report_group"]
    assert groups["openi-2"] == groups["openi-4"]  # other order, other punctuation, one XXXX
    assert len({groups[f"openi-{uid}"] for uid in "125"}) == 3
