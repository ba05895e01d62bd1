"""What readers share: each way in which a table or a path is wrong is one sentence with file and line."""

import gzip

import pandas as pd
import pytest

from prdlib.data import DataError
from prdlib.data.tables import (
    Drops,
    boxes_in_fractions,
    chosen,
    chosen_views,
    files_below,
    finish,
    one_file,
    read_table,
    refuse_doubles,
    refuse_outside,
)


def damaged_gz() -> bytes:
    return gzip.compress(b"a,b\n" + b"1,2\n" * 5000, mtime=0)[:-20]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", None, "C: t.csv is missing in '.*': download it"),
        ("t.csv", b"", "C: t.csv is not a readable CSV table .*: download it again"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "C: t.csv is not a readable CSV table .*line 3.*"),
        ("t.csv", b"a,b\n1,2,3\n4,5,6\n", "C: t.csv has more cells in a line than columns"),
        ("t.csv", b"a,b\n1,\xff\xfe\n", "C: t.csv is not a readable CSV table"),
        ("t.csv", b"a,c\n1,2\n", r"C: t.csv has no column 'b' \(it has a, c\)"),
        ("t.csv.gz", b"a,b\n1,2\n", "C: t.csv.gz is not a readable CSV table"),
        ("t.csv.gz", damaged_gz(), "C: t.csv.gz is not a readable CSV table"),
        (
            "t.csv.gz",
            gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:12] + b"\0" * 30,
            "C: t.csv.gz is not a readable CSV table",
        ),
    ],
)
def test_tables_that_cannot_be_read_are_one_sentence(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(tmp_path / name, "C", ["a", "b"], "download it")
    assert "\n" not in str(caught.value)


def test_cells_stay_text_and_blank_ones_are_empty(tmp_path):
    (tmp_path / "t.csv").write_text(" a,b\n007,NA\n,\n1\n")
    assert read_table(tmp_path / "t.csv", "C", ["a", "b"], "").values.tolist() == [["007", "NA"], ["", ""], ["1", ""]]


@pytest.mark.parametrize(
    "path", ["/etc/x.png", "../x.png", "a/../../x.png", "a/..", "C:\\x.png", "\\\\host\\x.png", "a\\..\\x"]
)
def test_a_path_that_leaves_the_folder_is_refused_with_its_line(path):
    with pytest.raises(DataError, match=r"t.csv, line 3: Path is '.*': a path must stay below the folder"):
        refuse_outside("t.csv", pd.Series(["a/b..png", path], name="Path"))


def test_a_path_below_the_folder_is_not_refused():
    refuse_outside("t.csv", pd.Series(["a/b/c.png", "..a/b", "a..", ""], name="Path"))


def test_doubles_are_named_with_both_lines():
    table = pd.DataFrame({"a": ["1", "2", "1"], "b": ["x", "y", "x"]})
    with pytest.raises(DataError, match=r"t.csv, line 4: a '1', b 'x' stands already in line 2: keep one"):
        refuse_doubles("t.csv", table, "a", "b")
    refuse_doubles("t.csv", table.assign(b=list("xyz")), "a", "b")


def test_one_file_or_none_or_a_sentence(tmp_path):
    assert one_file(tmp_path, "t*.csv", "C") is None
    (tmp_path / "t1.csv").touch()
    assert one_file(tmp_path, "t*.csv", "C").name == "t1.csv"
    (tmp_path / "t2.csv").touch()
    with pytest.raises(DataError, match=r"holds t1.csv, t2.csv: keep one"):
        one_file(tmp_path, "t*.csv", "C")


def test_files_are_found_through_links_and_each_folder_once(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a.PNG").touch()
    (tmp_path / "far" / "b.txt").touch()
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "near").symlink_to(tmp_path / "far")
    (tmp_path / "c" / "up").symlink_to(tmp_path / "c")
    assert [path.name for path in files_below(tmp_path / "c", {".png"})] == ["a.PNG"]


def test_options_that_nobody_knows_are_refused():
    assert chosen_views("Frontal") == ("Frontal",)
    for views in ((), ("Side",)):
        with pytest.raises(DataError, match=r"views is .*: choose from Frontal, Lateral"):
            chosen_views(views)
    with pytest.raises(DataError, match="blanks is 'x': choose a or b"):
        chosen("blanks", "x", ("a", "b"))


def test_rows_left_out_are_listed_by_their_item():
    drops = Drops()
    table = pd.DataFrame({"id": ["a", "b", "c"]}, index=[7, 8, 9])
    kept = drops.without(table, table["id"] == "b", "id", "because", "there")
    drops.add([], "nothing", "nowhere")
    assert kept["id"].tolist() == ["a", "c"]
    assert drops.table().values.tolist() == [["b", "because", "there"]]
    assert list(Drops().table().columns) == ["item", "reason", "where"]


def test_columns_that_all_fill_alike():
    table = pd.DataFrame({"study_id": ["a", "a", "b"], "report": ["Clear.", "Clear.", "clear"]}, index=[3, 5, 6])
    with_reports, without = finish(table, "C", True), finish(table, "C", False)
    assert with_reports["report_group"].nunique() == 1
    assert without["report_group"].nunique() == 2
    assert without["report"].tolist() == ["", "", ""]
    assert with_reports.index.tolist() == [0, 1, 2]


def test_boxes_are_fractions_inside_the_image():
    x, y, width, height = (pd.Series(values) for values in ([10.0, -5.0], [20.0, 0.0], [30.0, 20.0], [40.0, 200.0]))
    assert boxes_in_fractions((x, y), (width, height), (100, 100)) == [[0.1, 0.2, 0.4, 0.6], [0, 0, 0.15, 1]]
