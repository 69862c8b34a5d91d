"""Losses of matched pictures and captions, as pure functions of tensors.

Nobody here knows models: everything starts from a similarity matrix (B, C), the picture each
caption was drawn for, and a table of cells that must not count as negatives. The triplet loss is
GaLR's (released code, and the paper's section on training). CMPAGL describes the intra-class loss
in words; its formula and weight are our reading of them.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rsctir_hf.metrics import check_image_of_caption, check_scores

Negatives = Literal["sum", "hardest", "mean"]
IntraPositives = Literal["pairs", "all"]


def info_nce_loss(similarity: Tensor, positives: Tensor, *, scale: Tensor | float) -> Tensor:
    """Return the symmetric InfoNCE loss with targets shared by all positives.

    Each picture's target over captions, and each caption's over pictures, is uniform over its
    positives, so two equal sentences of one batch are not pushed apart. With one positive per row
    and column this is CLIP's loss.

    Args:
        similarity: (B, C) cosines.
        positives: (B, C) bool, true where the caption describes the picture.
        scale: inverse temperature, the exponential of the learned ``logit_scale``.

    Returns:
        Scalar, the mean of both directions.

    Raises:
        ValueError: wrong shapes, NaN, or a picture or caption without a positive.
    """
    _check_positives(similarity, positives)
    for dim, name in ((1, "picture"), (0, "caption")):
        lonely = (~positives.any(dim=dim)).nonzero().flatten().tolist()
        if lonely:
            raise ValueError(
                f"{name} {lonely[0]} has no positive ({len(lonely)} such). Every picture and every "
                "caption of a batch needs at least one true cell in `positives`."
            )
    logits = similarity.float() * scale
    targets = positives.to(logits.dtype)
    over_captions = F.cross_entropy(logits, targets / targets.sum(dim=1, keepdim=True))
    over_pictures = F.cross_entropy(logits.T, (targets / targets.sum(dim=0)).T)
    return (over_captions + over_pictures) / 2


def distillation_loss(
    similarity: Tensor, teacher_logits: Tensor, *, scale: Tensor | float, temperature: float
) -> Tensor:
    """Return how far the softmax over candidates is from the mean one of some teachers.

    Kullback-Leibler divergence of Hinton et al. (2015), in both directions, times the square of the
    temperature, so that gradients keep their size. Averaging the teachers' distributions, not their
    cosines, lets each keep the temperature it has learned.

    Args:
        similarity: (B, C) cosines of the student.
        teacher_logits: (K, B, C) scaled cosines of K teachers.
        scale: the student's inverse temperature.
        temperature: above 0, divides the logits of both sides; 1 leaves them as they are.

    Returns:
        Scalar, the mean of both directions.

    Raises:
        ValueError: wrong shapes, NaN, or a temperature of 0 or less.
    """
    check_scores(similarity, "similarity")
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}; expected more than 0.")
    if teacher_logits.ndim != 3 or teacher_logits.shape[1:] != similarity.shape:
        pictures, captions = similarity.shape
        raise ValueError(
            f"teacher_logits are {tuple(teacher_logits.shape)}; expected (teachers, {pictures}, "
            f"{captions}), the similarity's pictures x captions for each teacher."
        )
    logits, taught = similarity.float() * scale / temperature, teacher_logits.float() / temperature
    costs = [
        F.kl_div(logits.log_softmax(dim), taught.softmax(dim + 1).mean(0), reduction="sum")
        / logits.shape[1 - dim]
        for dim in (1, 0)
    ]
    return sum(costs, start=logits.new_zeros(())) / 2 * temperature**2


def triplet_loss(
    similarity: Tensor,
    image_of_caption: Tensor,
    positives: Tensor,
    *,
    margin: float | Tensor = 0.2,
    negatives: Negatives = "sum",
) -> Tensor:
    """Return the bidirectional triplet loss, with false negatives masked.

    The anchors are the C drawn pairs (picture of caption c, c) with similarity s_c. Each negative
    caption n of the picture and each negative picture n of the caption costs
    ``max(0, margin + s_n - s_c)``.

    Args:
        similarity: (B, C) cosines.
        image_of_caption: (C,) int64, the picture each caption was drawn for.
        positives: (B, C) bool; false cells are the negatives. The anchors' cells must be true.
        margin: distance in cosine that a negative must keep; or (B, C), one for each cell, which
            counts where the cell is the negative.
        negatives: ``sum`` adds every cost of every anchor (GaLR's released loss, whose size grows
            with the square of the batch); ``mean`` averages over each anchor's negatives, then over
            anchors; ``hardest`` takes each anchor's worst negative, then the mean over anchors
            (VSE++'s max of hinges; the mean is our choice, theirs is a sum).

    Returns:
        Scalar; both directions are added.

    Raises:
        ValueError: wrong shapes, NaN, an anchor that is not positive, or an unknown option.
    """
    _check_positives(similarity, positives)
    check_image_of_caption(image_of_caption, similarity)
    similarity = similarity.float()
    captions = torch.arange(similarity.shape[1], device=similarity.device)
    if not positives[image_of_caption, captions].all():
        raise ValueError(
            "positives is false at the cell of a caption and its own picture. Set "
            "positives[image_of_caption[c], c] for every caption c."
        )
    matched = similarity[image_of_caption, captions]  # (C,)
    raised = margin + similarity
    return _hinge_cost(
        raised[image_of_caption], matched, positives[image_of_caption], negatives
    ) + _hinge_cost(raised.T, matched, positives.T, negatives)


def intra_class_loss(
    similarity: Tensor,
    image_of_caption: Tensor,
    positives: Tensor,
    *,
    margin: float = 0.0,
    over: IntraPositives = "pairs",
) -> Tensor:
    """Return what matched pictures and captions cost for being apart: mean(max(0, d - margin)).

    Args:
        similarity: (B, C) cosines; d is 1 - cosine.
        image_of_caption: as for ``triplet_loss``.
        positives: (B, C) bool, true where the caption describes the picture.
        margin: distance below which a matched pair costs nothing.
        over: the drawn ``pairs``, or ``all`` true cells.

    Returns:
        Scalar.

    Raises:
        ValueError: wrong shapes, NaN, or an unknown option.
    """
    _check_positives(similarity, positives)
    check_image_of_caption(image_of_caption, similarity)
    if over not in ("pairs", "all"):
        raise ValueError(f"over is {over!r}; expected 'pairs' or 'all'.")
    captions = torch.arange(similarity.shape[1], device=similarity.device)
    cells = similarity[image_of_caption, captions] if over == "pairs" else similarity[positives]
    return (1 - cells.float() - margin).clamp(min=0).mean()


def matching_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of a matching head.

    Args:
        logits: (P, 2), column 1 is "these two match".
        labels: (P,) int64, 1 for a matching pair and 0 otherwise.

    Raises:
        ValueError: wrong shapes, a label that is neither 0 nor 1, or NaN logits.
    """
    if logits.ndim != 2 or logits.shape[1] != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"logits are {tuple(logits.shape)} and labels {tuple(labels.shape)}; "
            "expected (P, 2) and (P,) for P pairs."
        )
    if labels.is_floating_point() or ((labels != 0) & (labels != 1)).any():
        raise ValueError("labels must be int64, 1 for a matching pair and 0 otherwise.")
    check_scores(logits, "logits")
    return F.cross_entropy(logits.float(), labels.long())


