"""Any model with an image and a report encoder can be scored: two functions are all that is asked.

``DualEncoder`` is the protocol. Adapters: our own checkpoints, CLIP-like models of transformers and of open_clip, and embeddings
that somebody computed elsewhere (.npz).
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from prdlib.evaluation.benchmark_set import BenchmarkSet
from prdlib.images import encode_png
from prdlib.models import PRDModel, WeightsError
from prdlib.repro import write_atomic

NO_LIMIT = 1 << 20  # tokens of a text, for a model that says none


class AdapterError(ValueError):
    """A model or a file of embeddings that cannot be scored; one sentence."""


@runtime_checkable
class DualEncoder(Protocol):
    """What the benchmark asks of a model. The score of a pair is the inner product of the two vectors.

    A model with an attribute ``reads_segments`` that is true is given reports with marks where segments begin (see
    prdlib.text.segments). An attribute ``logit_scale`` is what its training multiplies a cosine by.

    Both functions must depend on each input alone (eval mode, no batch statistics).
    """

    def encode_images(self, images: np.ndarray) -> Tensor:
        """uint8 [N, S, S] -> [N, D]."""

    def encode_reports(self, reports: Sequence[str]) -> Tensor:
        """N normalised reports -> [N, D]."""


class PRDAdapter:
    """A checkpoint of this library."""

    def __init__(self, model: PRDModel) -> None:
        self.model = model.eval()
        self.reads_segments = model.config.segments != "none"
        self.logit_scale = float(model.scales()[0].detach())

    @torch.inference_mode()
    def encode_images(self, images: np.ndarray) -> Tensor:
        same = images.shape[1:] == (self.model.config.image_size,) * 2  # others are resized one by one
        shown = torch.from_numpy(np.ascontiguousarray(images)) if same else list(images)
        return self.model.encode_images(shown).float().cpu()

    @torch.inference_mode()
    def encode_reports(self, reports: Sequence[str]) -> Tensor:
        return self.model.encode_reports([report.split() for report in reports]).float().cpu()


class TransformersCLIP:
    """A CLIP-like model of transformers (CLIP, SigLIP, ...): a folder of ``save_pretrained`` with model and processor, or a hub
    name while online. Weights of pickle form and remote code are not loaded. Grey images are shown as three equal channels.

    context: tokens of the longest text, longer ones are cut. fixed_length: whether every text is padded to it without a mask, as
    SigLIP was trained (it reads the last token); otherwise texts are padded to the longest of their batch, with a mask.
    Raises AdapterError for what is not such a model.
    """

    def __init__(self, folder_or_name: str, device: str | None = None) -> None:
        from transformers import AutoModel, AutoProcessor

        try:
            self.processor = AutoProcessor.from_pretrained(folder_or_name, trust_remote_code=False)
            self.model = AutoModel.from_pretrained(folder_or_name, trust_remote_code=False, use_safetensors=True)
        except Exception as error:  # of transformers, tokenizers or safetensors: each has its own
            raise AdapterError(
                f"No CLIP-like model at {folder_or_name!r}: give a folder with config, processor and model.safetensors, or a hub "
                f"name while online ({_first_line(error)})."
            ) from error
        if not hasattr(self.model, "get_image_features") or not hasattr(self.model, "get_text_features"):
            raise AdapterError(
                f"{type(self.model).__name__} at {folder_or_name!r} has no image and text features: not CLIP-like."
            )
        if not hasattr(self.processor, "image_processor") or not hasattr(self.processor, "tokenizer"):
            raise AdapterError(
                f"The processor at {folder_or_name!r} lacks images or texts: save the model's whole processor there."
            )
        self.fixed_length = str(self.model.config.model_type).startswith("siglip")
        positions = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        self.context = min(self.processor.tokenizer.model_max_length, positions or NO_LIMIT)
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device).eval()
        self.logit_scale = float(self.model.logit_scale.detach().exp())

    @torch.inference_mode()
    def encode_images(self, images: np.ndarray) -> Tensor:
        colour = [np.repeat(image[..., None], 3, axis=-1) for image in images]
        batch = self.processor.image_processor(images=colour, return_tensors="pt").to(self.device)
        return _unit(self.model.get_image_features(**batch))

    @torch.inference_mode()
    def encode_reports(self, reports: Sequence[str]) -> Tensor:
        batch = self.processor.tokenizer(
            list(reports),
            padding="max_length" if self.fixed_length else True,
            truncation=True,
            max_length=self.context,
            return_attention_mask=not self.fixed_length,
            return_tensors="pt",
        )
        return _unit(self.model.get_text_features(**batch.to(self.device)))

    def cut(self, reports: Sequence[str]) -> int:
        """How many reports are longer than the context."""
        tokens = self.processor.tokenizer(list(reports), verbose=False).input_ids
        return sum(len(row) > self.context for row in tokens)


class OpenCLIP:
    """A model of open_clip: its architecture's name and a local file of weights ('' for random weights, e.g. in tests)."""

    def __init__(self, architecture: str, weights: str = "", device: str | None = None) -> None:
        try:
            import open_clip
        except ImportError as error:
            raise AdapterError("open_clip is not installed: pip install 'prdlib[open_clip]'.") from error
        if weights and not Path(weights).is_file():
            raise AdapterError(f"No weights file at {weights!r}: download it first; nothing is fetched at run time.")
        if architecture not in open_clip.list_models():
            raise AdapterError(f"open_clip knows no architecture {architecture!r}: see open_clip.list_models().")
        try:
            self.model, _, self.transform = open_clip.create_model_and_transforms(
                architecture, pretrained=weights or None
            )
            self.tokenizer = open_clip.get_tokenizer(architecture)
        except Exception as error:  # of torch, pickle, safetensors or open_clip: each has its own
            raise AdapterError(
                f"open_clip cannot make {architecture!r} with the weights {weights!r}: give this architecture's weights "
                f"({_first_line(error)})."
            ) from error
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device).eval()
        self.logit_scale = float(self.model.logit_scale.detach().exp())

    @torch.inference_mode()
    def encode_images(self, images: np.ndarray) -> Tensor:
        from PIL import Image

        batch = torch.stack([self.transform(Image.fromarray(image).convert("RGB")) for image in images])
        return _unit(self.model.encode_image(batch.to(self.device)))

    @torch.inference_mode()
    def encode_reports(self, reports: Sequence[str]) -> Tensor:
        return _unit(self.model.encode_text(self.tokenizer(list(reports)).to(self.device)))

    def cut(self, reports: Sequence[str]) -> int:
        """How many reports are longer than the context."""
        inner = getattr(self.tokenizer, "tokenizer", None)  # of transformers; open_clip's own adds a start and an end
        if inner is not None:
            lengths = [len(row) for row in inner(list(reports), verbose=False).input_ids]
        else:
            lengths = [len(self.tokenizer.encode(report)) + 2 for report in reports]
        return sum(length > self.tokenizer.context_length for length in lengths)


