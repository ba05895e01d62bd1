"""Archives that are not what they should be."""

import io
import tarfile

import pytest
from test_download import server  # noqa: F401

from prdlib.data import DataError
from prdlib.data.download import download_openi


def test_a_broken_archive_is_not_trusted_later(server, tmp_path):  # noqa: F811
    whole = server.files["a.tgz"]
    server.files["a.tgz"] = whole[: len(whole) // 2]
    with pytest.raises(DataError, match=r"a\.tgz"):
        download_openi(tmp_path, server.url, ("a.tgz",))
    server.files["a.tgz"] = whole
    download_openi(tmp_path, server.url, ("a.tgz",))
    assert next(tmp_path.rglob("1.xml")).is_file()


def test_nothing_is_written_outside_the_folder(server, tmp_path):  # noqa: F811
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("../../escaped.txt")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    server.files["a.tgz"] = buffer.getvalue()
    with pytest.raises(DataError):
        download_openi(tmp_path / "in", server.url, ("a.tgz",))
    assert not list(tmp_path.parent.rglob("escaped.txt"))
