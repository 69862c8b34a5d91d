"""Both ends of a training run, whatever it trains: what is set before, and the record it leaves.

The output folder becomes exactly what belongs on the Hub.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any

import yaml
from transformers import set_seed

from rsctir_hf.allocation import keep_freed_memory
from rsctir_hf.errors import OutputExistsError
from rsctir_hf.evaluation import results_json
from rsctir_hf.files.atomic import write_atomically
from rsctir_hf.hub.card import RESULTS_FILE, write_card
from rsctir_hf.loading.checks import weights_fingerprint
from rsctir_hf.training.recipe_args import StagedTrainingArguments
from rsctir_hf.training.resumption import asks_to_resume, checkpoints_of
from rsctir_hf.training.staged import StagedTrainer

RECIPE_FILE = "recipe.yaml"
#: Fields that no recipe takes over, by how their names begin.
NOT_RECORDED = (
    "hub_",
    "push_to_hub",
    "logging_dir",
    "resume_from_checkpoint",
    "overwrite_output_dir",
    "disable_tqdm",
    "accelerator_config",
)


def begin_run(args: StagedTrainingArguments) -> str | None:
    """Set up the process, before anything is loaded.

    Returns:
        The git revision of the code that trains, whatever the checkout is at the end.

    Raises:
        OutputExistsError: a finished model lies in the run's folder, and the run neither goes on
            from a checkpoint nor may write over it.
    """
    goes_on = asks_to_resume(args.resume_from_checkpoint) and checkpoints_of(args.folder)
    finished = any(args.folder.glob("*.safetensors"))
    if finished and not (goes_on or args.overwrite_output_dir):
        raise OutputExistsError(
            f"{args.folder} holds a finished model. Name another --output_dir, or pass "
            "--overwrite_output_dir true to write over it, or --resume_from_checkpoint true where "
            "its checkpoints are."
        )
    keep_freed_memory()
    set_seed(args.seed)
    # Trainer pushes neither checkpoints nor what begins with an underscore; logs name this host.
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(args.folder / "_runs"))
    return git_revision()


def finish_run(
    trainer: StagedTrainer,
    recipe: Sequence[Any],
    *,
    revision: str | None,
    training_sets: Mapping[str, int],
) -> None:
    """Score a trained model, write it out with record, recipe and card, and push it if asked to.

    Args:
        trainer: when training has ended.
        recipe: the groups of arguments the run was given.
        revision: see ``begin_run``.
        training_sets: name of a set -> its training pictures.

    Raises:
        HubError: see ``push_errors.explained_push``.
    """
    folder, model = trainer.args.folder, trainer.model
    # What is scored from here on is what is stored: weights rounded to half precision.
    model.half().float().eval()
    results = {
        "git_revision": revision,
        "weights": weights_fingerprint(model),
        "best_epoch": trainer.best_epoch,
        "training_sets": training_sets,
        **trainer.final_results(),
        "log": trainer.state.log_history,
    }
    write_record(folder, results=results, recipe=recipe_of(*recipe))
    trainer.save_finished()
    write_card(folder, model_id=trainer.args.model_name)
    trainer.push_finished()


def write_record(folder: Path, *, results: dict[str, Any], recipe: dict[str, Any]) -> None:
    """Write ``results.json`` and ``recipe.yaml`` beside the model."""
    write_atomically(folder / RESULTS_FILE, results_json(results))
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    write_atomically(folder / RECIPE_FILE, text)


def recipe_of(*groups: Any) -> dict[str, Any]:  # noqa: ANN401 - dataclass instances
    """Return what the run was given, as a recipe that runs it again: values off their default.

    The family is always named. Secrets, Hub settings and paths of this run's folders are no part
    of a recipe.
    """
    recipe: dict[str, Any] = {}
    for arguments in groups:
        default = asdict(type(arguments)()) | {"family": None}
        recipe |= {
            key: value.value if isinstance(value, Enum) else value
            for key, value in asdict(arguments).items()
            if value != default.get(key)
            and not (key.endswith("_token") or key.startswith(NOT_RECORDED))
        }
    return recipe


def git_revision() -> str | None:
    """Return the commit of the code, with ``-dirty`` where files differ; ``None`` outside git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()
