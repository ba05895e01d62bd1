"""Small prepared data and a tiny model, made once per test session."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from prdlib.config import load_profile
from prdlib.data import load_studies, prepare
from prdlib.models import build_model

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
settings.register_profile("prdlib", deadline=None)  # no test fails by the clock
settings.load_profile("prdlib")


LONGEST = ("test_real_runs.py", "test_runs.py", "test_distributed.py", "test_streaming.py", "test_cli_benchmark.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes begin first, so that no process waits for another at the end."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_config():
    """Seconds of training: 60 phantoms of 32 pixels, a model of a few thousand weights."""
    return load_profile(
        "quick",
        {
            "data": {"n_studies": 60, "image_size": 32, "word_limit": 40},
            "model": {"image_width": 4, "text_width": 32, "text_layers": 1, "projection_dim": 16, "local_dim": 16},
            "training": {"epochs": 3, "batch_size": 8},
        },
    )


@pytest.fixture(scope="session")
def tiny_model(tiny_config):
    """Random weights; for tests of images, whose reports do not matter."""
    return build_model(tiny_config.for_method("clip"), 0, ["the lungs are clear"])[0].eval()


@pytest.fixture(scope="session")
def tiny_studies(tiny_config):
    return load_studies("phantom", n=tiny_config.data.n_studies, size=32, seed=3)


@pytest.fixture(scope="session")
def tiny_data(tiny_studies, tiny_config, tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("prepared")
    return prepare(tiny_studies, folder, 32, tiny_config.data.word_limit)
