"""Text encoders: a small BERT from scratch, any encoder of transformers, or CXR-BERT's weights from a local folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, BertConfig, PreTrainedConfig, PreTrainedModel

from prdlib.models.image_encoder import WeightsError, read_state_dict

LAST_LAYERS = 4  # word embeddings: the sum of the last four hidden layers, as GLoRIA


def small_bert_config(layers: int, width: int, vocabulary_size: int, positions: int, dropout: float) -> BertConfig:
    """A BERT for CPUs: heads of 32 dimensions, feed-forward of 4 x ``width``."""
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


def is_cxr_bert(folder: str | Path) -> bool:
    """Whether ``folder`` holds CXR-BERT (its config asks for remote code, which is never run here)."""
    config = Path(folder) / "config.json"
    return config.is_file() and "cxr-bert" in json.loads(config.read_text()).get("model_type", "")


def read_text_config(folder_or_name: str) -> PreTrainedConfig:
    """Configuration of a published encoder: a local folder, or a hub name for users who are online."""
    folder = Path(folder_or_name).expanduser()
    if is_cxr_bert(folder):
        settings = json.loads((folder / "config.json").read_text())
        for key in ("model_type", "auto_map", "architectures", "projection_size", "transformers_version"):
            settings.pop(key, None)
        return BertConfig(**settings)
    try:
        return AutoConfig.from_pretrained(folder_or_name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"No text encoder at {folder_or_name!r}: give a folder with config.json, tokenizer and weights, or a hub name "
            f"while online ({str(error).splitlines()[0][:120]})."
        ) from error


def load_text_weights(encoder: PreTrainedModel, folder_or_name: str) -> dict[str, Any]:
    """Load published weights into ``encoder`` and say what became of every key.

    Returns {"loaded", "missing", "unexpected"} lists of names, and "projection": the state dict of CXR-BERT's
    ``cls_projection_head`` (empty elsewhere). Raises WeightsError when a tensor of the encoder is missing.
    """
    folder = Path(folder_or_name).expanduser()
    if folder.is_dir():
        file = next((folder / n for n in ("model.safetensors", "pytorch_model.bin") if (folder / n).is_file()), None)
        if file is None:
            raise WeightsError(f"{folder.name} has neither model.safetensors nor pytorch_model.bin.")
        state = read_state_dict(file)
    else:
        state = AutoModel.from_pretrained(folder_or_name, trust_remote_code=False).state_dict()
    wanted = encoder.state_dict()
    base = encoder.base_model_prefix + "."
    prefix = max((base, ""), key=lambda p: sum(p + name in state for name in wanted))
    chosen = {name: state[prefix + name] for name in wanted if prefix + name in state}
    missing = sorted(set(wanted) - set(chosen))
    if missing:
        raise WeightsError(
            f"{folder.name} lacks {len(missing)} of {len(wanted)} tensors of the text encoder, first {missing[0]!r}."
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
        return self.dense_to_output(self.LayerNorm(self.transform_act_fn(self.dense_to_hidden(states))))


def merge_pieces(states: Tensor, word_ids: Tensor, words: int) -> Tensor:
    """Sum the pieces of each word: [N, L, H] and word_ids [N, L] (-1: no word) -> [N, words, H]."""
    target = word_ids.clamp(min=-1) + 1  # slot 0 collects special tokens and padding
    merged = states.new_zeros(len(states), words + 1, states.shape[2])
    merged = merged.scatter_add(1, target[..., None].expand_as(states), states)
    return merged[:, 1:]
