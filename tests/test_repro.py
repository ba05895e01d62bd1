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
