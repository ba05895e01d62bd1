"""Generators depend on their key alone; files are whole or absent."""

import json
import subprocess
import sys

import numpy as np
import pytest

from prdlib import repro


def test_generators_are_equal_across_processes_and_differ_by_key():
    code = "from prdlib.repro import generator; print(generator(1, 'a', 2).integers(10**9))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(other) == repro.generator(1, "a", 2).integers(10**9)
    draws = [repro.generator(*key).integers(10**9) for key in ((1, "a", 2), (1, "a", 3), (2, "a", 2), (1, "b", 2))]
    assert len(set(draws)) == 4


def test_write_atomic_replaces_and_leaves_no_temporary_file(tmp_path):
    path = tmp_path / "deep" / "x.json"
    repro.write_json(path, {"a": 1})
    repro.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 2}
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = repro.write_atomic(tmp_path / "x", "old")
    with pytest.raises(TypeError):
        repro.write_atomic(path, object())  # type: ignore[arg-type]
    assert path.read_text() == "old"


def test_hash_of_json_ignores_the_order_of_keys():
    assert repro.hash_json({"a": 1, "b": 2}) == repro.hash_json({"b": 2, "a": 1})
    assert repro.hash_json({"a": 1}) != repro.hash_json({"a": 2})


def test_hash_of_files_sees_one_byte(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(np.zeros(100, np.uint8).tobytes())
    before = repro.hash_files([path])
    path.write_bytes(np.eye(10, dtype=np.uint8).tobytes())
    assert repro.hash_files([path]) != before


def collection(folder):
    """A table and an image beside each other, as a reader would find them."""
    (folder / "images").mkdir(parents=True)
    (folder / "reports.csv").write_text("uid,findings\n1,clear\n")
    (folder / "images" / "1.png").write_bytes(b"12345")
    return folder


def test_hash_of_a_collection_follows_tables_and_images_and_nothing_else(tmp_path):
    folder, other = collection(tmp_path / "a"), collection(tmp_path / "b")
    same = repro.hash_collection(folder)
    assert repro.hash_collection(other) == same  # wherever it lies
    (folder / "README.txt").write_text("x")
    (folder / "papermill_runs").mkdir()
    (folder / "papermill_runs" / "summary.csv").write_text("x")
    assert repro.hash_collection(folder) == same
    (folder / "reports.csv").write_text("uid,findings\n1,cleft\n")  # the same size
    assert repro.hash_collection(folder) != same
    (other / "images" / "1.png").write_bytes(b"123456")
    assert repro.hash_collection(other) != same
    (other / "images" / "1.png").write_bytes(b"12345")
    assert repro.hash_collection(other) == same
    (other / "images" / "2.PNG").write_bytes(b"")
    assert repro.hash_collection(other) != same


def test_hash_of_a_collection_follows_links_and_ends(tmp_path):
    folder, linked = collection(tmp_path / "a"), collection(tmp_path / "b")
    (linked / "images" / "1.png").unlink()
    (linked / "images").rmdir()
    (linked / "images").symlink_to(folder / "images")
    assert repro.hash_collection(linked) == repro.hash_collection(folder)
    (linked / "again").symlink_to(linked)
    (linked / "gone.png").symlink_to(tmp_path / "nowhere")
    assert repro.hash_collection(linked) == repro.hash_collection(folder)


def test_a_path_is_found_from_a_notebook_too(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert repro.find_path("data") == tmp_path / "data"  # below the root
    assert repro.find_path("../data") == tmp_path / "data"
    assert repro.find_path(tmp_path / "data") == tmp_path / "data"
    assert repro.find_path("nowhere") == tmp_path / "notebooks" / "nowhere"
    (tmp_path / "notebooks" / "data").mkdir()
    assert repro.find_path("data") == tmp_path / "notebooks" / "data"


@pytest.mark.parametrize(
    ("able", "precision"), [({}, "float32"), ({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16")]
)
def test_bf16_only_where_the_cpu_computes_in_it(monkeypatch, able, precision):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: able)
    assert repro.fast_precision() == precision
