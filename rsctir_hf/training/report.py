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
    report_on,
    similarity_matrix,
)
from rsctir_hf.metrics import directional_metrics
from rsctir_hf.reranking import smr
from rsctir_hf.search.caption_bank import CaptionBank
from rsctir_hf.search.matcher import PairMatcher
from rsctir_hf.search.second_stages import match_probabilities, two_stage_scores

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

    They are those with the best mR, averaged over the validation sets. Those that the config has,
    of the model the run goes on from, stay where no others are better.

    Args:
        encoder: the trained model.
        validation: name of a set -> what ``judge`` made of it.
    """
    sets = [judged.data for judged in validation.values()]
    config = encoder.config
    config.smr_temperature = best_on_average(
        "SMR temperature",
        SMR_TEMPERATURES,
        lambda tau: [
            directional_metrics(*smr(data.similarity, temperature=tau), data.image_of_caption)["mR"]
            for data in sets
        ],
        now=getattr(config, "smr_temperature", 0.0),
    )
    pairs = [(each.data, each.probabilities) for each in validation.values() if each.probabilities]
    if pairs:
        config.match_weight = best_on_average(
            "weight of the fusion encoder (rerank match)",
            MATCH_WEIGHTS,
            lambda weight: [
                directional_metrics(
                    *two_stage_scores(data.similarity, found, weight=weight), data.image_of_caption
                )["mR"]
                for data, found in pairs
            ],
            now=config.match_weight,
        )


def best_on_average(
    what: str,
    grid: Sequence[float],
    score: Callable[[float], Sequence[float]],
    *,
    now: float = 0.0,
) -> float:
    """Return the value with the best mean score; of equals ``now`` wins, else the first.

    Args:
        what: is chosen, in words.
        grid: values to try.
        score: mR on each validation set with a value, in percent.
        now: the value so far, which is tried too; 0: none was ever chosen.
    """
    found = {value: fmean(score(value)) for value in dict.fromkeys(filter(None, (*grid, now)))}
    best = max(found, key=lambda value: (found[value], value == now))
    tried = ", ".join(f"{value:g}: {score:.2f}" for value, score in found.items())
    logger.info("%s: %g, by validation mR (%s)", what, best, tried)
    return best


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
                judged=judged.probabilities if rerank == "match" else None,
            )
            reports.append(report.with_source(**source, data=name).to_dict())
    return reports
