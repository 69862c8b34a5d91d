"""What a finished training run leaves behind: choices made on validation, and its record.

The output folder becomes exactly what belongs on the Hub. Nothing here touches a test split.
"""

import json
import logging
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor
from transformers import PreTrainedModel, ProcessorMixin

from rsctir_hf.evaluation import (
    MATCH_TOP_K,
    choose_match_weight,
    choose_smr_temperature,
    evaluate_retrieval,
    match_probabilities,
    similarity_matrix,
)
from rsctir_hf.gallery.embedding import embed_texts
from rsctir_hf.protocols import PairMatcher
from rsctir_hf.training_args import (
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


def choose_on_validation(model: PreTrainedModel, processor: ProcessorMixin, rows: Any) -> None:  # noqa: ANN401
    """Choose SMR temperature, match weight and confidence threshold; write them to the config.

    Args:
        model: the trained model, in evaluation mode.
        processor: its processor.
        rows: the validation split.
    """
    data = similarity_matrix(model, processor, rows)
    config = model.config
    config.smr_temperature = choose_smr_temperature(data.similarity, data.image_of_caption)
    off_topic = embed_texts(model, processor, OFF_TOPIC)
    config.confident_score = confident_score(
        (data.image_vectors @ data.text_vectors.T).amax(dim=0),
        (data.image_vectors @ off_topic.T).amax(dim=0),
    )
    if isinstance(model, PairMatcher):
        found = match_probabilities(model, processor, rows, data=data, top_k=MATCH_TOP_K)
        config.match_weight = choose_match_weight(
            data.similarity, data.image_of_caption, probabilities=found
        )


def confident_score(on_topic: Tensor, off_topic: Tensor) -> float:
    """Return the cosine below which the best picture is no confident match.

    It lies midway between what nearly all captions of the validation pictures reach and what
    nearly all sentences about other things stay below (our choice).

    Args:
        on_topic: (U,) best cosine of each validation caption over the validation pictures.
        off_topic: (V,) best cosine of each sentence of ``OFF_TOPIC``.
    """
    reached = torch.quantile(on_topic, 1 - CONFIDENT_SHARE).item()
    stayed_below = torch.quantile(off_topic, CONFIDENT_SHARE).item()
    return round((reached + stayed_below) / 2, 3)


def validation_reports(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    rows: Any,  # noqa: ANN401
    *,
    bank: Sequence[str],
    source: dict[str, str | int | None],
) -> list[dict[str, Any]]:
    """Evaluate without rerank and with each rerank the model offers.

    Args:
        model: the finished model.
        processor: its processor.
        rows: the validation split.
        bank: sentences for the live form of SMR and MR.
        source: names for the report: model, data, split, seed.
    """
    reranks = ["none", "smr", "mr", *(["match"] if isinstance(model, PairMatcher) else [])]
    reports = (
        evaluate_retrieval(model, processor, rows, rerank=rerank, bank=bank) for rerank in reranks
    )
    return [report.with_source(**source).to_dict() for report in reports]


def write_record(folder: Path, *, results: dict[str, Any], recipe: dict[str, Any]) -> None:
    """Write ``results.json`` and ``recipe.yaml`` beside the model."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULTS_FILE).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    (folder / RECIPE_FILE).write_text(text, encoding="utf-8")


def recipe_of(
    model: ModelArguments, data: DataArguments, training: RetrievalTrainingArguments
) -> dict[str, Any]:
    """Return what the run was given, as a recipe that runs it again: values off their default.

    Secrets, Hub settings and paths of this run's folders are no part of a recipe.
    """
    recipe: dict[str, Any] = {}
    for arguments in (model, data, training):
        default = asdict(type(arguments)())
        given = asdict(arguments)
        changed = {key: value for key, value in given.items() if value != default.get(key)}
        recipe |= {
            key: value.value if isinstance(value, Enum) else value
            for key, value in changed.items()
            if not (key.endswith("_token") or key.startswith(LEFT_OUT))
        }
    return recipe | {"family": model.family}


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
