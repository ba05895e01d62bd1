"""What names a run: its settings that can change a result, as plain values, and the content of the files that they name."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prdlib.repro import find_path, hash_collection, hash_files, hash_json
from prdlib.settings import default_of

if TYPE_CHECKING:
    from prdlib.config import RunConfig

# Raise it when the same (seed, index) gives another film or report, so that no old file or run is taken for a new one.
PHANTOM_VERSION = 3
LATER_SETTINGS = {  # not in the name of a run while they have their defaults: older runs keep their names
    "model": ("segments", "segment_window", "segment_blocks", "distance_bias", "place_pooling", "region_positions"),
    "objective": ("segment_weight", "segment_temperature", "discrimination", "quirks"),
    "training": ("mirror", "freeze"),
    "data": ("views", "split_by", "options"),
    "evaluation": (
        "control_reports",
        "prompts",
        "label_shares",
        "label_subsets",
        "imagenet",
        "fine_tuning",
        "fine_tuning_shares",
        "fine_tuning_epochs",
        "fine_tuning_head",
        "nli",
        "nli_directory",
        "nli_training",
        "nli_squares",
    ),
}


def scientific(config: RunConfig, content: str) -> dict[str, Any]:
    """The settings that can change a result, as plain JSON types (no schedule of the runner, no folder, no logger)."""
    settings = asdict(config)
    for name in ("profile", "methods", "seeds", "jobs", "step_timeout", "expected_seconds"):
        del settings[name]
    del settings["data"]["directory"]
    training = settings["training"]
    training["precision"] = config.training.autocast  # what is computed, so that machines of two kinds make two runs
    del training["report_to"]
    training["shards"] = bool(training["shards"])
    del training["processes"]
    if not training["shards"]:  # a stream's order depends on who reads it
        del training["workers"]
    for name in ("micro_batch", "compile", "shards"):  # off, they change nothing and name nothing
        if not training[name]:
            del training[name]
    for part, names in LATER_SETTINGS.items():
        for name in names:  # as they always were, they name nothing either
            if settings[part][name] == default_of(getattr(config, part).__dataclass_fields__[name]):
                del settings[part][name]
    if content:
        settings["data"]["content"] = content
    if config.evaluation.prompts and (path := find_path(config.evaluation.prompts)).is_file():
        settings["evaluation"]["prompts"] = hash_files([path])
    if config.data.name == "phantom":
        settings["data"]["version"] = PHANTOM_VERSION
    return settings


def content_of(config: RunConfig) -> str:
    """Hash of what the collection's folder, or own table, holds, and of the list that data.options.exclude names; empty for
    the phantom, and while no folder is given."""
    folder = Path(config.data.directory).expanduser()
    if config.data.name == "phantom" or not config.data.directory:
        return ""
    content = hash_collection(folder) if folder.is_dir() else hash_files([folder]) if folder.is_file() else ""
    excluded = config.data.options.get("exclude")
    if isinstance(excluded, str) and os.path.isfile(path := find_path(excluded)):
        return hash_json([content, hash_files([path])])
    return content
