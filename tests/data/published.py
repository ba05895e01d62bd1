"""Helpers of the tests of published collections: small pictures, and what a drop table says. No data of the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from prdlib.data import Studies


def picture(path: Path, value: int = 0, height: int = 40, width: int = 48) -> Path:
    """A small grey image that differs with ``value``."""
    rows, columns = np.mgrid[:height, :width]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(((rows * 3 + columns + value * 17) % 256).astype(np.uint8)).save(path)
    return path


def reasons(studies: Studies) -> dict[str, int]:
    """Reason -> how many items were left out for it."""
    return (
        dict(zip(*studies.drop_counts()[["reason", "count"]].to_numpy().T, strict=True)) if len(studies.dropped) else {}
    )


def edit(path: Path, old: str, new: str) -> None:
    """Exchange the one occurrence of ``old`` in a text file."""
    text = path.read_text()
    assert text.count(old) == 1, (path.name, old, text.count(old))
    path.write_text(text.replace(old, new))
