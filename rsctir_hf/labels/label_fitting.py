"""Fit a label head on vectors of labelled pictures: seconds on a CPU; the towers stay the same."""

import copy
from dataclasses import replace

import torch
from torch import Tensor

from rsctir_hf.data.label_sets import LabelledPictures
from rsctir_hf.embedding.provenance import Provenance
from rsctir_hf.errors import DataLayoutError
from rsctir_hf.labels.code_network import LabelCodeLoss, LabelCoder, TermWeights
from rsctir_hf.labels.expression import any_spelling
from rsctir_hf.labels.label_head import LabelHead
from rsctir_hf.labels.label_scores import LabelScores, asking_pairs, by_head, score_labels

EPOCHS, BATCH, LEARNING_RATE, DECAY = 40, 64, 3e-3, 1e-2
HELD_OUT = 0.1  # of the pictures where nobody names a validation split
LEAST_PICTURES = 10  # to fit on, those that are held out included


def fit_label_head(
    pictures: LabelledPictures,
    vectors: Tensor,
    *,
    made_by: Provenance,
    validation: tuple[LabelledPictures, Tensor] | None = None,
    seed: int = 0,
    weights: TermWeights | None = None,
) -> LabelHead:
    """Fit a head; the epoch with the best mean of validation mAP of labels and pairs is kept.

    Args:
        pictures: B labelled pictures.
        vectors: (B, D) unit vectors of them.
        made_by: what made the vectors.
        validation: others with their vectors; None: a tenth of the pictures is held out.
        seed: of weights, batches and what is held out.
        weights: of the terms of the loss.

    Raises:
        DataLayoutError: too few pictures or labels, or two labels that are spelt alike.
    """
    check_labels(pictures)
    draw = torch.Generator().manual_seed(seed)
    if validation is None:
        order = torch.randperm(len(vectors), generator=draw)
        held, rest = order.split([n := max(1, int(HELD_OUT * len(order))), len(order) - n])
        validation = pictures.at(held.tolist()), vectors[held]
        pictures, vectors = pictures.at(rest.tolist()), vectors[rest]
    shown = pictures.shown.float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        loss = LabelCodeLoss(LabelCoder(vectors.shape[1], len(pictures.labels)), weights)
    optimizer = torch.optim.AdamW(loss.parameters(), lr=LEARNING_RATE, weight_decay=DECAY)
    best = head = LabelHead(pictures.labels, loss.coder, made_by)
    reached = -1.0
    for epoch in range(1, EPOCHS + 1):
        for rows in torch.randperm(len(vectors), generator=draw).split(BATCH):
            optimizer.zero_grad()
            loss(vectors[rows], shown[rows]).backward()
            optimizer.step()
        scores = head_scores(head, *validation)
        if scores.mean >= reached:
            reached = scores.mean
            said: dict[str, float] = {"pictures": len(vectors), "epochs": epoch, "seed": seed}
            said |= {"validation_pictures": len(validation[1])} | dict(scores.metrics)
            best = replace(head, coder=copy.deepcopy(loss.coder), learnt_from=said)
    return best


def head_scores(head: LabelHead, pictures: LabelledPictures, vectors: Tensor) -> LabelScores:
    """Return what a head reaches on labelled pictures with their vectors (B, D)."""
    pairs = asking_pairs(pictures.shown)
    scores = by_head(head, pictures.labels, pairs, vectors)
    return score_labels(*scores, shown=pictures.shown, labels=pictures.labels)


def check_labels(pictures: LabelledPictures) -> None:
    """Refuse pictures that nothing can be learnt from.

    Raises:
        DataLayoutError: too few pictures or labels, or two labels that are spelt alike.
    """
    if len(pictures.files) < LEAST_PICTURES:
        raise DataLayoutError(
            f"There are {len(pictures.files)} labelled pictures; expected {LEAST_PICTURES} or more."
        )
    counts = pictures.shown.sum(dim=0)
    if not ((counts > 0) & (counts < len(pictures.shown))).any():
        raise DataLayoutError(
            f"All pictures have the same labels, {', '.join(pictures.labels)}: nothing tells them "
            "apart. Add pictures that lack some."
        )
    spelt: dict[str, str] = {}
    for label in pictures.labels:
        if (other := spelt.setdefault(any_spelling(label), label)) != label:
            raise DataLayoutError(
                f"The labels {other!r} and {label!r} are spelt alike. Give both one name."
            )
