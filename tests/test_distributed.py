"""Two processes, or micro-batches, train as one process with the whole batch does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from prdlib.config import ConfigError, load_profile
from prdlib.data import prepare
from prdlib.data.batches import Collate, PairDataset
from prdlib.distributed import ProcessError, SyncBatchNorm2d, synchronise_batch_norm
from prdlib.models import PRDModel, build_model
from prdlib.names import METHODS
from prdlib.trainer import PRDTrainer, _joined
from prdlib.training import _arguments, _batch_of_all, fit

SCRIPT = Path(__file__).parent / "two_processes.py"
SETTINGS = {
    "data": {"n_studies": 60, "image_size": 32, "word_limit": 40},
    "model": {
        "image_width": 4,
        "text_width": 32,
        "text_layers": 1,
        "projection_dim": 16,
        "local_dim": 16,
        "dropout": 0.0,
    },
    "training": {"epochs": 1, "batch_size": 8, "precision": "float32", "optimizer": "sgd", "learning_rate": 0.02},
}


@pytest.fixture(scope="module")
def prepared(tiny_studies, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    return prepare(tiny_studies, folder, 32, 40), folder


def trained(prepared: Path, number: int, jobs: dict[Path, tuple[str, dict]]):
    """Train ``jobs``, folder -> (method, settings of training), one after the other in ``number`` processes (a process takes
    seconds to start, a training less): folder -> (first step, weights, history)."""
    asked = [
        (str(folder), {**SETTINGS, "training": {**SETTINGS["training"], **training}}, method)
        for folder, (method, training) in jobs.items()
    ]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(number)] if number > 1 else []
    command = [sys.executable, *launcher, str(SCRIPT), str(prepared), json.dumps(asked)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return {
        folder.name: (
            torch.load(folder / "first_step.pt", weights_only=True),
            PRDModel.from_pretrained(folder).state_dict(),
            pd.read_csv(folder / "history.csv"),
        )
        for folder in jobs
    }


@pytest.fixture(scope="module")
def one(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    return trained(prepared[1], 1, {
        folder / "prd": ("prd", {}), folder / "centred": ("grounded_prd", {}), folder / "cache": ("prd", {"micro_batch": 8}),
    })  # fmt: skip


@pytest.fixture(scope="module")
def folder_of_two(tmp_path_factory):
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def two(prepared, folder_of_two):
    return trained(prepared[1], 2, {
        folder_of_two / "prd": ("prd", {}), folder_of_two / "centred": ("grounded_prd", {}),
        folder_of_two / "cache": ("prd", {"micro_batch": 4}),
        folder_of_two / "stream": ("prd", {"shards": str(folder_of_two / "shards"), "epochs": 2}),
    })  # fmt: skip


def assert_equal_trainings(first, other):
    """Loss and gradients of the first step, weights and losses after an epoch of 6, to 1e-5 of their norms.

    Each tensor alone to 1e-4 of its own: sums of float32 are rounded in another order.
    """
    assert len(first[0]) == len(other[0]) > 20
    for mine, theirs in zip(first[:2], other[:2], strict=True):
        assert mine.keys() == theirs.keys()
        differences = torch.stack([(theirs[name] - tensor).float().norm() for name, tensor in mine.items()])
        norms = torch.stack([tensor.float().norm() for tensor in mine.values()])
        assert differences.norm() <= 1e-5 * norms.norm()
        assert (differences <= 1e-4 * norms + 1e-7).all()
    losses = ("loss", "contrastive", "discrimination", "local", "segment", "validation_R@1")
    columns = [name for name in losses if name in first[2]]
    pd.testing.assert_frame_equal(first[2][columns], other[2][columns], rtol=1e-5)


def test_two_processes_equal_one(one, two):
    assert_equal_trainings(one["prd"], two["prd"])
    assert len(two["prd"][0]) == len(one["prd"][0])


def test_two_processes_equal_one_where_images_of_all_are_the_centre(one, two):
    """Segments of all processes are looked for in the images of all; the mean of centred discrimination is over all of them."""
    assert_equal_trainings(one["centred"], two["centred"])
    assert "segment" in one["centred"][2]


def test_two_processes_with_a_feature_cache_equal_one_with_it(one, two):
    """Micro-batches of 4 in each of two processes and of 8 in one: batch norm sees 8 pairs, the same, in both."""
    assert_equal_trainings(one["cache"], two["cache"])


def test_two_processes_read_a_stream_of_shards(two, folder_of_two):
    """Each its own part, as many batches in both."""
    first, _, history = two["stream"]
    assert len(history) == 2
    assert history["loss"].notna().all()
    assert first["loss"].isfinite()
    seen = [json.loads((folder_of_two / "stream" / f"seen{r}.json").read_text()) for r in (0, 1)]
    assert len(seen[0]) == len(seen[1])
    assert not set(seen[0][: len(seen[0]) // 2]) & set(seen[1][: len(seen[1]) // 2])  # in the first epoch
    assert len(set(seen[0][: len(seen[0]) // 2])) == len(seen[0]) // 2
    assert list(folder_of_two.glob("shards/*/shards.json"))


def test_a_training_starts_its_own_processes(prepared, one, tmp_path):
    """training.processes, as notebook 02 uses it; in a session without a file, like a notebook's."""
    settings = {**SETTINGS, "training": {**SETTINGS["training"], "processes": 2, "threads": 1}}
    code = (
        "import sys, json\nfrom prdlib.config import load_profile\nfrom prdlib.data import load_prepared\n"
        "from prdlib.training import fit\n"
        "result = fit(load_profile('quick', json.loads(sys.argv[3])), 'prd', 0, load_prepared(sys.argv[1]), sys.argv[2], 'd',"
        " report=None)\nassert len(result.history) == 1\n"
    )
    command = [sys.executable, "-c", code, str(prepared[1]), str(tmp_path), json.dumps(settings)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for name, tensor in PRDModel.from_pretrained(tmp_path).state_dict().items():
        torch.testing.assert_close(tensor, one["prd"][1][name], rtol=1e-5, atol=1e-5)


def test_what_fails_in_a_process_is_told(prepared, tmp_path):
    config = load_profile("quick", {**SETTINGS, "training": {**SETTINGS["training"], "processes": 2, "batch_size": 7}})
    with pytest.raises(ConfigError, match=r"training.batch_size is 7, which 2 processes cannot share"):
        fit(config, "prd", 0, prepared[0], tmp_path / "new", "d", report=None)
    assert not (tmp_path / "new").exists()  # told before anything is touched
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "letter.txt").write_text("mine")
    config = load_profile("quick", {**SETTINGS, "training": {**SETTINGS["training"], "processes": 2}})
    with pytest.raises(ProcessError, match=r"Process 0 of 2 failed: .*holds files that are no training"):
        fit(config, "prd", 0, prepared[0], tmp_path / "foreign", "d", report=None)