def gated_similarity(texts: Tensor, patches: Tensor, *, temperature: float) -> Tensor:
    """Return ``reranking.text_gated`` of every text with every picture, to be trained on.

    The weights of the patches are constants, as in EERCF's code. With c_i = (1 / T + w_i) / 2 the
    pooled vector is the sum of c_i p_i, so its length comes from the patches' own products, and no
    vector (B, C, D) is made.

    Args:
        texts: (C, D) unit vectors.
        patches: (B, T, D) unit vectors.
        temperature: of the weights, above 0.

    Returns:
        (B, C) cosines.
    """
    fit = texts @ patches.transpose(1, 2)  # (B, C, T)
    weights = (fit.detach() / temperature).softmax(dim=-1)
    shares = (weights + 1 / weights.shape[-1]) / 2
    products = patches @ patches.transpose(1, 2)  # (B, T, T)
    length = ((shares @ products) * shares).sum(dim=-1).clamp(min=1e-12).sqrt()  # (B, C)
    return (shares * fit).sum(dim=-1) / length


def redundancy_loss(images: Tensor, texts: Tensor) -> Tensor:
    """Return EERCF's term against redundant dimensions: the sum of (r_d - 1)^2 over D dimensions.

    r_d is the correlation, over P matching pairs, of dimension d of both sides.

    Args:
        images: (P, D).
        texts: (P, D).

    Returns:
        Scalar; its code weighs it with 1.4e-4.

    Raises:
        ValueError: the shapes differ, or there is a single pair.
    """
    if images.shape != texts.shape or len(images) < 2:
        raise ValueError(
            f"images are {tuple(images.shape)} and texts {tuple(texts.shape)}; expected (P, D) for "
            "both, of 2 pairs or more."
        )
    centred = (each.float() - each.float().mean(dim=0) for each in (images, texts))
    left, right = (F.normalize(each, dim=0) for each in centred)
    return ((left * right).sum(dim=0) - 1).square().sum()


