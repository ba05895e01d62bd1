"""The local loss beside a loop over reports: time and memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize

from prdlib.benchmark.measure import peak_memory, rows, take_turns
from prdlib.benchmark.plain import clean_loop, repeating_loop
from prdlib.benchmark.setup import BF16, device
from prdlib.losses import local_attentive_contrastive
from prdlib.losses.local_pairs import Workspace


def local_inputs(pairs: int, regions: int, width: int, words: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Random regions [B, R, D], words [B, W, D] of unit length and their mask; between ``words`` words a report."""
    random = torch.Generator().manual_seed(0)
    counts = torch.randint(words[0], words[1] + 1, (pairs,), generator=random)
    mask = torch.arange(int(counts.max())) < counts[:, None]
    image = torch.randn(pairs, regions, width, generator=random)
    text = normalize(torch.randn(pairs, mask.shape[1], width, generator=random), dim=-1)
    return image.to(device()).requires_grad_(), text.to(device()).requires_grad_(), mask


def with_gradient(loss: Callable[..., Tensor], inputs: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    image, text, mask = inputs
    value = loss(image, text, mask)
    return value.detach(), *torch.autograd.grad(value, [image, text])


def local_loss(repeats: int) -> pd.DataFrame:
    """Forward and backward in float32: 19 x 19 regions, D = 768, 20 to 30 words; and at the size of profile cpu."""
    table = []
    targets = {
        48: {"repeating loop": "3", "clean loop": "1.8"},
        12: {"repeating loop": "1.5", "clean loop": ""},
        64: {},
    }
    for pairs, regions, width, words in ((48, 361, 768, (20, 30)), (12, 361, 768, (20, 30)), (64, 36, 128, (35, 50))):
        inputs = local_inputs(pairs, regions, width, words)
        ours = partial(local_attentive_contrastive, workspace=Workspace())  # as in training
        versions = {"repeating loop": repeating_loop, "clean loop": clean_loop, "ours": ours,
                    "ours, bf16 products": partial(ours, products=BF16)}  # fmt: skip
        exact = with_gradient(clean_loop, inputs)
        case = f"B {pairs}, R {regions}, D {width}, {words[0]} to {words[1]} words"
        for name, version in versions.items():  # what is compared is the same loss
            errors = [
                ((a - b).norm() / b.norm()).item() for a, b in zip(with_gradient(version, inputs), exact, strict=True)
            ]
            limit = 2e-2 if "bf16" in name else 1e-4
            if max(errors) > limit:
                raise RuntimeError(f"{name} differs from the clean loop by {max(errors):.1e} at {case}")
        seconds = take_turns({n: partial(with_gradient, v, inputs) for n, v in versions.items()}, repeats)
        for name in versions:
            if name.startswith("ours"):
                for other, target in {"repeating loop": "", "clean loop": "", **targets[pairs]}.items():
                    one = rows(
                        "local loss", case, {other: seconds[other], name: seconds[name]}, {name: (other, target)}
                    )
                    table.append(one[1] | {"target": target if name == "ours" else ""})
            else:
                table += rows("local loss", case, {name: seconds[name]}, {})
    return pd.DataFrame(table)


def local_memory() -> pd.DataFrame:
    """Peak memory of the local loss, forward and backward, D = 768, 19 x 19 regions."""
    table = []
    for pairs in (48, 128, 256):
        gigabytes = peak_memory(_local_once, pairs)
        table.append({"part": "memory", "case": f"local loss, B {pairs}, R 361, D 768, inputs included", "version": "ours",
                      "gigabytes": gigabytes, "target": "4" if pairs == 256 else ""})  # fmt: skip
    return pd.DataFrame(table)


def _local_once(pairs: int) -> None:
    ours = partial(local_attentive_contrastive, workspace=Workspace())
    with_gradient(ours, local_inputs(pairs, 361, 768, (20, 30)))
