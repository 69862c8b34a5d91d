"""The one evaluation harness: an encoder and a captioned data set in, a report out.

Works with any dual encoder and any sequence of rows ``{"image": picture, "captions": [str, ...]}``.
Each distinct caption is embedded once and its column copied, so equal captions have exactly equal
scores; recall is the expected value under a random order of ties (``metrics``).
"""

import json
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib.metadata import Distribution
from itertools import islice
from typing import Any, Unpack

import torch
from torch import Tensor

from rsctir_hf.data.caption_similarity import caption_similarity
from rsctir_hf.data.collator import picture_source, without_decoding
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.roles import BatchOptions, PictureSource
from rsctir_hf.errors import DataLayoutError, ImageReadError
from rsctir_hf.files.sentences import normalise_caption
from rsctir_hf.metrics import (
    GRADED_AT,
    bootstrap_interval,
    directional_metrics,
    graded_ndcg,
    recall_by_picture,
)
from rsctir_hf.regions.proposer import DetectorRecord
from rsctir_hf.reranking import SMR_TEMPERATURE, multivariate_rerank, smr
from rsctir_hf.search.caption_bank import CaptionBank
from rsctir_hf.search.matcher import match_weight, require_matcher
from rsctir_hf.search.other_queries import (
    OtherQueries,
    bank_queries,
    check_rerank,
    smr_temperature,
)
from rsctir_hf.search.second_stages import SECOND_STAGES, Scores, two_stage_scores

#: What validation chooses from (``training.report``); a weight of 0 would mean "never chosen".
SMR_TEMPERATURES = (0.02, 0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.3)
MATCH_WEIGHTS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
LIBRARIES = ("torch", "torchvision", "transformers", "timm", "datasets", "numpy", "rsctir_hf")

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class SimilarityData:
    """The similarity matrix of a data set and what its columns mean.

    Attributes:
        similarity: (B, C) cosine of every picture and caption, or what the model has for it.
        image_of_caption: (C,) int64, the picture each caption was written for.
        caption_ids: (C,) int64, the distinct sentence of each caption.
        captions: the C captions.
        distinct_captions: the U distinct sentences as ``sentences.normalise_caption`` compares
            them, in order of first appearance and each in its first spelling.
        text_vectors: (U, D) unit vectors of the distinct sentences.
        image_vectors: (B, D) unit vectors of the pictures.
        symmetries: views of each picture that its vector averages, 1 or 8.
        regions: ``model``, ``none`` or a detector's name.
        detector: what identifies that detector, else None.
    """

    similarity: Tensor
    image_of_caption: Tensor
    caption_ids: Tensor
    captions: tuple[str, ...]
    distinct_captions: tuple[str, ...]
    text_vectors: Tensor
    image_vectors: Tensor
    symmetries: int
    regions: str
    detector: DetectorRecord | None = None

    @cached_property
    def gains(self) -> Tensor:
        """How alike (B, C), 0..1, each caption is to those of each picture, in words."""
        owned: list[list[str]] = [[] for _ in self.similarity]
        for caption, owner in zip(self.captions, self.image_of_caption.tolist(), strict=True):
            owned[owner].append(caption)
        return caption_similarity(self.distinct_captions, owned)[:, self.caption_ids]

    @property
    def distinct_scores(self) -> Tensor:
        """The columns (B, U) of ``similarity`` of the distinct sentences."""
        column = torch.zeros(len(self.distinct_captions), dtype=torch.int64)
        column[self.caption_ids] = torch.arange(len(self.caption_ids))
        return self.similarity[:, column]


