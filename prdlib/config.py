"""Settings of a run: one profile (YAML) becomes one frozen :class:`RunConfig`; every setting exists once, here.

``load_profile("cpu", {"training.epochs": 3})`` is all that a notebook or a command needs. An unknown key, a value of the
wrong type or out of range is a :class:`ConfigError` of one sentence that names the nearest known key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from prdlib.names import (
    CLINICAL,
    COLLECTIONS,
    FAMILIES,
    METHODS,
    OWN_SETTINGS,
    PAPER_METHODS,
    QUIRKS,
    VIEWS,
    WORD_ORDER,
    check_method,
)
from prdlib.repro import fast_precision, find_path, hash_json
from prdlib.run_name import content_of, scientific
from prdlib.settings import ConfigError, build, merge, nearest, setting, undotted

PROFILE_FOLDER = Path(__file__).parent / "profiles"


@dataclass(frozen=True)
class DataConfig:
    """Which studies, and how they are prepared."""

    name: str = setting("phantom", "reader of the studies", choices=COLLECTIONS)
    directory: str = setting(
        "", "folder of the collection as downloaded (the phantom needs none); own_csv: the CSV file"
    )
    n_studies: int = setting(960, "phantom: number of studies, follow-ups included", low=1)
    seed: int = setting(0, "phantom: seed of anatomy, findings and wording", low=0)
    image_size: int = setting(64, "side of the prepared square image, pixels", low=32, high=1024)
    word_limit: int = setting(60, "words of a report that the encoders see", low=1, high=510)
    deidentified: str = setting("drop", "Open-I: the token XXXX in reports", choices=("keep", "drop"))
    views: tuple[str, ...] = setting(
        VIEWS, "Open-I, CheXpert, MIMIC-CXR: projections that are read; a training draws one image of a study"
    )
    split_by: str = setting(
        "patient",
        "image: each image goes to a split by itself, as in the released code; it leaks, and is for ablations alone",
        choices=("patient", "image"),
    )
    options: dict[str, str | bool | int | float | list] = field(
        default_factory=dict,
        metadata={
            "help": "further options of the reader, see its load: uncertain: ones for chexpert, images: FOLDER for ms_cxr"
        },
    )

    def __post_init__(self) -> None:
        for option in self.options:
            if option in OWN_SETTINGS:
                raise ConfigError(
                    f"Setting data.options.{option} is a setting of its own: use data.{OWN_SETTINGS[option]}."
                )
        if self.options and self.name == "phantom":
            raise ConfigError(
                "Setting data.options is for readers of files: the phantom's are data.n_studies and data.seed."
            )
        for view in self.views:
            if view not in VIEWS:
                raise ConfigError(
                    f"Setting data.views: unknown view {view!r}{nearest(view, VIEWS)}: {' or '.join(VIEWS)}."
                )


@dataclass(frozen=True)
class ModelConfig:
    """Encoders and the widths of the shared spaces."""

    image_encoder: str = setting("narrow_resnet", "image encoder", choices=("narrow_resnet", "resnet18", "resnet34",
                                 "resnet50", "vit_b_16", "tf_efficientnet_lite0"))  # fmt: skip
    image_width: int = setting(12, "narrow_resnet: channels of the first stage", low=4, high=256)
    region_stride: int = setting(16, "narrow_resnet: pixels between neighbouring regions, 8 or 16", choices=(8, 16))
    image_weights: str = setting(
        "", "state dict of the image encoder: a local file, or 'package' for tf_efficientnet_lite0"
    )
    text_encoder: str = setting("small_bert", "'small_bert' (from scratch), or the folder or hub name of an encoder")
    text_layers: int = setting(2, "small_bert: transformer blocks", low=1, high=24)
    text_width: int = setting(96, "small_bert: hidden width (a multiple of 32)", low=32, high=1024)
    vocabulary_size: int = setting(2500, "small_bert: pieces of the WordPiece vocabulary", low=50)
    text_pooling: str = setting("auto", "a report's state: mean over its pieces, or the first token's; auto: mean for "
                                "small_bert, first for published encoders", choices=("auto", "mean", "first"))  # fmt: skip
    projection_dim: int = setting(128, "D, the global image-report space", low=2)
    local_dim: int = setting(128, "D_l, the region-word space", low=2)
    dropout: float = setting(0.1, "dropout of small_bert", low=0.0, high=0.9)
    segments: str = setting("auto", "what of a report is encoded by itself; item: clauses, and each of what is denied in a "
                            "list, which but for one lose their 'no'; "
                            "auto: clause for methods with a structured report encoder; always none for the paper's",
                            choices=("auto", "none", "report", "sentence", "clause", "item", "phrase", "window"))  # fmt: skip
    segment_window: int = setting(8, "words of a segment where model.segments is window", low=1)
    segment_blocks: int = setting(1, "transformer blocks over the segments of a report", low=1, high=12)
    distance_bias: float = setting(
        0.0, "methods with segments: slope by which words attend less to further ones", low=0.0
    )
    place_pooling: bool = setting(True, "methods with segments: the image's vector knows what is where")
    region_positions: bool = setting(True, "regions have a learnt position where segments are looked for")

    def __post_init__(self) -> None:
        if self.region_stride != 16 and self.image_encoder != "narrow_resnet":
            raise ConfigError(
                f"Setting model.region_stride is {self.region_stride}: {self.image_encoder} has regions at stride 16 only."
            )
        if self.text_encoder == "small_bert" and self.text_width % 32:
            raise ConfigError(f"Setting model.text_width is {self.text_width}: it must be a multiple of 32.")


@dataclass(frozen=True)
class ObjectiveConfig:
    """L = L_itc + discrimination_weight L_prd + local_weight L_local (docs of prdlib.losses.objective)."""

    discrimination_weight: float = setting(
        0.5, "T; applies to the methods that discriminate perturbed reports", low=0.0
    )
    local_weight: float = setting(0.1, "L_w; applies to the methods with the local loss", low=0.0)
    perturbations: tuple[str, ...] = setting(
        WORD_ORDER,
        "kinds of perturbed copies to draw from, by name or by family (word_order, clinical); -name: all but this",
    )
    copies: int = setting(3, "K, kinds drawn without replacement for each study and epoch", low=1)
    mask_duplicates: bool = setting(True, "equal reports of a batch are not negatives of each other")
    initial_logit_scale: float = setting(1 / 0.07, "start of s", low=1.0, high=100.0)
    initial_discrimination_scale: float = setting(
        1 / 0.07, "start of s_p (the paper's best run: 100)", low=1.0, high=100.0
    )
    attention_temperature: float = setting(4.0, "tau1 of the local loss", low=0.1)
    word_temperature: float = setting(5.0, "tau2 of the local loss", low=0.1)
    similarity_temperature: float = setting(10.0, "tau3 of the local loss", low=0.1)
    segment_weight: float = setting(1.0, "L_s; applies to the methods with the segment-region contrast", low=0.0)
    segment_temperature: float = setting(10.0, "tau of the segment-region contrast", low=0.1)
    discrimination: str = setting("auto", "variant of L_prd; auto: centred for methods with a structured report encoder; always "
                                  "plain for the paper's", choices=("auto", "plain", "centred", "debiased"))  # fmt: skip

    quirks: tuple[str, ...] = setting(
        (),
        "what the paper's released code does otherwise, for ablations: "
        + "; ".join(f"{k}: {v}" for k, v in QUIRKS.items()),
    )

    def __post_init__(self) -> None:
        for name in self.quirks:
            if name not in QUIRKS:
                raise ConfigError(
                    f"Setting objective.quirks: unknown quirk {name!r}{nearest(name, QUIRKS)}: choose of {', '.join(QUIRKS)}."
                )

    @property
    def kinds(self) -> tuple[str, ...]:
        """``perturbations`` with families written out, each kind once, without those that '-name' leaves out."""
        left_out = {kind for name in self.perturbations if name.startswith("-") for kind in _written_out(name[1:])}
        named = (kind for name in self.perturbations if not name.startswith("-") for kind in _written_out(name))
        return tuple(kind for kind in dict.fromkeys(named) if kind not in left_out)


def _written_out(name: str) -> tuple[str, ...]:
    return FAMILIES.get(name, (name,))


@dataclass(frozen=True)
class TrainingConfig:
    """Optimisation of one method with one seed."""

    epochs: int = setting(8, "passes over the training studies, one image of each", low=1)
    batch_size: int = setting(32, "B, image-report pairs of a step, over all processes", low=2)
    optimizer: str = setting("adamw", "optimiser", choices=("adamw", "sgd"))
    learning_rate: float = setting(1.5e-3, "peak learning rate", low=1e-8, high=10.0)
    encoder_learning_rate_factor: float = setting(
        1.0, "learning rate of encoders that start from published weights / learning_rate", low=1e-6
    )
    freeze: tuple[str, ...] = setting((), "encoders with published weights that stay as they are: image, text")
    momentum: float = setting(0.9, "SGD's momentum", low=0.0, high=0.999)
    weight_decay: float = setting(0.05, "weight decay", low=0.0)
    warmup: float = setting(0.1, "share of the steps with a rising learning rate, then cosine", low=0.0, high=0.9)
    max_grad_norm: float = setting(1.0, "gradients are clipped to this norm", low=0.0)
    precision: str = setting("auto", "autocast; auto: bf16 on GPUs and CPUs that compute in it, float32 on others, where bf16 "
                             "is many times slower", choices=("auto", "bf16", "float32"))  # fmt: skip
    augment: bool = setting(True, "random shift, zoom, rotation and exposure of training images (never mirrored)")
    mirror: bool = setting(False, "beside each pair of a batch its mirror image, left and right exchanged in the report: only "
                           "the image tells whose report it is; twice batch_size pairs a step")  # fmt: skip
    micro_batch: int = setting(
        0,
        "pairs of a process with activations in memory at a time, with the loss of the whole batch (GradCache); 0: all",
        low=0,
    )
    shards: str = setting("", "folder of data shards, made if missing: studies come as a stream split by process; empty: "
                          "memory-mapped, in an order drawn from all studies")  # fmt: skip
    compile: bool = setting(False, "torch.compile of both encoders: minutes at the start, faster steps after")
    processes: int = setting(1, "processes of a training, one per GPU, started by it (torchrun starts its own)", low=1)
    workers: int = setting(0, "processes that load data", low=0)
    threads: int = setting(0, "CPU threads of a step, 0: all cores", low=0)
    report_to: str = setting("none", "logger", choices=("none", "tensorboard", "wandb"))

    def __post_init__(self) -> None:
        for part in self.freeze:
            if part not in ("image", "text"):
                raise ConfigError(
                    f"Setting training.freeze: unknown encoder {part!r}{nearest(part, ('image', 'text'))}: image or text."
                )

    @property
    def autocast(self) -> str:
        """``precision`` on this machine: 'bf16' or 'float32'."""
        return fast_precision() if self.precision == "auto" else self.precision


@dataclass(frozen=True)
class EvaluationConfig:
    """Scores of notebooks 02 to 05."""

    bootstrap: int = setting(1000, "resamples of a 95 % interval", low=100)
    grounding_studies: int = setting(200, "studies whose phrases are looked for in notebook 04", low=1)
    attribution_studies: int = setting(2, "studies whose word-to-region maps are drawn in 04", low=1)
    exclude_shared_reports: bool = setting(
        False, "leave test reports out of retrieval whose text also stands in training"
    )
    control_reports: int = setting(
        600, "structure benchmark: training reports that teach each model's blind constants", low=8
    )
    prompts: str = setting(
        "", "YAML file of zero-shot prompts, of the form of prdlib/evaluation/prompts.yaml; empty: those"
    )
    label_shares: tuple[float, ...] = setting(
        (0.01, 0.1, 1.0), "shares of the training patients whose labels are known"
    )
    label_subsets: int = setting(3, "draws of each share below 1", low=3)
    imagenet: bool = setting(False, "classification: a row of the same image encoder with ImageNet weights, from disk")
    fine_tuning: bool = setting(True, "fine-tune the image encoders too, which takes minutes for each")
    fine_tuning_shares: tuple[float, ...] = setting((0.01, 0.1, 1.0), "the same for fine-tuning of the image encoder")
    fine_tuning_head: str = setting(
        "auto",
        "multi-label: all labels in one head; multi-task: a head each; multi-class: with uncertain as a third class; "
        "single-label: one class of several; auto: multi-class or multi-task where CheXpert's five labels are there",
        choices=("auto", "multi-label", "multi-task", "multi-class", "single-label"),
    )
    fine_tuning_epochs: int = setting(3, "epochs of fine-tuning, of images and of sentence pairs", low=1)
    nli: str = setting("phantom", "sentence pairs", choices=("phantom", "mednli", "radnli"))
    nli_directory: str = setting("", "folder of MedNLI or RadNLI as downloaded")
    nli_training: str = setting("", "RadNLI: folder of MedNLI, to train on; empty: nothing is fine-tuned")
    nli_squares: int = setting(400, "Latin squares of nine sentence pairs that the phantom makes", low=1)

    def __post_init__(self) -> None:
        for name in ("label_shares", "fine_tuning_shares"):
            if any(not 0 < share <= 1 for share in getattr(self, name)):
                raise ConfigError(
                    f"Setting evaluation.{name} is {list(getattr(self, name))}: a share is above 0, at most 1."
                )


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run. ``methods`` x ``seeds`` are the pre-trainings of the run."""

    profile: str = setting("quick", "name of the profile")
    methods: tuple[str, ...] = setting(tuple(PAPER_METHODS), "rows of the ablation")
    seeds: tuple[int, ...] = setting((0,), "seeds of each method")
    jobs: int = setting(1, "steps of the pipeline that run at the same time", low=1)
    step_timeout: int = setting(7200, "seconds after which a step is stopped", low=1)
    expected_seconds: dict[str, float] = field(
        default_factory=dict, metadata={"help": "measured seconds of each step on 2 cores, for the progress line"}
    )
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self.profile):
            raise ConfigError(f"Profile {self.profile!r} cannot name a run's folder: use letters, digits, '-' and '_' "
                              "in the name of the .yaml file, or in the setting profile.")  # fmt: skip
        for name in self.methods:
            check_method(name)
        if any(seed < 0 for seed in self.seeds):
            raise ConfigError(f"Setting seeds is {list(self.seeds)}: a seed must be 0 or more.")
        known = {*FAMILIES, *WORD_ORDER, *CLINICAL}
        for name in self.objective.perturbations:
            if name.removeprefix("-") not in known:
                raise ConfigError(
                    f"Setting objective.perturbations: unknown perturbation {name!r}{nearest(name.removeprefix('-'), known)}."
                )
        if self.objective.copies > len(self.objective.kinds):
            raise ConfigError(
                f"Setting objective.copies is {self.objective.copies}, but objective.perturbations names only "
                f"{len(self.objective.kinds)}: lower copies or name more perturbations."
            )

    @property
    def run_id(self) -> str:
        """profile-hash; the hash covers every setting that can change a result, and the content of the data's folder."""
        return f"{self.profile}-{hash_json(self.scientific(), 8)}"

    def scientific(self) -> dict[str, Any]:
        """See :func:`prdlib.run_name.scientific`."""
        return scientific(self, self.content)

    @cached_property
    def content(self) -> str:
        """See :func:`prdlib.run_name.content_of`."""
        return content_of(self)

    def with_data(self, folder: str = "") -> RunConfig:
        """These settings with the folder of the collection, absolute: ``folder``, or else data.directory.

        A relative one is looked for below the working directory, then below the project's root.
        ConfigError when the collection has no folder, or one that does not exist, and for the phantom with one.
        """
        name, folder = self.data.name, folder or self.data.directory
        if name == "phantom":
            if folder:
                raise ConfigError(
                    f"Profile {self.profile} makes its own data, the phantom, and reads no folder: choose profile openi "
                    "(make: PROFILE=openi) for radiographs, or give no folder."
                )
            return self
        if not folder:
            raise ConfigError(f"Data {name} need their folder: --data /path/to/{name} (make: DATA=/path/to/{name}; "
                              "a notebook: its parameter data).")  # fmt: skip
        path = find_path(folder)
        if not path.is_dir() and not (name == "own_csv" and path.is_file()):
            raise ConfigError(f"Data {name} not found at {str(folder)!r}: give the folder of the collection as downloaded "
                              "(--data; make: DATA=; a notebook: its parameter data).")  # fmt: skip
        return replace(self, data=replace(self.data, directory=str(path)))

    def check_logger(self) -> None:
        """ConfigError when the logger of training.report_to is not installed."""
        logger = self.training.report_to
        if logger != "none" and find_spec(logger) is None:
            raise ConfigError(
                f"Setting training.report_to is {logger!r}, which is not installed: pip install {logger}."
            )

    def data_id(self) -> str:
        """Hash of the settings that decide the prepared data."""
        return f"{self.data.name}-{hash_json(self.scientific()['data'], 8)}"

    def for_method(self, method: str) -> RunConfig:
        """These settings with what ``method`` does not use turned off: weights of zero, reports without segments."""
        parts = METHODS[check_method(method)]
        objective = replace(
            self.objective,
            discrimination_weight=self.objective.discrimination_weight if parts.discrimination else 0.0,
            local_weight=self.objective.local_weight if parts.local else 0.0,
            segment_weight=self.objective.segment_weight if parts.segment_region else 0.0,
            discrimination=_or_auto(self.objective.discrimination, "centred") if parts.structured else "plain",
        )
        if parts.structured and self.model.segments == "none":
            raise ConfigError(
                f"Method {method} needs segments: set model.segments to report, sentence, clause, phrase or window."
            )
        segments = _or_auto(self.model.segments, "clause") if parts.structured else "none"
        model = replace(self.model, segments=segments)
        return replace(self, objective=objective, model=model)


