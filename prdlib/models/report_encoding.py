"""How a PRDModel reads: strings or words -> tokens -> states of pieces, segments and reports -> embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from prdlib.models.prd_config import PRDConfig
from prdlib.models.published import WeightsError
from prdlib.models.segment_encoder import ReportBlock, SegmentRegionHead, words_of_reports
from prdlib.models.text_encoder import LAST_LAYERS, merge_pieces
from prdlib.text import WordTokenizer, find_breaks, first_words, normalise, plain, segment, tag
from prdlib.text.tokenization import padded_index


class ReportEncoding:
    """The half of :class:`prdlib.models.PRDModel` that reads reports; the parts it names are the model's."""

    config: PRDConfig
    device: torch.device
    text_encoder: nn.Module
    text_projection: nn.Module
    word_projection: nn.Module
    report_block: ReportBlock
    segment_head: SegmentRegionHead
    word_tokenizer: WordTokenizer | None

    def tokenise(self, reports: Sequence[str | Sequence[str]]) -> dict[str, Tensor]:
        """Strings (normalised here), or sequences of normalised words, as input_ids, attention_mask, word_ids [N, L].

        With segments: those of the U distinct segments, [U, L], and segment_index [N, S], the segments of each report (-1: none).

        Raises TypeError for a single string and for what is neither text nor words, ValueError when there is no report.
        """
        if self.word_tokenizer is None:
            raise WeightsError("The model has no tokenizer: load it with PRDModel.from_pretrained from a whole folder.")
        if isinstance(reports, str):
            raise TypeError("reports is a single string: give a list of reports, e.g. [report].")
        reports = list(reports)
        if not reports:
            raise ValueError("No reports: give a list of at least one.")
        for i, report in enumerate(reports):
            if not isinstance(report, str | Sequence | np.ndarray) or not all(isinstance(word, str) for word in report):
                raise TypeError(
                    f"Report {i} is {type(report).__name__}, not text or a list of words: leave it out or fill it."
                )
        limit = self.config.word_limit
        structured = self.config.segments != "none"
        words = [_marked(r, structured) if isinstance(r, str) else tuple(r) for r in reports]
        words = [first_words(row, limit) for row in words]
        empty = next((i for i, row in enumerate(words) if not plain(row)), None)
        if empty is not None:
            raise ValueError(f"Report {empty} has no words: leave it out.")
        if structured:
            parts = [segment(row, self.config.segments, self.config.segment_window) for row in words]
            distinct = sorted({part for row in parts for part in row}, key=lambda part: (len(part), part))
        else:
            distinct = [plain(row) for row in words]
        batch = self.word_tokenizer.pad([self.word_tokenizer.encode(w) for w in distinct])
        if structured:
            batch["segment_index"] = padded_index(parts, {part: i for i, part in enumerate(distinct)})
        return {name: tensor.to(self.device) for name, tensor in batch.items()}

    def text_features(self, tokens: Mapping[str, Tensor], words: bool = False) -> tuple[Tensor, Tensor | None]:
        """(a report's state [N, H], sum of the last four layers [N, L, H] if ``words``), before the projections.

        A report's state is the mean of the last layer over its pieces, or the first token's: ``config.text_pooling``. With
        segments that is a segment's state, the report's is the class token's after ``report_block``, and the second [U, L, H].
        """
        pooled, states = self.sequence_features(tokens, words)
        if self.config.segments != "none":
            if "segment_index" not in tokens:
                raise ValueError("This model reads segments: give tokens with segment_index, as tokenise makes them.")
            pooled = self.report_states(pooled, tokens["segment_index"])
        return pooled, states

    def report_states(self, segments: Tensor, segment_index: Tensor) -> Tensor:
        """Segment states [U, H] and the segments of each text [T, S] -> [T, H]."""
        return self.report_block(segments[segment_index.clamp(min=0)], segment_index >= 0)

    def sequence_features(self, tokens: Mapping[str, Tensor], words: bool) -> tuple[Tensor, Tensor | None]:
        """The same for what the text encoder sees at once: whole reports, or segments."""
        attended = tokens["attention_mask"]
        if (
            self.text_encoder.config._attn_implementation == "sdpa"
        ):  # given whole, else transformers asks whether all are 1
            attended = attended.bool()[:, None, None].expand(-1, 1, attended.shape[1], -1)
        if self.config.distance_bias:
            attended = self._near(tokens["attention_mask"].bool())
        output = self.text_encoder(input_ids=tokens["input_ids"], attention_mask=attended, output_hidden_states=words)
        states = None
        if words:
            layers = output.hidden_states[1:][-LAST_LAYERS:]
            states = sum(layers[1:], layers[0])
        if self.config.text_pooling == "first":
            return output.last_hidden_state[:, 0], states
        mask = tokens["attention_mask"][..., None].float()
        return (output.last_hidden_state.float() * mask).sum(dim=1) / mask.sum(dim=1), states

    def _near(self, attended: Tensor) -> Tensor:
        """What is added to the attention of pieces, float [N, 1, L, L]: less for what stands further away, nothing of padding.

        As ALiBi (Press et al. 2022, arXiv 2108.12409) with one slope, to both sides.
        """
        place = torch.arange(attended.shape[1], device=attended.device)
        bias = -self.config.distance_bias * (place[:, None] - place).abs().float()
        return bias.masked_fill(~attended[:, None, None], torch.finfo(torch.float32).min)

    def encode_reports(self, reports: Sequence[str | Sequence[str]] | Mapping[str, Tensor]) -> Tensor:
        """report_embeds [N, D], L2-normalised, float32. reports: strings, word lists, or tokens of :meth:`tokenise`."""
        tokens = reports if isinstance(reports, Mapping) else self.tokenise(reports)
        pooled, _ = self.text_features(tokens)
        return normalize(self.text_projection(pooled).float(), dim=-1)

    def encode_words(self, reports: Sequence[str | Sequence[str]] | Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(word_embeds [N, W, D_l], L2-normalised; word_mask [N, W] bool). Pieces of a word are summed."""
        tokens = reports if isinstance(reports, Mapping) else self.tokenise(reports)
        _, states = self.sequence_features(tokens, words=True)
        word_ids = tokens["word_ids"]
        if self.config.segments != "none":
            states, word_ids = words_of_reports(states, word_ids, tokens["segment_index"])
        return self.project_words(states, word_ids)

    def encode_segments(self, reports: Sequence[str | Sequence[str]] | Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(segment_embeds [N, S, D_l], L2-normalised; segment_mask [N, S] bool): what is looked for in images.

        Raises ValueError for a model without the segment-region head.
        """
        self._needs_segment_head()
        tokens = reports if isinstance(reports, Mapping) else self.tokenise(reports)
        states, _ = self.sequence_features(tokens, words=False)
        index = tokens["segment_index"]
        return self.segment_head.segments(states)[index.clamp(min=0)], index >= 0

    def _needs_segment_head(self) -> None:
        if not self.config.segment_regions:
            raise ValueError("This model has no segment-region head: train method grounded or grounded_prd.")

    def project_words(self, states: Tensor, word_ids: Tensor, words: int | None = None) -> tuple[Tensor, Tensor]:
        """States [N, L, H] and word_ids [N, L] -> (word_embeds [N, W, D_l], word_mask [N, W]); W = ``words`` or the longest."""
        words = int(word_ids.max()) + 1 if words is None else words
        merged = merge_pieces(states, word_ids, words)
        counts = torch.zeros(len(word_ids), words + 1, device=word_ids.device, dtype=torch.long)
        counts.scatter_add_(1, word_ids.clamp(min=-1) + 1, torch.ones_like(word_ids))
        return normalize(self.word_projection(merged).float(), dim=-1), counts[:, 1:] > 0


def _marked(report: str, structured: bool) -> tuple[str, ...]:
    """The words of a string, with marks where the parser finds segments if the model reads them."""
    if not structured:
        return tuple(normalise(report).split())
    return find_breaks(tag([report]))[0].marked