@dataclass(frozen=True)
class RetrievalReport:
    """What an evaluation found; metrics are percent, keys ``i2t_R@1 ... t2i_R@10, mR``.

    Attributes:
        metrics: expected value under a random order of ties; rerank over all queries at once.
        metrics_stable: the same scores with ties broken by position (stable argsort).
        caption_aware: any picture that carries the very same sentence counts as found.
        bank_metrics: as in a live search; None without a bank. Only the ``t2i`` cells are made
            with the caption bank: each caption query is alone and the bank stands in for the other
            queries. The ``i2t`` cells are those of ``metrics`` unchanged, because the other
            queries of a picture are the gallery's pictures in a live search too; ``mR`` is the mean
            of both kinds.
        graded: nDCG@10 of both directions in percent, with the likeness of captions in words as
            the gain (``data.caption_similarity``): a hit that is nearly right counts nearly.
        rerank: ``none``, ``smr``, ``mr``, ``match`` or ``fine``.
        symmetries: views of each picture whose vectors were averaged, 1 or 8.
        temperature: of SMR; None otherwise.
        match_weight: of the two-stage score; None otherwise.
        images: number of pictures B.
        captions: number of captions C.
        distinct_captions: number of distinct sentences.
        bank_size: sentences of the bank, 0 without one.
        regions: ``model``, ``none`` or a detector's name.
        detector: what identifies that detector, else None.
        image_size: side of the model's input in pixels, where the configuration says.
        interval: 95 % bootstrap interval of mR over pictures; what it leaves out is said in
            ``metrics.bootstrap_interval``.
        caption_counts: B numbers of captions, the weights of the t2i columns below.
        per_image: B rows of 6 percentages, what each picture contributes to the six cells
            (``metrics.recall_by_picture``), two decimals.
        model: id or folder.
        model_revision: commit on the Hub or fingerprint of the weights.
        data: what was evaluated on.
        split: which part of it.
        seed: of the run that made the model or drew at random; None where nothing was drawn.
        versions: library versions.
    """

    metrics: dict[str, float]
    metrics_stable: dict[str, float]
    caption_aware: dict[str, float]
    bank_metrics: dict[str, float] | None
    graded: dict[str, float]
    rerank: str
    symmetries: int
    temperature: float | None
    match_weight: float | None
    images: int
    captions: int
    distinct_captions: int
    bank_size: int
    regions: str
    detector: DetectorRecord | None
    image_size: int | None
    interval: tuple[float, float]
    caption_counts: list[int]
    per_image: list[list[float]]
    model: str = ""
    model_revision: str | None = None
    data: str = ""
    split: str = ""
    seed: int | None = None
    versions: dict[str, str] | None = None

    def with_source(self, **names: str | int | None) -> "RetrievalReport":
        """Return a copy that also says model, model_revision, data, split and seed."""
        return replace(self, **names)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready mapping: the metrics themselves on top, the long table last."""
        fields = asdict(self)
        per_image = fields.pop("per_image")
        return {**fields.pop("metrics"), **fields, "per_image": per_image}


def results_json(results: Mapping[str, Any]) -> str:
    """Return the text of a results file: indented JSON, but each list of numbers on one line."""
    text = json.dumps(results, indent=2)
    # A line break cannot stand within a JSON string, so only lists of plain values match.
    flat = re.compile(r"\[\n[^\[\]{}\"]*\]")
    return flat.sub(lambda found: f"[{' '.join(found[0][1:-1].split())}]", text) + "\n"


def evaluate_retrieval(
    encoder: Encoder,
    dataset: Rows,
    *,
    rerank: str = "none",
    temperature: float | None = None,
    bank: Sequence[str] | None = None,
    symmetries: int = 1,
    **options: Unpack[BatchOptions],
) -> RetrievalReport:
    """Score a dual encoder on a captioned data set in both directions.

    Args:
        encoder: its model's training mode is restored afterwards.
        dataset: B rows with ``image`` and ``captions``.
        rerank: ``none``, ``smr`` (our reading), ``mr``, or with two stages ``match`` or ``fine``.
        temperature: of SMR; default ``config.smr_temperature``.
        bank: sentences for the live form of SMR and MR; the query's own sentence is left out.
        symmetries: 1, or 8 to average the vectors of each picture's turned and mirrored views
            (``Encoder.images``). A second stage takes its candidates from those vectors and
            judges each pair on the picture as it is.
        options: see ``BatchOptions``.

    Raises:
        QueryError: unknown ``rerank`` or number of ``symmetries``.
        UnsupportedError: ``rerank="match"`` with a model that cannot judge pairs, or ``fine`` with
            one that has no patches.
        ImageReadError: a picture cannot be read.
        DataLayoutError: no rows, or a row without captions.
    """
    check_rerank(rerank)
    smr_temperature(encoder.model, temperature)  # refused before all the work
    if rerank == "match":
        require_matcher(encoder.model)
    data = similarity_matrix(encoder, dataset, symmetries=symmetries, **options)
    second = SECOND_STAGES.get(rerank)
    return report_on(
        data,
        encoder,
        rerank=rerank,
        temperature=temperature,
        bank=CaptionBank(bank) if bank else None,
        judged=None if second is None else second(encoder, dataset, data=data),
    )


def report_on(
    data: SimilarityData,
    encoder: Encoder,
    *,
    rerank: str = "none",
    temperature: float | None = None,
    bank: CaptionBank | None = None,
    judged: Scores | None = None,
) -> RetrievalReport:
    """Report on a data set that has been embedded already.

    Args:
        data: what ``similarity_matrix`` returned.
        encoder: what embedded it.
        rerank: as for ``evaluate_retrieval``.
        temperature: likewise.
        bank: likewise.
        judged: what the rerank's function in ``SECOND_STAGES`` returned, where it has one.

    Raises:
        QueryError: no such rerank.
        ValueError: ``judged`` is missing, or given for a rerank of one stage.
    """
    check_rerank(rerank)
    if (rerank in SECOND_STAGES) != (judged is not None):
        raise ValueError(
            f"rerank is {rerank!r}; judged goes with {' and '.join(SECOND_STAGES)}, and with "
            "nothing else."
        )
    tau = smr_temperature(encoder.model, temperature) if rerank == "smr" else None
    weight, scores = None, (data.similarity, data.similarity)
    if judged is not None and rerank == "match":
        weight = match_weight(encoder.model)
        scores = two_stage_scores(data.similarity, judged, weight=weight)
    elif judged is not None:
        scores = judged
    elif tau is not None:
        scores = smr(data.similarity, temperature=tau)
    elif rerank == "mr":
        scores = multivariate_rerank(data.similarity)
    banked = None
    if bank is not None and rerank in ("smr", "mr"):
        others = bank_queries(encoder, bank.vectors(encoder), data.image_vectors)
        t2i = _alone(data, bank, others, rerank=rerank, temperature=tau)
        banked = directional_metrics(scores[0], t2i, data.image_of_caption)
    owners = data.image_of_caption
    caption_counts = owners.bincount()  # (B,)
    # Rounded first, so that the interval can be remade from the report to the last digit.
    per_image = recall_by_picture(*scores, owners).round(decimals=2)  # (B, 6)
    return RetrievalReport(
        metrics=directional_metrics(*scores, owners),
        metrics_stable=directional_metrics(*scores, owners, ties="stable"),
        caption_aware=directional_metrics(*scores, owners, caption_ids=data.caption_ids),
        bank_metrics=banked,
        graded=graded_metrics(*scores, data.gains),
        rerank=rerank,
        symmetries=data.symmetries,
        temperature=tau,
        match_weight=weight,
        images=len(data.similarity),
        captions=len(data.captions),
        distinct_captions=len(data.distinct_captions),
        bank_size=len(bank.sentences) if banked and bank is not None else 0,
        regions=data.regions,
        detector=data.detector,
        image_size=encoder.input_side,
        interval=bootstrap_interval(per_image, caption_counts),
        caption_counts=caption_counts.tolist(),
        per_image=per_image.tolist(),
        versions=library_versions(),
    )


def graded_metrics(i2t: Tensor, t2i: Tensor, gains: Tensor) -> dict[str, float]:
    """Return nDCG of scores (B, C) with graded relevance (B, C), by direction."""
    name = f"nDCG@{GRADED_AT}"
    return {f"i2t_{name}": graded_ndcg(i2t, gains), f"t2i_{name}": graded_ndcg(t2i.T, gains.T)}


def similarity_matrix(
    encoder: Encoder, dataset: Rows, *, symmetries: int = 1, **options: Unpack[BatchOptions]
) -> SimilarityData:
    """Embed a data set once and compare every picture with every caption.

    The arguments are those of ``evaluate_retrieval``.

    Raises:
        QueryError: ``symmetries`` is neither 1 nor 8.
        ImageReadError: a picture cannot be read, or the detector cannot look at it.
        DataLayoutError: no rows, or a row without captions.
    """
    captions: list[list[str]] = []
    dataset, total = without_decoding(dataset), len(dataset)
    if progress := options.get("progress"):
        options["progress"] = lambda done, _: progress(done, total)
    embedded = encoder.images(_pictures(dataset, captions), symmetries=symmetries, **options)
    if embedded.skipped:
        first = embedded.skipped[0]
        raise ImageReadError(
            f"{len(embedded.skipped)} of {total} pictures cannot be embedded; first {first.path}: "
            f"{first.reason} An evaluation needs them all."
        )
    if not captions or not all(captions):
        raise DataLayoutError(
            f"An evaluation needs rows with at least one caption each; got {len(captions)} rows, "
            f"{sum(not row for row in captions)} of them without captions."
        )
    flat = [caption for row in captions for caption in row]
    distinct_captions: dict[str, str] = {}  # key of the sentence -> its first spelling
    for caption in flat:
        distinct_captions.setdefault(normalise_caption(caption), caption)
    ids = {key: number for number, key in enumerate(distinct_captions)}
    caption_ids = torch.tensor([ids[normalise_caption(caption)] for caption in flat])
    counts = torch.tensor([len(row) for row in captions])
    text_vectors = encoder.texts(list(distinct_captions.values()))
    distinct = encoder.compare(embedded.vectors, text_vectors)  # (B, U)
    return SimilarityData(
        similarity=distinct[:, caption_ids],  # (B, C)
        image_of_caption=torch.arange(len(captions)).repeat_interleave(counts),
        caption_ids=caption_ids,
        captions=tuple(flat),
        distinct_captions=tuple(distinct_captions.values()),
        text_vectors=text_vectors,
        image_vectors=embedded.vectors,
        symmetries=symmetries,
        regions=encoder.region_source.name,
        detector=encoder.region_source.detector,
    )


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that decide a number.

    A library without package metadata (this one, run from a bare checkout) is left out.
    """
    installed = {
        library: found.version
        for library in LIBRARIES
        for found in islice(Distribution.discover(name=library), 1)
    }
    return {"python": platform.python_version(), **installed}


def _pictures(dataset: Rows, captions: list[list[str]]) -> Iterator[PictureSource]:
    """Yield the pictures and collect the captions on the way, so each row is read once."""
    for position in range(len(dataset)):
        row = dataset[position]
        captions.append(list(row["captions"]))
        yield picture_source(row["image"])


def _alone(
    data: SimilarityData,
    bank: CaptionBank,
    others: OtherQueries,
    *,
    rerank: str,
    temperature: float | None,
) -> Tensor:
    """Rerank each caption query alone against the bank: text-to-image scores (B, C)."""
    distinct = data.distinct_scores  # (B, U)
    columns = [
        others.rerank(
            distinct[:, number],
            rerank=rerank,
            temperature=temperature or SMR_TEMPERATURE,
            left_out=bank.rows_of(sentence),
        )
        for number, sentence in enumerate(data.distinct_captions)
    ]
    return torch.stack(columns, dim=1)[:, data.caption_ids]  # (B, C)
