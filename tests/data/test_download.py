"""The archives from a server on this computer: fetched, resumed, checked, extracted inside their folder."""

import io
import socket
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from prdlib.data import DataError
from prdlib.data.download import download_openi

NOISE = np.random.default_rng(0).bytes(3 << 20)  # does not compress


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class Server:
    """Serves ``files``; ``cut``: bytes after which the next answer breaks off; ``asked``: Range headers, in order."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: int | None = None
        self.asked: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                data = outer.files[self.path.strip("/")]
                span = self.headers.get("Range")
                outer.asked.append(span)
                start = int(span.removeprefix("bytes=").rstrip("-")) if span else 0
                body, cut = data[start:], outer.cut
                outer.cut = None
                self.send_response(206 if span else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[:cut] if cut else body)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server():
    running = Server()
    running.files = {"a.tgz": archive({"ecgen-radiology/1.xml": b"<x/>" * 500, "noise": NOISE})}
    yield running
    running.http.shutdown()
    running.http.server_close()


def test_fetches_extracts_and_keeps_a_checksum(server, tmp_path):
    download_openi(tmp_path, server.url, ("a.tgz",))
    assert next(tmp_path.rglob("1.xml")).read_bytes() == b"<x/>" * 500
    asked = len(server.asked)
    download_openi(tmp_path, server.url, ("a.tgz",))
    assert len(server.asked) == asked


def test_an_interrupted_download_goes_on_where_it_was(server, tmp_path):
    server.cut = 5 << 19  # two and a half blocks of the download
    with pytest.raises(DataError, match=r"a\.tgz"):
        download_openi(tmp_path, server.url, ("a.tgz",))
    download_openi(tmp_path, server.url, ("a.tgz",))
    assert server.asked == [None, f"bytes={2 << 20}-"]
    assert next(tmp_path.rglob("noise")).read_bytes() == NOISE


def test_a_changed_archive_is_refused(server, tmp_path):
    download_openi(tmp_path, server.url, ("a.tgz",))
    (tmp_path / "a.tgz").unlink()
    server.files["a.tgz"] = archive({"ecgen-radiology/1.xml": b"other"})
    with pytest.raises(DataError, match="SHA-256"):
        download_openi(tmp_path, server.url, ("a.tgz",))


def test_offline_is_one_sentence(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    with pytest.raises(DataError, match="online"):
        download_openi(tmp_path, url, ("a.tgz",))
