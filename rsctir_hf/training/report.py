"""What a finished training run leaves behind: choices made on validation, and its record.

The output folder becomes exactly what belongs on the Hub. Nothing here touches a test split.
"""

import logging
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import yaml
from torch import Tensor

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.evaluation import (
    MATCH_WEIGHTS,
    SMR_TEMPERATURES,
    Scores,
    SimilarityData,
    match_probabilities,
    report_on,
    results_json,
    similarity_matrix,
    two_stage_scores,
)
from rsctir_hf.files.atomic import write_atomically
from rsctir_hf.metrics import directional_metrics
from rsctir_hf.reranking import smr
from rsctir_hf.search.caption_bank import CaptionBank
from rsctir_hf.search.matcher import PairMatcher
from rsctir_hf.training.recipe_args import (
    DataArguments,
    ModelArguments,
    RetrievalTrainingArguments,
)

logger = logging.getLogger(__name__)

RESULTS_FILE = "results.json"
RECIPE_FILE = "recipe.yaml"
LEFT_OUT = ("hub_", "push_to_hub", "logging_dir", "resume_from_checkpoint", "accelerator_config")
CONFIDENT_SHARE = 0.95
#: What no overhead picture shows; the other end of the confidence scale.
OFF_TOPIC = (
    "A cat sleeps on a sofa.",
    "The quarterly report shows rising costs.",
    "She plays the violin in an orchestra.",
    "A bowl of soup with fresh bread.",
    "Two people shake hands in an office.",
    "He reads a book by the fire.",
    "A close-up of a red flower.",
    "The dog catches a ball.",
    "A bottle of wine and a glass.",
    "Children sing a song at school.",
    "A portrait of an old woman.",
    "Please restart the computer.",
    "A plate of pasta with cheese.",
    "The football team won the cup.",
    "A pair of leather shoes.",
    "He asks the doctor a question.",
    "A black and white cartoon.",
    "The clock shows half past nine.",
    "A keyboard and a mouse on a desk.",
    "They watch a film at night.",
)


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
    """Choose SMR temperature, match weight and confidence threshold; write them to the config.

    Temperature and weight are those with the best mR, averaged over the validation sets. The
    threshold is made from the sentences of all sets together, each within its own gallery.

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
    off_topic = encoder.texts(OFF_TOPIC)
    config.confident_score = confident_score(
        torch.cat([(data.image_vectors @ data.text_vectors.T).amax(dim=0) for data in sets]),
        torch.cat([(data.image_vectors @ off_topic.T).amax(dim=0) for data in sets]),
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


def confident_score(on_topic: Tensor, off_topic: Tensor) -> float:
    """Return the cosine below which the best picture is no confident match.

    It lies midway between what nearly all captions of the validation pictures reach and what
    nearly all sentences about other things stay below (our choice).

    Args:
        on_topic: (U,) best cosine of each distinct validation caption over the pictures of
            its set.
        off_topic: (V,) best cosine of each sentence of ``OFF_TOPIC`` over the same pictures.
    """
    reached = torch.quantile(on_topic, 1 - CONFIDENT_SHARE).item()
    stayed_below = torch.quantile(off_topic, CONFIDENT_SHARE).item()
    return round((reached + stayed_below) / 2, 3)


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


def write_record(folder: Path, *, results: dict[str, Any], recipe: dict[str, Any]) -> None:
    """Write ``results.json`` and ``recipe.yaml`` beside the model."""
    write_atomically(folder / RESULTS_FILE, results_json(results))
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    write_atomically(folder / RECIPE_FILE, text)


def recipe_of(
    model: ModelArguments, data: DataArguments, training: RetrievalTrainingArguments
) -> dict[str, Any]:
    """Return what the run was given, as a recipe that runs it again: values off their default.

    Secrets, Hub settings and paths of this run's folders are no part of a recipe.
    """
    return changed_values(model, data, training) | {"family": model.family}


def changed_values(*groups: Any) -> dict[str, Any]:  # noqa: ANN401 - dataclass instances
    """Return the values off their default, without secrets, Hub settings and paths of this run."""
    recipe: dict[str, Any] = {}
    for arguments in groups:
        default = asdict(type(arguments)())
        given = asdict(arguments)
        changed = {key: value for key, value in given.items() if value != default.get(key)}
        recipe |= {
            key: value.value if isinstance(value, Enum) else value
            for key, value in changed.items()
            if not (key.endswith("_token") or key.startswith(LEFT_OUT))
        }
    return recipe


def git_revision() -> str | None:
    """Return the commit of the code, with ``-dirty`` where files differ; ``None`` outside git."""
    root = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()