def _or_auto(value: str, meant: str) -> str:
    return meant if value == "auto" else value


def profiles() -> list[str]:
    """Names of the profiles that come with prdlib."""
    return sorted(path.stem for path in PROFILE_FOLDER.glob("*.yaml"))


def profile_path(profile: str) -> Path:
    """The file of a profile: of a name out of :func:`profiles`, or of the path of a YAML file (see repro.find_path)."""
    own = str(profile).endswith((".yaml", ".yml"))
    return find_path(profile) if own else PROFILE_FOLDER / f"{profile}.yaml"


def load_profile(profile: str = "quick", settings: Mapping[str, Any] | None = None) -> RunConfig:
    """Read a profile and lay ``settings`` over it.

    profile: a name out of :func:`profiles`, or the path of a YAML file of the same form.
    settings: nested ({"training": {"epochs": 3}}) or dotted ({"training.epochs": 3}) keys.
    Raises ConfigError for an unknown profile or key and for a value that does not fit.
    """
    path = profile_path(profile)
    if not path.is_file():
        raise ConfigError(f"Unknown profile {profile!r}{nearest(str(profile), profiles())}: "
                          f"choose one of {', '.join(profiles())} or give the path of a .yaml file.")  # fmt: skip
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {str(error).splitlines()[0]}.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold settings (key: value), not a {type(values).__name__}.")
    values.setdefault("profile", path.stem)
    return build(RunConfig, merge(undotted(values), undotted(settings or {})))
