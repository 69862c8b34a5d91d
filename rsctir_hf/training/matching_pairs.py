"""Pairs that a fusion encoder is trained on: true ones, and hard negatives for both sides."""

from typing import Any

import torch
from torch import Tensor

from rsctir_hf.losses import hard_negative_indices, matching_loss


def draw_pairs(
    scores: Tensor, positives: Tensor, image_of_caption: Tensor, *, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return each true pair, and the hard negatives drawn for both of its sides.

    Args:
        scores: (B, C) scaled cosines; negatives are drawn with probability softmax of them.
        positives: (B, C) cells that may not serve as negatives.
        image_of_caption: (C,) the picture each caption was drawn for.
        generator: draws the negatives.

    Returns:
        Pictures (P,), their captions (P,), and labels (P,): 1 where both belong together, else 0.
    """
    images, captions = (torch.arange(count, device=scores.device) for count in scores.shape)
    negative_captions, negative_images = hard_negative_indices(
        scores, positives, generator=generator
    )
    has_caption, has_image = negative_captions >= 0, negative_images >= 0
    pair_images = torch.cat([image_of_caption, images[has_caption], negative_images[has_image]])
    pair_captions = torch.cat([captions, negative_captions[has_caption], captions[has_image]])
    labels = (torch.arange(len(pair_images), device=scores.device) < len(captions)).long()
    return pair_images, pair_captions, labels


def fusion_loss(
    model: Any,  # noqa: ANN401 (a PairMatcher with match_logits)
    outputs: Any,  # noqa: ANN401
    attention_mask: Tensor,
    *,
    pairs: tuple[Tensor, Tensor, Tensor],
) -> Tensor:
    """Return the matching loss over pairs.

    Args:
        model: its ``match_logits`` takes text states and image tokens.
        outputs: the model's output with those of both sides.
        attention_mask: (C, T) of the captions.
        pairs: see ``draw_pairs``.
    """
    images, captions, labels = pairs
    logits = model.match_logits(
        text_states=outputs.text_model_output.last_hidden_state[captions],
        attention_mask=attention_mask[captions],
        image_tokens=outputs.vision_model_output.last_hidden_state[images],
    )  # (P, 2)
    return matching_loss(logits, labels)
