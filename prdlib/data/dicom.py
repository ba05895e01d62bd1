"""Radiographs in DICOM files as grey arrays, through pydicom, which is an optional extra of the package."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from prdlib.data.studies import DataError
from prdlib.images import ImageError, _stretch, read_grey


def require_dicom() -> None:
    """DataError with the command that installs it when pydicom is missing."""
    if find_spec("pydicom") is None:
        raise DataError(
            "Images in DICOM files are read by pydicom, which is not installed: pip install 'prdlib[dicom]'."
        )


def read_dicom(path: str | Path) -> np.ndarray:
    """A DICOM file of one grey frame as uint8 [H, W], bright where little passed through the body.

    Modality and VOI tables (or the first window) of the file are applied and MONOCHROME1 is inverted. Pixels of 8 bits that no
    table changed keep their values; others are stretched from their least to their largest value, as read_grey does with PNG of
    16 bits. Raises DataError without pydicom; ImageError for a missing, damaged, foreign or coloured file, one of several
    frames, and one whose compression no installed decoder knows.
    """
    require_dicom()
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    name = Path(path).name
    try:
        file = dcmread(path)
        stored = file.pixel_array
        shown = apply_voi_lut(apply_modality_lut(stored, file), file)
        kind = str(file.PhotometricInterpretation)
    except FileNotFoundError as error:
        raise ImageError(f"{name} is missing.") from error
    except (InvalidDicomError, OSError, EOFError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ImageError(
            f"{name} cannot be read as an image: it is truncated or not a DICOM file with pixels."
        ) from error
    except (RuntimeError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ImageError(f"{name} cannot be decoded ({reason}): install the decoder that pydicom names.") from error
    if not kind.startswith("MONOCHROME") or shown.ndim != 2:
        raise ImageError(f"{name} is no grey image of one frame ({kind}, {list(shown.shape)}): convert it first.")
    plain = shown.dtype == np.uint8 and np.array_equal(shown, stored)
    grey = shown if plain else _stretch(shown)
    return 255 - grey if kind == "MONOCHROME1" else np.array(grey)


def is_dicom(path: str | Path) -> bool:
    """Whether a file is one by its name."""
    return str(path).lower().endswith(".dcm")


def read_film(path: str | Path) -> np.ndarray:
    """uint8 [H, W] of a DICOM file, by :func:`read_dicom`, or else of a PNG or JPEG, by read_grey."""
    return read_dicom(path) if is_dicom(path) else read_grey(path)
