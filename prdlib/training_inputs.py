"""What a training is made from besides its settings and data: code and published weights, as hashes; and where it is kept."""

from __future__ import annotations

from pathlib import Path

from prdlib.config import RunConfig
from prdlib.models.image_encoder import package_weights
from prdlib.models.published import DESCRIPTIONS, WEIGHTS, image_weights_file, text_encoder_folder
from prdlib.names import WORD_ORDER
from prdlib.repro import hash_files

TEXT_OF_WORD_ORDER = ("mirror", "perturbation", "registry", "segments", "tagging", "tokenization", "word_order")


def checkpoint_folder(run_dir: str | Path, method: str, seed: int) -> Path:
    """<run_dir>/checkpoints/<method>-seed<k>."""
    return Path(run_dir) / "checkpoints" / f"{method}-seed{seed}"


def training_sources(config: RunConfig) -> str:
    """Hash of the sources that decide a training: losses, models, batches, tagging and word order; clinical edits where used."""
    package = Path(__file__).parent
    clinical = set(config.objective.kinds) - set(WORD_ORDER)
    files = [
        package / name
        for name in (
            "training.py",
            "trainer.py",
            "epoch_log.py",
            "distributed.py",
            "images.py",
            "repro.py",
            "data/batches.py",
            "text/lexicon.yaml",
            *(["data/streaming.py"] if config.training.shards else []),
        )
    ]
    files += [*(package / "losses").glob("*.py"), *(package / "models").glob("*.py")]
    files += [package / "text" / f"{name}.py" for name in TEXT_OF_WORD_ORDER]
    if clinical and config.objective.discrimination_weight > 0:
        files += [*(package / "text").glob("*.py"), package / "text" / "clinical.yaml"]
    return hash_files(sorted(set(files)), 16)


def weights_hash(config: RunConfig) -> str:
    """Hash of the published weights that the settings name; empty when there are none."""
    model, files = config.model, []
    if model.image_weights:
        files.append(package_weights() if model.image_weights == "package" else image_weights_file(model.image_weights))
    if model.text_encoder != "small_bert":
        folder = text_encoder_folder(model.text_encoder)
        files += [folder / name for name in (*WEIGHTS, *DESCRIPTIONS) if (folder / name).is_file()]
    return hash_files(files, 16) if files else ""


def check_weights(config: RunConfig) -> None:
    """Raise WeightsError when published weights that the settings name are not there."""
    weights_hash(config)
