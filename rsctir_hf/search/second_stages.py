"""The second stages over a whole data set: its best pairs are judged again, in both directions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from rsctir_hf.data.collator import picture_source, without_decoding
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.files.pictures import read_image
from rsctir_hf.search.fine import fine_order, fine_scores
from rsctir_hf.search.matcher import MATCH_TOP_K, image_states, pair_probabilities
from rsctir_hf.vector_index.patches import PatchPart

Rows = Sequence[Mapping[str, Any]]
Scores = tuple[Tensor, Tensor]


class ComparedRows(Protocol):
    """What a second stage needs of the first: see ``evaluation.SimilarityData``."""

    @property
    def caption_ids(self) -> Tensor:
        """The distinct sentence of each caption (C,)."""

    @property
    def distinct_captions(self) -> Sequence[str]:
        """The U distinct sentences."""

    @property
    def text_vectors(self) -> Tensor:
        """Their vectors (U, D)."""

    @property
    def image_vectors(self) -> Tensor:
        """Those of the pictures (B, D)."""

    @property
    def distinct_scores(self) -> Tensor:
        """What the first stage compares by (B, U)."""


def match_probabilities(
    encoder: Encoder, dataset: Rows, *, data: ComparedRows, top_k: int = MATCH_TOP_K
) -> Scores:
    """Judge the ``top_k`` distinct captions of each picture and pictures of each caption.

    Returns:
        Probabilities for image-to-text and text-to-image, (B, C) each, 0 outside the top k.
    """
    # One batch of decoded pictures at a time is in memory.
    rows = without_decoding(dataset)
    states = image_states(encoder, (read_image(picture_source(row["image"])) for row in rows))
    distinct = data.image_vectors @ data.text_vectors.T  # (B, U)
    images, sentences = distinct.shape
    captions_of = distinct.topk(min(top_k, sentences), dim=1).indices  # (B, K)
    images_of = distinct.topk(min(top_k, images), dim=0).indices  # (K, U)
    i2t = torch.zeros_like(distinct, dtype=torch.bool).scatter_(1, captions_of, True)
    t2i = torch.zeros_like(distinct, dtype=torch.bool).scatter_(0, images_of, True)
    pairs = (i2t | t2i).nonzero()  # (P, 2)
    judged = torch.zeros_like(distinct)
    judged[pairs[:, 0], pairs[:, 1]] = pair_probabilities(
        encoder, states, data.distinct_captions, pairs=pairs
    )
    return (judged * i2t)[:, data.caption_ids], (judged * t2i)[:, data.caption_ids]


def fine_matrices(encoder: Encoder, dataset: Rows, *, data: ComparedRows) -> Scores:
    """Compare the best of each query again by their patches, as an index keeps these.

    Returns:
        Scores for image-to-text and text-to-image, (B, C) each.

    Raises:
        UnsupportedError: the model has no patches.
    """
    coarse = data.distinct_scores  # (B, U)
    mixed = torch.zeros_like(coarse)
    pictures = (read_image(picture_source(row["image"])) for row in without_decoding(dataset))
    done = 0
    for batch in encoder.patch_batches(pictures):
        stored = PatchPart.of(data.image_vectors[done : done + len(batch.vectors)], batch.vectors)
        for each in range(len(batch.vectors)):
            patches = stored.rows(torch.tensor([each]))[0]  # (T, D)
            mixed[done] = fine_scores(coarse[done], data.text_vectors, patches)
            done += 1
    i2t, t2i = fine_order(coarse, mixed), fine_order(coarse.T, mixed.T).T
    return i2t[:, data.caption_ids], t2i[:, data.caption_ids]


#: What judges the best pairs of a data set, by the rerank that it is the second stage of.
SECOND_STAGES: dict[str, Callable[..., Scores]] = {
    "match": match_probabilities,
    "fine": fine_matrices,
}


def two_stage_scores(similarity: Tensor, probabilities: Scores, *, weight: float) -> Scores:
    """Return cosine + weight * probability for both directions, (B, C) each.

    A probability is never negative, so with ``weight >= 0`` the judged top k stay ahead.
    """
    return similarity + weight * probabilities[0], similarity + weight * probabilities[1]
