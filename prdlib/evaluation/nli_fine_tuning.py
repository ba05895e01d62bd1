"""Fine-tuning of a text encoder for natural-language inference: entailment, neutral or contradiction of two sentences.

The encoder reads the sentences one at a time, and a small head reads the pair's features (u, v, |u - v|, u * v) of their states
(InferSent, Conneau et al. 2017, arXiv 1705.02364; |u - v| and u * v say in one layer where two states differ and agree). So it
fits every encoder of a PRDModel: they learn one report at a time, and those that read segments have no place for a separator.
What it scores is what a sentence's state holds. A cross-encoder, which reads both sentences as one text, scores higher on such
tasks; its published scores are no comparison.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from prdlib.config import TrainingConfig
from prdlib.data.nli import SentencePairs
from prdlib.data.phantom_pairs import LABELS
from prdlib.data.studies import DataError
from prdlib.evaluation.optimisation import learn, optimizer_and_schedule
from prdlib.models import PRDModel
from prdlib.repro import generator
from prdlib.text import find_breaks, normalise, tag
from prdlib.trainer import NonFiniteLoss

READS = ("pair", "hypothesis")
# learning_rate is the head's, the encoder's is 5e-5: of the rates by which BERT is fine-tuned (Devlin et al. 2019)
FINE_TUNING = TrainingConfig(
    epochs=5, batch_size=32, learning_rate=1e-3, encoder_learning_rate_factor=0.05, weight_decay=0.01
)
Marked = tuple[str, ...]


def marked_sentences(model: PRDModel, sentences: Sequence[str]) -> list[Marked]:
    """Sentences as the words that ``model`` reads, with marks where segments begin if it reads segments; each parsed once."""
    distinct = list(dict.fromkeys(sentences))
    if model.config.segments == "none":
        words = [tuple(normalise(sentence).split()) for sentence in distinct]
    else:
        words = [report.marked for report in find_breaks(tag(distinct))]
    known = dict(zip(distinct, words, strict=True))
    return [known[sentence] for sentence in sentences]


def marked_pairs(model: PRDModel, pairs: pd.DataFrame) -> tuple[list[Marked], list[Marked]]:
    """(premises, hypotheses) of a table of pairs as :func:`marked_sentences`."""
    words = marked_sentences(model, [*pairs["premise"], *pairs["hypothesis"]])
    return words[: len(pairs)], words[len(pairs) :]


def label_numbers(pairs: pd.DataFrame) -> np.ndarray:
    """The labels of pairs as positions in LABELS: int [N]."""
    return pairs["label"].map(LABELS.index).to_numpy(dtype=int)


class PairClassifier(nn.Module):
    """The text encoder of ``model`` and a head with one hidden layer.

    reads: 'pair', or 'hypothesis' for the blind control, whose head is given v alone (Poliak et al. 2018, arXiv 1805.01042).
    """

    def __init__(self, model: PRDModel, reads: str = "pair") -> None:
        super().__init__()
        if reads not in READS:
            raise ValueError(f"A classifier reads {' or '.join(READS)}, not {reads!r}.")
        width = model.text_encoder.config.hidden_size
        self.model, self.reads = model, reads
        self.head = nn.Sequential(
            nn.Linear(width * (4 if reads == "pair" else 1), width), nn.GELU(), nn.Linear(width, len(LABELS))
        ).to(model.device)

    def states(self, sentences: Sequence[Marked]) -> Tensor:
        """States [N, H] of N sentences before any projection, which is made for images; equal sentences are encoded once.

        A sentence is cut at the model's word limit, as a report is.
        """
        distinct = sorted(set(sentences), key=lambda words: (len(words), words))
        place = {words: i for i, words in enumerate(distinct)}
        pooled, _ = self.model.text_features(self.model.tokenise(distinct))
        return pooled[torch.tensor([place[words] for words in sentences], device=pooled.device)]

    def forward(self, premises: Sequence[Marked], hypotheses: Sequence[Marked]) -> Tensor:
        """Logits [N, 3] in the order of LABELS, float32, of N premises and hypotheses."""
        if self.reads == "hypothesis":
            return self.head(self.states(hypotheses)).float()
        u, v = self.states([*premises, *hypotheses]).chunk(2)
        return self.head(torch.cat([u, v, (u - v).abs(), u * v], dim=-1)).float()

    @torch.inference_mode()
    def predict(self, premises: Sequence[Marked], hypotheses: Sequence[Marked], batch_size: int = 128) -> np.ndarray:
        """The likeliest label of each pair as its position in LABELS: int [N]; in eval mode, float32."""
        self.eval()
        rows = range(0, len(premises), batch_size)
        parts = [self(premises[i : i + batch_size], hypotheses[i : i + batch_size]).argmax(dim=-1).cpu() for i in rows]
        return torch.cat(parts).numpy() if parts else np.zeros(0, dtype=int)


@dataclass(frozen=True)
class FineTuned:
    """classifier: as of the epoch chosen, in eval mode; history: epoch, loss and accuracy on validation; epoch: the one chosen,
    from 1, the first of the highest accuracy on validation."""

    classifier: PairClassifier
    history: pd.DataFrame
    epoch: int


def fine_tune(
    model: PRDModel,
    pairs: SentencePairs,
    seed: int = 0,
    reads: str = "pair",
    settings: TrainingConfig = FINE_TUNING,
    report: Callable[[str], None] | None = None,
) -> FineTuned:
    """Train a copy of ``model``'s text encoder with a new head on the training split; ``model`` itself stays as it is.

    seed: of the head's weights, dropout and the order of pairs; the state of torch's generators is left as it was. settings: of
    it are read epochs, batch_size, learning_rate (the head's), encoder_learning_rate_factor, freeze ('text': the head alone
    learns), weight_decay, warmup, max_grad_norm (0: no clipping) and precision. The epoch is chosen by accuracy on validation;
    the test split is not read. report: told one line per epoch.
    Raises DataError for a collection without training or validation pairs, ValueError for unknown ``reads``, NonFiniteLoss when
    the loss leaves the reals.
    """
    train, validation = pairs.split("train"), pairs.split("validation")
    for name, part in (("training", train), ("validation", validation)):
        if part.empty:
            raise DataError(
                f"{pairs.name} has no {name} pairs here: fine-tuning needs both (RadNLI is trained on MedNLI: "
                "load_radnli(directory, mednli=...))."
            )
    device = model.device
    (first, second), held_out = marked_pairs(model, train), marked_pairs(model, validation)
    truth, judged = label_numbers(train), label_numbers(validation)
    rows, best = [], None
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        classifier = PairClassifier(_trainable_copy(model, settings), reads)
        optimizer, schedule = optimizer_and_schedule(classifier, settings, -(-len(train) // settings.batch_size))
        for epoch in range(1, settings.epochs + 1):
            classifier.train()
            order, losses = generator(seed, epoch, "nli order").permutation(len(train)), []
            for start in range(0, len(order), settings.batch_size):
                chosen = order[start : start + settings.batch_size]
                with torch.autocast(device.type, torch.bfloat16, enabled=settings.autocast == "bf16"):
                    logits = classifier([first[i] for i in chosen], [second[i] for i in chosen])
                loss = cross_entropy(logits, torch.from_numpy(truth[chosen]).to(device))
                losses.append(learn(loss, classifier, optimizer, schedule, settings))
            mean = float(torch.stack(losses).mean())  # the device is waited for once an epoch
            if not np.isfinite(mean):
                raise NonFiniteLoss(f"The loss of fine-tuning is {mean} in epoch {epoch}: lower the learning rate.")
            accuracy = float((classifier.predict(*held_out) == judged).mean())
            if best is None or accuracy > best[0]:
                best = accuracy, epoch, _learnt(classifier)
            rows.append({"epoch": epoch, "loss": mean, "validation accuracy": accuracy})
            if report:
                report(f"{reads}, epoch {epoch}: loss {mean:.3f}, validation accuracy {accuracy:.3f}")
    classifier.load_state_dict(best[2], strict=False)
    return FineTuned(classifier.eval(), pd.DataFrame(rows), best[1])


def _trainable_copy(model: PRDModel, settings: TrainingConfig) -> PRDModel:
    """A copy in which what encodes a text may learn, and nothing else."""
    twin = copy.deepcopy(model).requires_grad_(False)
    twin.text_encoder.requires_grad_(True)
    if twin.config.segments != "none":
        twin.report_block.requires_grad_(True)
    twin.freeze(*{"image", *settings.freeze})
    return twin


def _learnt(classifier: PairClassifier) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in classifier.named_parameters() if p.requires_grad}
