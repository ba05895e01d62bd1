"""Reproducibility: generators, hashes, atomic files, provenance. Imports nothing of prdlib but the version."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

TABLES, IMAGES = {".csv", ".xml"}, {".png", ".jpg", ".jpeg"}  # of a collection: files read whole, files known by size
PACKAGES = ("torch", "torchvision", "transformers", "accelerate", "datasets", "captum", "papermill", "spacy", "numpy")


def generator(*key: int | str) -> np.random.Generator:
    """A NumPy generator that depends on nothing but ``key`` (integers and strings; strings enter by their SHA-256)."""
    return np.random.default_rng([_as_integer(part) for part in key])


def _as_integer(part: int | str) -> int:
    if isinstance(part, str):
        return int.from_bytes(hashlib.sha256(part.encode()).digest()[:8], "big")
    return int(part) & 0xFFFFFFFFFFFFFFFF


def hash_json(value: Any, length: int = 12) -> str:
    """Hexadecimal SHA-256 of ``value`` written as canonical JSON, cut to ``length`` digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def hash_files(paths: Iterable[str | Path], length: int = 12) -> str:
    """Hexadecimal SHA-256 over the names and bytes of ``paths`` (sorted by path), cut to ``length`` digits."""
    digest = hashlib.sha256()
    for path in sorted(Path(p) for p in paths):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:length]


def hash_collection(folder: str | Path, length: int = 12) -> str:
    """Hexadecimal SHA-256 of what a collection's folder holds, wherever it lies, cut to ``length`` digits.

    Bytes of the tables (CSV, XML), names and sizes of the images, through links too (6,600 images: well below a second).
    Hidden folders and papermill_runs/ are left out: a run inside the folder does not change it.
    """
    digest, seen = hashlib.sha256(), set()
    for place, folders, names in os.walk(folder, followlinks=True):
        here = os.stat(place)
        new = (here.st_dev, here.st_ino) not in seen  # a link to a folder above would never end
        seen.add((here.st_dev, here.st_ino))
        folders[:] = sorted(f for f in folders if new and not f.startswith(".") and f != "papermill_runs")
        for path in sorted(Path(place, name) for name in names if new):
            kind = path.suffix.lower()
            if kind in TABLES | IMAGES and path.is_file():
                content = path.read_bytes() if kind in TABLES else b""
                name = path.relative_to(folder).as_posix()
                digest.update(f"{name}\0{path.stat().st_size}\0".encode() + content)
    return digest.hexdigest()[:length]


def write_atomic(path: str | Path, data: str | bytes) -> Path:
    """Write ``data`` to ``path`` so that a reader sees the old or the new file, whole, whatever happens in between."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    payload = data.encode() if isinstance(data, str) else data
    with temporary.open("wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return path


def write_json(path: str | Path, value: Any) -> Path:
    """:func:`write_atomic` of ``value`` as indented JSON."""
    return write_atomic(path, json.dumps(value, indent=1, sort_keys=False, default=str) + "\n")


def project_root(start: str | Path | None = None) -> Path:
    """The nearest folder at or above ``start`` (default: the working directory) that holds ``notebooks/`` and
    ``pyproject.toml``; the working directory when there is none (prdlib installed as a package)."""
    here = Path(start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "notebooks").is_dir() and (folder / "pyproject.toml").is_file():
            return folder
    return here


def find_path(path: str | Path) -> Path:
    """``path``, absolute: below the working directory or, where it is not there, below the project's root (a notebook
    started by hand works in notebooks/). What exists in neither is returned as if below the working directory."""
    path = Path(path).expanduser()
    places = [Path.cwd() / path, project_root() / path]
    return Path(os.path.abspath(next((p for p in places if os.path.exists(p)), places[0])))


def fast_precision() -> str:
    """'bf16' where this machine has instructions for it (GPUs from 2020 on, CPUs with AVX-512 BF16 or AMX), else 'float32'."""
    import torch

    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    able = torch.cpu.get_capabilities()
    return "bf16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"


def versions() -> dict[str, str]:
    """Version of Python and of every package that can change a number."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def git_state(folder: str | Path | None = None) -> dict[str, Any]:
    """``commit`` (or None outside a checkout) and ``dirty`` of the project's git checkout."""
    root = project_root(folder)

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=20, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain")
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}


def provenance(**facts: Any) -> Mapping[str, Any]:
    """What a reader needs to repeat a result: versions, processor, git state, and the ``facts`` given."""
    return {"versions": versions(), "machine": platform.machine(), "cores": os.cpu_count(), **git_state(), **facts}
