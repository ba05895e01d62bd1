"""Radiographs as grey arrays: reading, fitting into the model's square, and the way back."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError


class ImageError(ValueError):
    """An image file that cannot be read; the sentence names the file."""


@dataclass(frozen=True)
class Geometry:
    """How an image [height, width] became a square of side ``size``: scaled by ``scale``, then cropped at (top, left)."""

    height: int
    width: int
    size: int
    scale: float
    top: int
    left: int

    def to_image(self, values: np.ndarray) -> np.ndarray:
        """A map [size, size] in the square as a map [height, width] of the image; 0 where the crop cut off."""
        full = np.zeros(self._scaled(), dtype=np.float32)
        full[self.top : self.top + self.size, self.left : self.left + self.size] = values
        return np.asarray(Image.fromarray(full).resize((self.width, self.height), Image.Resampling.BILINEAR))

    def box_in_square(self, box: Sequence[float]) -> list[float] | None:
        """A box [x0, y0, x1, y1] in fractions of the image as fractions of the square; None when the crop cut it off."""
        rows, columns = self._scaled()
        x0, x1 = (min(max((x * columns - self.left) / self.size, 0.0), 1.0) for x in (box[0], box[2]))
        y0, y1 = (min(max((y * rows - self.top) / self.size, 0.0), 1.0) for y in (box[1], box[3]))
        return [round(v, 4) for v in (x0, y0, x1, y1)] if x1 > x0 and y1 > y0 else None

    def _scaled(self) -> tuple[int, int]:
        return max(self.size, round(self.height * self.scale)), max(self.size, round(self.width * self.scale))


def fit(height: int, width: int, size: int) -> Geometry:
    """The geometry of :func:`resize` for an image [height, width]."""
    scale = size / min(height, width)
    rows, columns = max(size, round(height * scale)), max(size, round(width * scale))
    return Geometry(height, width, size, scale, (rows - size) // 2, (columns - size) // 2)


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Short side to ``size`` with antialiasing, then the centre: uint8 [H, W] -> uint8 [size, size]."""
    if image.ndim != 2 or image.dtype != np.uint8:
        raise ImageError(f"An image must be grey uint8 [H, W], not {image.dtype} {list(image.shape)}: use read_grey.")
    if image.shape == (size, size):
        return image
    geometry = fit(*image.shape, size)
    rows, columns = geometry._scaled()
    scaled = np.asarray(Image.fromarray(image).resize((columns, rows), Image.Resampling.BILINEAR, reducing_gap=3.0))
    return scaled[geometry.top : geometry.top + size, geometry.left : geometry.left + size]


def read_grey(path: str | Path) -> np.ndarray:
    """A PNG or JPEG of 8 or 16 bits as uint8 [H, W]. Raises ImageError for a missing, truncated or foreign file."""
    try:
        with Image.open(path) as image:
            image.load()
            if image.mode.startswith("I") or image.mode == "F":
                return _stretch(np.asarray(image))
            return np.asarray(image.convert("L"))
    except FileNotFoundError as error:
        raise ImageError(f"{Path(path).name} is missing.") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{Path(path).name} is too large ({error}): shrink it first.") from error
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise ImageError(
            f"{Path(path).name} cannot be read as an image: it is truncated or not a PNG or JPEG."
        ) from error


def _stretch(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros(values.shape, dtype=np.uint8)
    return ((values.astype(np.float64) - low) / (high - low) * 255).round().astype(np.uint8)


def encode_png(image: np.ndarray) -> bytes:
    """uint8 [H, W] as PNG bytes (fast compression: prepared images are small)."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def decode_png(data: bytes) -> np.ndarray:
    """PNG bytes as uint8 [H, W]."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)