class TestFeatureCache:
    """Gradients of micro-batches with the loss of the whole batch."""

    def trainer(self, prepared, tmp_path, dropout=0.0, train_norm=False, method="prd"):
        data, _ = prepared
        settings = {**SETTINGS, "model": {**SETTINGS["model"], "dropout": dropout}}
        config = load_profile("quick", settings).for_method(method)
        model, _ = build_model(config, 0, sorted({" ".join(words) for words in data["train"]["words"]}))
        trainer = PRDTrainer(
            model=model,
            args=_arguments(config, 0, tmp_path, 48, 8),
            config=config,
            pretrained=(),
        )
        trainer.current_gradient_accumulation_steps = 1  # train() sets it
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        if not train_norm:  # with its statistics fixed, an image does not depend on the others of its micro-batch
            for norm in norms:
                norm.train = lambda mode=True, norm=norm: norm
                norm.training = False
        return trainer, norms

    def parts(self, prepared, trainer, micro_batch):
        pairs = PairDataset(prepared[0]["train"], trainer.settings.objective.kinds, 3, 0)
        return Collate(trainer.model.word_tokenizer, micro_batch=micro_batch, segments=trainer.model.config.segments)(
            [pairs[(0, i)] for i in range(8)]
        )

    def step(self, prepared, tmp_path, micro_batch, **options):
        trainer, norms = self.trainer(prepared, tmp_path, **options)
        torch.manual_seed(7)
        loss = trainer.training_step(trainer.model, self.parts(prepared, trainer, micro_batch))
        gradients = {name: p.grad for name, p in trainer.model.named_parameters() if p.grad is not None}
        return loss, gradients, norms

    @pytest.mark.parametrize(("method", "micro_batch"), [*((m, 3) for m in METHODS), ("prd", 1), ("grounded_prd", 1)])
    def test_equals_the_whole_batch(self, prepared, tmp_path, micro_batch, method):
        loss, gradients, _ = self.step(prepared, tmp_path, 0, method=method)
        cached_loss, cached, _ = self.step(prepared, tmp_path, micro_batch, method=method)
        torch.testing.assert_close(loss, cached_loss)
        assert gradients.keys() == cached.keys()
        assert ("logit_scale" in cached, "discrimination_scale" in cached) == (True, METHODS[method].discrimination)
        for name, gradient in gradients.items():
            torch.testing.assert_close(cached[name], gradient, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")

    def test_the_second_pass_has_the_dropout_of_the_first(self, prepared, tmp_path):
        """Two micro-batches, against both kept with their graphs under the same draws; other draws are another loss."""
        cached_loss, cached, _ = self.step(prepared, tmp_path, 4, dropout=0.5)
        trainer, _ = self.trainer(prepared, tmp_path, dropout=0.5)
        trainer.model.train()
        torch.manual_seed(7)
        parts = self.parts(prepared, trainer, 4)["parts"]
        loss = trainer._loss(_joined([trainer._embed(trainer.model, part) for part in parts]), parts)
        loss.backward()
        torch.testing.assert_close(loss.detach(), cached_loss)
        for name, parameter in trainer.model.named_parameters():
            torch.testing.assert_close(cached[name], parameter.grad, rtol=1e-4, atol=1e-5)
        other = trainer._loss(_joined([trainer._embed(trainer.model, part) for part in parts]), parts)
        assert not torch.allclose(other, cached_loss)

    def test_running_statistics_see_each_micro_batch_once(self, prepared, tmp_path):
        _, _, plain = self.step(prepared, tmp_path, 0, train_norm=True)
        _, _, cached = self.step(prepared, tmp_path, 8, train_norm=True)
        for one, other in zip(plain, cached, strict=True):
            torch.testing.assert_close(one.running_mean, other.running_mean)
            torch.testing.assert_close(one.running_var, other.running_var)
            assert one.momentum == other.momentum > 0


def test_synchronised_batch_norm_of_one_process_is_torchs():
    plain = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    copied = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    copied.load_state_dict(plain.state_dict())
    synchronise_batch_norm(copied)
    assert isinstance(copied[1], SyncBatchNorm2d)
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(plain(images), copied(images))


def test_fit_says_how_to_use_several_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=r"2 GPUs are visible: set training\.processes"):
        _batch_of_all(load_profile("quick"), 1, 48)
    with pytest.raises(ConfigError, match="2 GPUs are visible: set it to 2"):
        _batch_of_all(load_profile("quick", {"training": {"processes": 4}}), 4, 48)
    assert _batch_of_all(load_profile("quick"), 2, 61) == 32
    assert _batch_of_all(load_profile("quick"), 2, 31) == 30
