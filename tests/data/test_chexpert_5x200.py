"""CheXpert 5x200: the rule of the draw, kept whatever the order of rows, and what it refuses."""

import hashlib

import pandas as pd
import pytest
from chexpert_collection import address, row, write_chexpert, write_plus
from published import reasons

from prdlib.data import DataError, load_studies, prepare
from prdlib.data.chexpert_5x200 import FINDINGS, patients
from prdlib.data.patient_lists import write_patients

FIRST = 100  # patients of finding k are FIRST * (k + 1) + 0, 1, 2, 3


def rows() -> list[dict]:
    found = []
    for k, name in enumerate(FINDINGS):
        label = {name.replace(" ", "_"): 1.0}
        for n in range(4):
            found.append(row(address("train", FIRST * (k + 1) + n, 1, "view1_frontal"), **label, Fracture=1.0))
        found.append(row(address("train", FIRST * (k + 1), 1, "view2_frontal"), **label))
        found.append(row(address("train", FIRST * (k + 1), 1, "view3_lateral"), **label))
        other = FINDINGS[(k + 1) % 5].replace(" ", "_")
        found.append(row(address("train", FIRST * (k + 1) + 10, 1, "view1_frontal"), **label, **{other: 1.0}))
        found.append(row(address("train", FIRST * (k + 1) + 11, 1, "view1_frontal"), **label, **{other: -1.0}))
        found.append(row(address("valid", FIRST * (k + 1) + 12, 1, "view1_frontal"), **label))
    return [*found, row(address("train", 1, 1, "view1_frontal"), No_Finding=1.0)]


def test_studies_of_one_finding_are_drawn_by_their_hash(tmp_path):
    folder = write_chexpert(tmp_path, rows())
    table = load_studies("chexpert_5x200", directory=folder, each=2, seed=3).table
    for k, name in enumerate(FINDINGS):
        studies = [f"patient{FIRST * (k + 1) + n:05d}/study1" for n in range(4)]
        chosen = sorted(studies, key=lambda study: hashlib.sha256(f"3:{study}".encode()).hexdigest())[:2]
        assert set(table.loc[table[f"label:{name}"] == 1, "study_id"]) == set(chosen)


def test_one_frontal_image_and_one_finding_a_study_all_in_test(tmp_path):
    studies = load_studies("chexpert_5x200", directory=write_chexpert(tmp_path, rows()), each=4)
    table = studies.table
    assert studies.labels == list(FINDINGS)
    assert len(table) == table["study_id"].nunique() == 20
    assert (table.filter(like="label:").sum(axis=1) == 1).all()
    assert set(table["split"]) == {"test"}
    assert table["image"].str.endswith("view1_frontal.jpg").all()
    assert patients(studies) == sorted(f"patient{FIRST * (k + 1) + n:05d}" for k in range(5) for n in range(4))
    assert reasons(studies) == {"view not asked for": 5, "not drawn for the 5x200": 21}
    rest = studies.dropped.loc[studies.dropped["reason"] == "not drawn for the 5x200", "item"]
    assert "train/patient00001/study1/view1_frontal.jpg" in set(rest)
    drawn = table["image"].str.removeprefix(f"{tmp_path}/")
    every = {r["Path"].partition("/")[2] for r in rows() if r["Frontal/Lateral"] == "Frontal"}
    assert {*rest, *drawn} == every


def test_the_draw_does_not_depend_on_the_order_of_rows_but_on_the_seed(tmp_path):
    folder = write_chexpert(tmp_path, rows())
    first = patients(load_studies("chexpert_5x200", directory=folder, each=2))
    other = patients(load_studies("chexpert_5x200", directory=folder, each=2, seed=1))
    images = set(load_studies("chexpert_5x200", directory=folder, each=4).table["image"])
    pd.read_csv(folder / "train.csv", dtype=str)[::-1].to_csv(folder / "train.csv", index=False)
    assert patients(load_studies("chexpert_5x200", directory=folder, each=2)) == first != other
    assert set(load_studies("chexpert_5x200", directory=folder, each=4).table["image"]) == images


def test_its_patients_can_be_left_out_of_pre_training(tmp_path):
    folder = write_chexpert(tmp_path, rows())
    held_out = patients(load_studies("chexpert_5x200", directory=folder, each=2))
    for exclude in (held_out, str(write_patients(held_out, tmp_path / "excluded.txt"))):
        studies = load_studies("chexpert", directory=folder, exclude=exclude)
        assert not set(studies.table["patient_id"]) & set(held_out)
        assert set(studies.dropped["reason"]) == {"patient excluded"}
        assert studies.options["excluded"] == held_out


def test_it_can_be_prepared_and_may_have_reports(tmp_path):
    folder = tmp_path / "c"
    folder.mkdir()
    write_chexpert(folder, rows())
    data = prepare(load_studies("chexpert_5x200", directory=folder, each=1), tmp_path / "p", 32)
    assert len(data["test"]) == 5
    assert sorted(map(tuple, data["test"]["labels"]), reverse=True) == [
        tuple(float(i == k) for i in range(5)) for k in range(5)
    ]
    path = write_plus(folder)
    table = pd.read_csv(path)
    every = [r["Path"].partition("/")[2] for r in rows()]
    table = pd.DataFrame({"path_to_image": every, "section_findings": "Clear.", "section_impression": ""})
    table.to_csv(path, index=False)
    studies = load_studies("chexpert_5x200", directory=folder, each=1)
    assert studies.reports
    assert set(studies.table["report"]) == {"Clear."}


def test_too_few_studies_are_one_sentence(tmp_path):
    folder = write_chexpert(tmp_path, rows())
    with pytest.raises(DataError, match=r"Atelectasis is the only one of the five in 4 studies .*200 are asked for"):
        load_studies("chexpert_5x200", directory=folder)
    for each in (0, "10", 2.0, None):
        with pytest.raises(
            DataError, match=f"^each is {each!r}: draw a whole number of studies of each finding, 1 or more.$"
        ):
            load_studies("chexpert_5x200", directory=folder, each=each)
