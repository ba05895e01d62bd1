"""One objective, all methods: L = L_itc + T L_prd + L_w L_local (method.md, 4) + L_s L_seg (prdlib.losses.segment_region).

CLIP has T = L_w = L_s = 0, GLoRIA T = L_s = 0, PRD without local L_w = L_s = 0, PRD L_s = 0. A loss of weight 0 is not computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from prdlib.losses.contrastive import image_text_contrastive
from prdlib.losses.discrimination import perturbed_report_discrimination
from prdlib.losses.local import local_attentive_contrastive
from prdlib.losses.local_pairs import Workspace
from prdlib.losses.segment_region import segment_region_contrastive


@dataclass(frozen=True)
class Objective:
    """Weights and temperatures; call it on the embeddings of a batch.

    discrimination_weight: T; local_weight: L_w; segment_weight: L_s; all >= 0. discrimination: which variant of L_prd (see
    prdlib.losses.discrimination). segment_temperature: tau of L_seg. halved_direction: of L_itc and L_local (see
    ``symmetric_cross_entropy``). The other temperatures are tau1, tau2, tau3 of L_local,
    products the type of its matrix products, workspace the memory that it keeps from step to step (see ``local_similarity``).
    """

    discrimination_weight: float = 0.0
    local_weight: float = 0.0
    attention_temperature: float = 4.0
    word_temperature: float = 5.0
    similarity_temperature: float = 10.0
    segment_weight: float = 0.0
    segment_temperature: float = 10.0
    discrimination: str = "plain"
    halved_direction: bool = False
    products: torch.dtype | None = None
    workspace: Workspace | None = field(default=None, compare=False, repr=False)

    @property
    def needs_copies(self) -> bool:
        """Whether perturbed copies must be encoded."""
        return self.discrimination_weight > 0

    @property
    def needs_words(self) -> bool:
        """Whether regions and words must be projected."""
        return self.local_weight > 0

    @property
    def needs_segments(self) -> bool:
        """Whether segments and the places of an image must be projected."""
        return self.segment_weight > 0

    @property
    def needs_prior(self) -> bool:
        """Whether the text-only expert must judge originals and copies."""
        return self.needs_copies and self.discrimination == "debiased"

    def __call__(
        self,
        image_embeds: Tensor,
        report_embeds: Tensor,
        logit_scale: Tensor,
        discrimination_scale: Tensor,
        *,
        valid: Tensor | None = None,
        region_embeds: Tensor | None = None,
        word_embeds: Tensor | None = None,
        word_mask: Tensor | None = None,
        place_embeds: Tensor | None = None,
        segment_embeds: Tensor | None = None,
        segment_mask: Tensor | None = None,
        segment_scale: Tensor | None = None,
        text_prior: Tensor | None = None,
        positives: Tensor | None = None,
        gather: Callable[[Tensor], Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """``loss`` and its parts ``contrastive``, ``discrimination``, ``local``, ``segment`` (unweighted; only those in use).

        image_embeds: [B, D]; report_embeds: [B, 1 + K, D], index 0 the original; region_embeds: [B, R, D_l];
        word_embeds: [B, W, D_l]; word_mask: [B, W] bool; valid: [B, 1 + K] bool; positives: [B, B] bool.
        place_embeds: [B, R, D_l]; segment_embeds: [B, S, D_l]; segment_mask: [B, S] bool; text_prior: [B, 1 + K].
        gather: with many processes, [B, ...] of each -> [P B, ...] of all, with gradients; positives is [P B, P B] then.
        """
        if gather:
            image_embeds, report_embeds = gather(image_embeds), gather(report_embeds)
            valid = None if valid is None else gather(valid)
            text_prior = None if text_prior is None else gather(text_prior)
        parts = {
            "contrastive": image_text_contrastive(
                image_embeds, report_embeds[:, 0], logit_scale, positives, self.halved_direction
            )
        }
        total = parts["contrastive"]
        if self.needs_copies:
            parts["discrimination"] = perturbed_report_discrimination(
                image_embeds,
                report_embeds,
                discrimination_scale,
                valid,
                centred=self.discrimination == "centred",
                text_prior=text_prior if self.needs_prior else None,
            )
            total = total + self.discrimination_weight * parts["discrimination"]
        if self.needs_words:
            parts["local"] = local_attentive_contrastive(
                region_embeds,
                word_embeds,
                word_mask,
                attention_temperature=self.attention_temperature,
                word_temperature=self.word_temperature,
                similarity_temperature=self.similarity_temperature,
                positives=positives,
                products=self.products,
                workspace=self.workspace,
                gather=gather,
                halved_direction=self.halved_direction,
            )
            total = total + self.local_weight * parts["local"]
        if self.needs_segments:
            parts["segment"] = segment_region_contrastive(
                place_embeds,
                segment_embeds,
                segment_mask,
                segment_scale,
                temperature=self.segment_temperature,
                positives=positives,
                gather=gather,
            )
            total = total + self.segment_weight * parts["segment"]
        return {"loss": total, **parts}
