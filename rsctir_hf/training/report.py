"""The finished model on validation: the choices that are made there, and the reports.

Nothing here touches a test split.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.evaluation import (
    MATCH_WEIGHTS,
    SMR_TEMPERATURES,
    Scores,
    SimilarityData,
    match_probabilities,
    report_on,
    similarity_matrix,
    two_stage_scores,
)
from rsctir_hf.metrics import directional_metrics
from rsctir_hf.reranking import smr
from rsctir_hf.search.caption_bank import CaptionBank
from rsctir_hf.search.matcher import PairMatcher

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """A validation set as the finished model sees it, embedded once for choices and reports.

    Attributes:
        data: similarity of all pairs.
        probabilities: of the two-stage score in both directions; None without a fusion encoder.
    """

    data: SimilarityData
    probabilities: Scores | None


def judge(encoder: Encoder, validation: Mapping[str, Any]) -> dict[str, Judged]:
    """Embed every validation set, and judge the best pairs if the model can.

    Args:
        encoder: the trained model.
        validation: name of a set -> its validation rows.
    """
    judged = {}
    for name, rows in validation.items():
        data = similarity_matrix(encoder, rows)
        matches = isinstance(encoder.model, PairMatcher)
        found = match_probabilities(encoder, rows, data=data) if matches else None
        judged[name] = Judged(data, found)
    return judged


def choose_on_validation(encoder: Encoder, validation: Mapping[str, Judged]) -> None:
    """Choose SMR temperature and match weight; write them to the config.

    They are those with the best mR, averaged over the validation sets.

    Args:
        encoder: the trained model.
        validation: name of a set -> what ``judge`` made of it.
    """
    sets = [judged.data for judged in validation.values()]
    config = encoder.config
    config.smr_temperature = best_on_average(
        SMR_TEMPERATURES,
        lambda tau: [
            directional_metrics(*smr(data.similarity, temperature=tau), data.image_of_caption)["mR"]
            for data in sets
        ],
    )
    pairs = [(each.data, each.probabilities) for each in validation.values() if each.probabilities]
    if pairs:
        config.match_weight = best_on_average(
            MATCH_WEIGHTS,
            lambda weight: [
                directional_metrics(
                    *two_stage_scores(data.similarity, found, weight=weight), data.image_of_caption
                )["mR"]
                for data, found in pairs
            ],
        )


def best_on_average(grid: Sequence[float], score: Callable[[float], Sequence[float]]) -> float:
    """Return the value of ``grid`` with the best mean score; the first of equals wins.

    Args:
        grid: values to try.
        score: mR on each validation set with a value, in percent.
    """
    found = {value: fmean(score(value)) for value in grid}
    logger.info("mean validation mR by value: %s", found)
    return max(found, key=lambda value: found[value])


def validation_reports(
    encoder: Encoder,
    validation: Mapping[str, Judged],
    *,
    bank: Sequence[str],
    source: dict[str, str | int | None],
) -> list[dict[str, Any]]:
    """Report on every validation set without rerank and with each rerank the model offers.

    Args:
        encoder: the finished model.
        validation: name of a set -> what ``judge`` made of it.
        bank: sentences for the live form of SMR and MR.
        source: names for the reports: model, split, seed; ``data`` is the name of the set.
    """
    sentences = CaptionBank(bank)
    reports = []
    for name, judged in validation.items():
        for rerank in ("none", "smr", "mr", *(["match"] if judged.probabilities else [])):
            report = report_on(
                judged.data,
                encoder,
                rerank=rerank,
                bank=sentences,
                probabilities=judged.probabilities if rerank == "match" else None,
            )
            reports.append(report.with_source(**source, data=name).to_dict())
    return reports