class StoredEmbeddings:
    """Embeddings computed elsewhere.

    An .npz, or a folder of them that are read as one, holds ``image_keys`` and ``image_embeds`` [N, D], ``report_keys`` and
    ``report_embeds`` [T, D]. A key is
    :func:`image_key` of the uint8 image, :func:`report_key` of the normalised report; ``python -m prdlib benchmark-set --export
    FOLDER`` writes every image and text that will be asked for, with its key.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
        if not files or not files[0].is_file():
            raise AdapterError(f"No embeddings at {str(path)!r}: give an .npz file, or a folder that has some.")
        self.name, self.tables = path.name, {"image": {}, "report": {}}
        for file in files:
            self._read(file, whole=len(files) == 1)
        empty = [kind for kind, table in self.tables.items() if not table]
        if empty and len(files) > 1:
            raise AdapterError(f"{path.name}: no file has {empty[0]}_keys and {empty[0]}_embeds.")
        widths = {len(vector) for table in self.tables.values() for vector in table.values()}
        if len(widths) > 1:
            raise AdapterError(f"{path.name}: image and report embeddings have different widths {sorted(widths)}.")

    def _read(self, path: Path, whole: bool) -> None:
        """Add the arrays of one file; ``whole``: it must have images and reports."""
        try:
            with zipfile.ZipFile(path):  # not a renamed .npy
                pass
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise AdapterError(
                f"{path.name} is not an .npz file of plain arrays: write it with numpy.savez ({type(error).__name__})."
            ) from error
        for kind in ("image", "report"):
            keys, embeds = (arrays.get(f"{kind}_{part}") for part in ("keys", "embeds"))
            if keys is None and embeds is None and not whole:
                continue
            if keys is None or embeds is None:
                raise AdapterError(
                    f"{path.name} lacks {kind}_keys or {kind}_embeds (it has {', '.join(sorted(arrays)) or 'nothing'})."
                )
            if not all(isinstance(array, np.ndarray) for array in (keys, embeds)):
                raise AdapterError(f"{path.name}: {kind}_keys and {kind}_embeds must be arrays of NumPy.")
            if keys.ndim != 1 or keys.dtype.kind != "U":
                raise AdapterError(
                    f"{path.name}: {kind}_keys must be a list of texts, not {keys.dtype} {list(keys.shape)}."
                )
            numbers = embeds.dtype.kind in "fiu"
            if not numbers or embeds.ndim != 2 or len(keys) != len(embeds) or not np.isfinite(embeds).all():
                raise AdapterError(
                    f"{path.name}: {kind}_embeds must be finite numbers [{len(keys)}, D], one row a key."
                )
            self.tables[kind] |= dict(zip(map(str, keys), torch.from_numpy(embeds.astype(np.float64)), strict=True))

    def encode_images(self, images: np.ndarray) -> Tensor:
        return self._rows("image", [image_key(image) for image in images])

    def encode_reports(self, reports: Sequence[str]) -> Tensor:
        return self._rows("report", [report_key(report) for report in reports])

    def _rows(self, kind: str, keys: Sequence[str]) -> Tensor:
        missing = [key for key in keys if key not in self.tables[kind]]
        if missing:
            raise AdapterError(
                f"{self.name} has no {kind} embedding for {len(missing)} of {len(keys)} keys, first {missing[0]!r}: embed all "
                "that 'python -m prdlib benchmark-set --export FOLDER' writes."
            )
        return torch.stack([self.tables[kind][key] for key in keys])


def export_inputs(
    folder: str | Path, images: np.ndarray, sets: Sequence[BenchmarkSet], texts: Sequence[tuple[str, ...]] = ()
) -> int:
    """Write what the benchmark will ask a model for: images/<key>.png and reports.jsonl (key, report); returns how many.

    images: uint8 [N, S, S], the split's, the mean image, the twins'; sets: of the split and of training; texts: further ones.
    """
    folder = Path(folder)
    pictures = {image_key(image): image for image in images}
    for key, image in pictures.items():
        write_atomic(folder / "images" / f"{key}.png", encode_png(image))
    reports = sorted({*reports_of(sets), *(" ".join(words) for words in texts)})
    lines = [json.dumps({"key": report_key(report), "report": report}) for report in reports]
    write_atomic(folder / "reports.jsonl", "\n".join(lines) + "\n")
    return len(pictures) + len(reports)


def reports_of(sets: Sequence[BenchmarkSet]) -> list[str]:
    """Every different report of ``sets``, originals and copies, sorted."""
    texts = {words for part in sets for words in part.originals}
    texts |= {words for part in sets for column in part.copies.values() for words in column if words is not None}
    return sorted(" ".join(words) for words in texts)


def image_key(image: np.ndarray) -> str:
    """SHA-256 of an image's bytes, 16 hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()[:16]


