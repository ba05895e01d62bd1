"""Input as users really have it: linked folders, rows without ids, hostile XML."""

import pandas as pd
import pytest
from openi_collection import save_image, write_csv, write_xml

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


@pytest.mark.parametrize("name", ["ecgen-radiology", "png"])
def test_folders_of_the_xml_layout_may_be_links(tmp_path, name):
    (tmp_path / "c").mkdir()
    folder = write_xml(tmp_path / "c")
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    (folder / "again").symlink_to(folder)  # a link back up is walked once
    assert len(load_studies("openi", directory=folder).table) == 8


def test_views_of_the_xml_layout_come_from_the_projections_where_they_are_there(tmp_path):
    for name in ("x", "c"):
        (tmp_path / name).mkdir()
    folder, projections = write_xml(tmp_path / "x"), write_csv(tmp_path / "c") / "indiana_projections.csv"
    assert set(load_studies("openi", directory=folder).table["view"]) == {"Unknown"}
    text = "".join(line for line in projections.read_text().splitlines(True) if not line.startswith("5,"))
    (folder / projections.name).write_text(text)
    table = load_studies("openi", directory=folder).table
    assert table["view"].value_counts().to_dict() == {"Frontal": 3, "Lateral": 3, "Unknown": 2}
    lateral = table[table["view"] == "Lateral"]["image"]
    assert lateral.str.contains("-1001").all()
    assert len(load_studies("openi", directory=folder, views="Frontal").table) == 5


def test_xml_that_cannot_be_read_is_one_sentence(tmp_path):
    folder = write_xml(tmp_path) / "ecgen-radiology"
    (folder / "a.xml").mkdir()  # a folder, whatever its name
    assert len(load_studies("openi", directory=tmp_path).table) == 8
    for encoding in ("klingon", "utf-7"):
        (folder / "9.xml").write_text(f'<?xml version="1.0" encoding="{encoding}"?><x/>')
        with pytest.raises(DataError, match=r"9\.xml is not valid XML"):
            load_studies("openi", directory=tmp_path)


def test_a_uid_in_two_xml_files_is_refused(tmp_path):
    folder = write_xml(tmp_path) / "ecgen-radiology"
    (folder / "copy.xml").write_text((folder / "1.xml").read_text())
    with pytest.raises(DataError, match="uid 1 stands twice in the"):
        load_studies("openi", directory=tmp_path)


@pytest.mark.parametrize("views", [("frontal",), ("Frontal", "Oblique"), ()])
def test_an_unknown_view_is_refused_with_the_known(tmp_path, views):
    with pytest.raises(DataError, match=r"views is .*: choose from Frontal, Lateral"):
        load_studies("openi", directory=write_csv(tmp_path), views=views)


def test_images_under_other_names_are_one_sentence_with_folder_and_example(tmp_path):
    folder = write_csv(tmp_path)
    for number, path in enumerate((folder / "images").iterdir()):
        path.rename(path.with_name(f"{number}.png"))
    with pytest.raises(DataError, match=rf"none of the 10 images below '{folder}'.*'1_IM-0001-1001\.dcm\.png': put"):
        load_studies("openi", directory=folder)
    save_image(folder / "images" / "1_IM-0001-1001.png", 1)
    assert len(load_studies("openi", directory=folder).table) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Nodule of 4XXXX, calcified.", "Nodule of, calcified."),
        ("Seen at XXXXPM/AM. Clear.", "Seen at/AM. Clear."),
        ("The x-XXXX is clear.", "The x- is clear."),
        ("No XXXX/granulomas.", "No/granulomas."),
        ("XXXX-filled loops, xXXXXx.", "-filled loops,."),
        ("X-ray of the maxillae.", "X-ray of the maxillae."),
    ],
)
def test_the_token_goes_with_what_is_glued_to_it_and_nothing_else(tmp_path, text, expected):
    folder = write_csv(tmp_path, {"1": (text, "", "normal")})
    assert load_studies("openi", directory=folder).table["report"].iloc[0] == expected