@torch.no_grad()
def hard_negative_indices(
    similarity: Tensor, positives: Tensor, *, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Draw one hard negative for each picture and each caption.

    A negative is drawn with probability softmax(similarity) over the cells that are not positive.
    Give scaled cosines (the logits) for a draw that prefers the hardest.

    Args:
        similarity: (B, C) cosines or logits.
        positives: (B, C) bool; true cells are never drawn.
        generator: source of randomness, on the device of ``similarity``; None for torch's own.

    Returns:
        A caption for each picture (B,) and a picture for each caption (C,), int64; -1 where
        everything is positive.

    Raises:
        ValueError: wrong shapes or NaN.
    """
    _check_positives(similarity, positives)
    return (
        _draw_negatives(similarity.float(), positives, generator),
        _draw_negatives(similarity.float().T, positives.T, generator),
    )


def _hinge_cost(raised: Tensor, matched: Tensor, positives: Tensor, negatives: Negatives) -> Tensor:
    """Reduce the hinge costs of C anchors with n candidates to a scalar.

    ``raised`` (C, n) are the candidates' scores with the margin on them.
    """
    costs = (raised - matched[:, None]).clamp(min=0).masked_fill(positives, 0.0)  # (C, n)
    if negatives == "sum":
        return costs.sum()
    if negatives == "hardest":
        return costs.amax(dim=1).mean()
    if negatives == "mean":
        return (costs.sum(dim=1) / (~positives).sum(dim=1).clamp(min=1)).mean()
    raise ValueError(f"negatives is {negatives!r}; expected 'sum', 'hardest' or 'mean'.")


def _draw_negatives(scores: Tensor, positives: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw one column for each row of scores (Q, G) outside positives; -1 for a full row."""
    full = positives.all(dim=1)  # (Q,)
    # a full row would be a softmax over nothing (NaN): let it draw anything, then overwrite
    blocked = positives & ~full[:, None]
    probabilities = scores.masked_fill(blocked, -torch.inf).softmax(dim=1)
    drawn = torch.multinomial(probabilities, 1, generator=generator).squeeze(1)  # (Q,)
    return drawn.masked_fill(full, -1)


def _check_positives(similarity: Tensor, positives: Tensor) -> None:
    check_scores(similarity, "similarity")
    if positives.shape != similarity.shape or positives.dtype != torch.bool:
        raise ValueError(
            f"positives is {positives.dtype} {tuple(positives.shape)}; expected torch.bool of the "
            f"similarity's shape {tuple(similarity.shape)} (pictures x captions)."
        )
