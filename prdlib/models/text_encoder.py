"""Text encoders: a small BERT from scratch, any encoder of transformers, or CXR-BERT's weights from a local folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertTokenizerFast,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from prdlib.models.image_encoder import read_state_dict
from prdlib.models.published import WEIGHTS, WeightsError

LAST_LAYERS = 4  # word embeddings: the sum of the last four hidden layers, as GLoRIA


def small_bert_config(layers: int, width: int, vocabulary_size: int, positions: int, dropout: float) -> BertConfig:
    """A BERT for CPUs: heads of 32 dimensions, feed-forward of 4 x ``width``. Raises WeightsError when heads do not fit."""
    if width % 32:
        raise WeightsError(
            f"Setting model.text_width is {width}: it must be a multiple of 32, e.g. {max(32, 32 * round(width / 32))}."
        )
    return BertConfig(
        vocab_size=vocabulary_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 32),
        intermediate_size=4 * width,
        max_position_embeddings=positions,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )


def build_text_encoder(text_config: PreTrainedConfig | dict[str, Any]) -> PreTrainedModel:
    """An encoder with random weights from its configuration (without BERT's pooling layer)."""
    if isinstance(text_config, dict):
        settings = {k: v for k, v in text_config.items() if k != "model_type"}
        text_config = AutoConfig.for_model(text_config["model_type"], **settings)
    if isinstance(text_config, BertConfig):
        from transformers import BertModel

        return BertModel(text_config, add_pooling_layer=False)
    return AutoModel.from_config(text_config, trust_remote_code=False)


def max_pieces(config: PreTrainedConfig) -> int:
    """How many pieces of a report, special tokens included, an encoder has positions for."""
    positions = getattr(config, "max_position_embeddings", None) or 512
    # RoBERTa and its kin number positions from pad_token_id + 1.
    return positions - config.pad_token_id - 1 if "roberta" in config.model_type else positions


def _is_cxr_bert(settings: Mapping[str, Any]) -> bool:
    return "cxr-bert" in str(settings.get("model_type", ""))


def _settings(folder: str | Path) -> dict[str, Any]:
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise WeightsError(
            f"No config.json in {str(folder)!r} (setting model.text_encoder): copy the encoder's whole folder."
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path} is not valid JSON ({error}): download it again.") from error
    if not isinstance(values, dict):
        raise WeightsError(f"{path} holds no settings (a mapping of names to values): download it again.")
    return values


def read_text_config(folder: str | Path) -> PreTrainedConfig:
    """Configuration of a published encoder in ``folder``; CXR-BERT's, which asks for remote code, is read as BERT's.

    Raises WeightsError when config.json is missing, broken or of no encoder that transformers knows.
    """
    settings = _settings(folder)
    if _is_cxr_bert(settings):
        for key in ("model_type", "auto_map", "architectures", "projection_size", "transformers_version"):
            settings.pop(key, None)
        return BertConfig(**settings)
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:120]
        raise WeightsError(
            f"{Path(folder) / 'config.json'} describes no text encoder that can be built here ({reason}): "
            "give another as setting model.text_encoder."
        ) from error


def read_tokenizer(folder: str | Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a published encoder in ``folder``. CXR-BERT names a remote class; its vocabulary is BERT's.

    Raises WeightsError when there is none, or none that can tell which word a piece belongs to.
    """
    folder = Path(folder)
    if _is_cxr_bert(_settings(folder)) and (folder / "vocab.txt").is_file():
        return BertTokenizerFast(vocab=str(folder / "vocab.txt"), do_lower_case=True)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"No tokenizer in {str(folder)!r} that can be read without remote code: add its tokenizer.json or vocab.txt."
        ) from error
    if not tokenizer.is_fast:
        raise WeightsError(f"The tokenizer in {str(folder)!r} has no fast form: add its tokenizer.json.")
    return tokenizer


def load_text_weights(encoder: PreTrainedModel, folder: str | Path) -> dict[str, Any]:
    """Load published weights into ``encoder`` and say what became of every key.

    Returns {"loaded", "missing", "unexpected"} lists of names, and "projection": the state dict of CXR-BERT's
    ``cls_projection_head`` (empty elsewhere). Raises WeightsError when a tensor of the encoder is missing or has another shape.
    """
    folder = Path(folder)
    file = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if file is None:
        raise WeightsError(f"{str(folder)!r} has neither {' nor '.join(WEIGHTS)}: copy the encoder's whole folder.")
    state = read_state_dict(file)
    wanted = encoder.state_dict()
    base = encoder.base_model_prefix + "."
    prefix = max((base, ""), key=lambda p: sum(p + name in state for name in wanted))
    chosen = {name: state[prefix + name] for name in wanted if prefix + name in state}
    missing = sorted(set(wanted) - set(chosen))
    if missing:
        raise WeightsError(
            f"{folder.name} lacks {len(missing)} of {len(wanted)} tensors of the text encoder, first {missing[0]!r}."
        )
    wrong = [name for name in wanted if chosen[name].shape != wanted[name].shape]
    if wrong:
        raise WeightsError(
            f"{file}: {prefix + wrong[0]} is {list(chosen[wrong[0]].shape)}, config.json says {list(wanted[wrong[0]].shape)}."
        )
    encoder.load_state_dict(chosen)
    head = "cls_projection_head."
    projection = {k.removeprefix(head): v for k, v in state.items() if k.startswith(head)}
    used = {prefix + name for name in chosen} | {head + name for name in projection}
    # Old checkpoints carry the buffer position_ids, which the encoder makes itself.
    unexpected = sorted(k for k in set(state) - used if not k.endswith("position_ids"))
    return {"loaded": sorted(chosen), "missing": [], "unexpected": unexpected, "projection": projection}


class ProjectionHead(nn.Module):
    """CXR-BERT's projection (dense, GELU, LayerNorm, dense), with its names, so that its weights fit."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.dense_to_hidden = nn.Linear(width, dim)
        self.transform_act_fn = nn.GELU()
        self.LayerNorm = nn.LayerNorm(dim, eps=1e-12)
        self.dense_to_output = nn.Linear(dim, dim)

    def forward(self, states: Tensor) -> Tensor:
        """A report's state [N, H] -> [N, D], not normalised."""
        return self.dense_to_output(self.LayerNorm(self.transform_act_fn(self.dense_to_hidden(states))))


def buckets(lengths: Sequence[int], most: int = 64, least: int = 48, padding: float = 1.15) -> Iterator[slice]:
    """Rows of texts that are encoded together: neighbours in ``lengths``, which are sorted.

    At most ``most`` texts, and the longest is at most ``padding`` times the shortest once there are ``least``; so a long text
    makes few others longer. On a CPU smaller buckets cost more than they save, larger ones save nothing.
    """
    start = 0
    for row in range(1, len(lengths) + 1):
        size = row - start
        if row == len(lengths) or size == most or (size >= least and lengths[row] > padding * lengths[start]):
            yield slice(start, row)
            start = row


def merge_pieces(states: Tensor, word_ids: Tensor, words: int) -> Tensor:
    """Sum the pieces of each word: [N, L, H] and word_ids [N, L] (-1: no word) -> [N, words, H]."""
    target = word_ids.clamp(min=-1) + 1  # slot 0 collects special tokens and padding
    merged = states.new_zeros(len(states), words + 1, states.shape[2])
    merged = merged.scatter_add(1, target[..., None].expand_as(states), states)
    return merged[:, 1:]
