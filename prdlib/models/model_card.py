"""The model card that ``save_pretrained`` writes beside the weights."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig

CARD = """---
library_name: prdlib
license: apache-2.0
tags: [radiology, chest-x-ray, vision-language, contrastive-learning]
---
# PRD model ({method}, seed {seed})

A dual encoder of chest radiographs and reports, pre-trained with prdlib (perturbed report discrimination, arXiv 2506.01902).

| | |
|---|---|
| image encoder | {image_encoder}, {image_size} x {image_size} px, grey |
| text encoder | {text_type}, {text_layers} layers of width {text_width}, {text_pooling}, first {word_limit} words |
| shared spaces | global {projection_dim}, region-word {local_dim} |
| training data | {data} |
| method | {method}: {weights} |

```python
from prdlib.models import PRDModel

model = PRDModel.from_pretrained("this-folder").eval()
similarity = model.encode_images([image]) @ model.encode_reports(["Small left pleural effusion."]).T  # image: uint8 [H, W]
```

Research only: not a clinical device, not validated for any clinical use. Weights inherit the terms of the data and of the
encoders they were trained from. A score of this model counts only beside its blind control (the mean image instead of the
image).
"""


def model_card(config: Any) -> str:
    """The card as Markdown, from a PRDConfig (its ``training`` says how the weights came about)."""
    training = config.training
    text = AutoConfig.for_model(**config.text_encoder)  # it knows an encoder's own names of its sizes
    weights = training.get("objective", {})
    return CARD.format(
        method=training.get("method", "untrained"),
        seed=training.get("seed", "-"),
        data=training.get("data", "none: random weights, or those of the encoders it was built from"),
        weights=", ".join(f"{name} {value:g}" for name, value in weights.items()) or "-",
        image_encoder=config.image_encoder,
        image_size=config.image_size,
        text_type=text.model_type,
        text_pooling={"mean": "mean of the pieces", "first": "first token"}[config.text_pooling],
        text_layers=text.num_hidden_layers,
        text_width=text.hidden_size,
        word_limit=config.word_limit,
        projection_dim=config.projection_dim,
        local_dim=config.local_dim,
    )