def report_key(report: str) -> str:
    """SHA-256 of a normalised report, 16 hexadecimal digits."""
    return hashlib.sha256(report.encode()).hexdigest()[:16]


def _unit(features: Any) -> Tensor:
    """Features as L2-normalised float32 on the CPU; newer transformers wrap them in an output with ``pooler_output``."""
    tensor = features if isinstance(features, Tensor) else features.pooler_output
    return normalize(tensor.float(), dim=-1).cpu()


def _first_line(error: Exception) -> str:
    """What an error of another library says, short; its name when it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _ours(path: str) -> DualEncoder:
    try:
        return PRDAdapter(PRDModel.from_pretrained(path))
    except WeightsError:
        raise
    except Exception as error:  # of transformers, tokenizers or safetensors: each has its own
        raise WeightsError(
            f"{path!r} is a damaged model: write it again with save_pretrained ({_first_line(error)})."
        ) from error


def _open_clip(text: str) -> DualEncoder:
    architecture, _, weights = text.partition(":")
    if not weights:
        raise AdapterError(f"open_clip:{text} has no weights: give open_clip:{architecture or 'ARCHITECTURE'}:WEIGHTS.")
    return OpenCLIP(architecture, weights)


PREFIXES: dict[str, Callable[[str], DualEncoder]] = {
    "prd": _ours,
    "clip": TransformersCLIP,
    "open_clip": _open_clip,
    "embeddings": StoredEmbeddings,
}


def load_model(name: str) -> DualEncoder:
    """A model by what a command line says: a folder of ours (or 'prd:FOLDER'), 'clip:FOLDER', 'open_clip:ARCHITECTURE:WEIGHTS', a
    file 'X.npz' or a folder of such files 'embeddings:FOLDER'.

    Raises AdapterError or WeightsError, one sentence.
    """
    prefix, colon, rest = name.partition(":")
    if colon and prefix in PREFIXES:
        return PREFIXES[prefix](rest)
    if name.endswith(".npz"):
        return StoredEmbeddings(name)
    config = Path(name) / "config.json"
    if not config.is_file():
        raise WeightsError(
            f"No model at {name!r}: give a folder written by save_pretrained, 'clip:FOLDER', 'open_clip:ARCHITECTURE:WEIGHTS', "
            "a file of embeddings 'X.npz' or 'embeddings:FOLDER'."
        )
    try:
        facts = json.loads(config.read_text())
    except ValueError as error:
        raise WeightsError(f"{str(config)!r} is not valid JSON: write the model again with save_pretrained.") from error
    if not isinstance(facts, dict):
        raise WeightsError(f"{str(config)!r} holds no settings of a model: write the model again with save_pretrained.")
    if facts.get("model_type") == "prd":
        return _ours(name)
    return TransformersCLIP(name)
