"""Open-I's official archives for users who are online: checked, resumed where the server allows it, extracted safely."""

from __future__ import annotations

import gzip
import json
import tarfile
import zlib
from pathlib import Path
from urllib.error import URLError

import pooch
import requests
from tqdm import tqdm

from prdlib.data.studies import DataError
from prdlib.repro import write_json

BASE_URL = "https://openi.nlm.nih.gov/imgs/collections/"
ARCHIVES = ("NLMCXR_reports.tgz", "NLMCXR_png.tgz")
HASHES = "openi_hashes.json"


class _Resuming(pooch.HTTPDownloader):
    """Asks for the rest of a file that an earlier call left as <name>.part, with a bar on the terminal."""

    def __call__(self, url: str, output_file: str, pooch_: object, check_only: bool = False) -> None:
        part = Path(output_file).with_name(Path(url).name + ".part")
        start = part.stat().st_size if part.is_file() else 0
        headers = {"Range": f"bytes={start}-"} if start else {}
        with requests.get(url, stream=True, timeout=60, headers=headers) as answer:
            if answer.status_code != 416:  # 416: nothing is left to fetch
                answer.raise_for_status()
                done = start if answer.status_code == 206 else 0
                total = done + int(answer.headers.get("Content-Length", 0))
                bar = tqdm(
                    total=total or None, initial=done, unit="B", unit_scale=True, desc=Path(url).name, disable=None
                )
                with bar, part.open("ab" if done else "wb") as file:
                    for block in answer.iter_content(1 << 20):
                        file.write(block)
                        bar.update(len(block))
        part.replace(output_file)


def download_openi(directory: str | Path, base_url: str = BASE_URL, archives: tuple[str, ...] = ARCHIVES) -> Path:
    """Fetch and extract the archives into ``directory`` (XML layout); returns it.

    NLM publishes no checksums: the SHA-256 of the first complete download is kept in openi_hashes.json and every later one
    is checked against it. Raises DataError when offline or when an archive does not match.
    """
    folder = Path(directory).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / HASHES
    known = json.loads(record.read_text()) if record.is_file() else {}
    for name in archives:
        try:
            path = Path(
                pooch.retrieve(
                    base_url + name,
                    known_hash=known.get(name),
                    fname=name,
                    path=folder,
                    downloader=_Resuming(),
                )
            )
        except (requests.RequestException, URLError, OSError) as error:
            raise DataError(
                f"{name} could not be fetched ({type(error).__name__}): go online and call again, the download continues; "
                f"or bring the collection as a folder."
            ) from error
        except ValueError as error:
            raise DataError(
                f"{name} does not match its recorded SHA-256: delete it in {folder.name!r} and call again."
            ) from error
        digest = pooch.file_hash(path)
        try:
            with tarfile.open(path) as archive:
                archive.extractall(folder / name.partition(".")[0], filter="data")
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            path.unlink()  # or the next call would trust it
            raise DataError(f"{name} is not a whole archive ({error}): it was deleted, call again.") from error
        known[name] = digest
        write_json(record, known)
    return folder
