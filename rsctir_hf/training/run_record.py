"""Both ends of a training run, whatever it trains: what is set before, and the record it leaves.

The output folder becomes exactly what belongs on the Hub.
"""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any

import yaml
from transformers import set_seed
from transformers.utils.logging import disable_progress_bar

from rsctir_hf.allocation import keep_freed_memory
from rsctir_hf.errors import OutputExistsError
from rsctir_hf.evaluation import results_json
from rsctir_hf.files.atomic import write_atomically
from rsctir_hf.hub.card import CARD_FILE, LICENCE_FILE, RESULTS_FILE, write_card
from rsctir_hf.loading.checks import weights_fingerprint
from rsctir_hf.training.recipe_args import StagedTrainingArguments
from rsctir_hf.training.resumption import checkpoints_of, goes_on_in
from rsctir_hf.training.staged import StagedTrainer

RECIPE_FILE = "recipe.yaml"
#: What a run writes into its folder at its end.
WRITTEN = ("*.safetensors", "config.json", CARD_FILE, LICENCE_FILE, RESULTS_FILE, RECIPE_FILE)
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
        OutputExistsError: see ``refuse_used_folder``.
    """
    refuse_used_folder(args)
    keep_freed_memory()
    disable_progress_bar()  # of loading and writing a model, among lines that say more
    set_seed(args.seed)
    return git_revision()


def refuse_used_folder(args: StagedTrainingArguments) -> None:
    """Refuse a folder whose files the run would write over without having been told to.

    Raises:
        OutputExistsError: it holds a finished model, checkpoints or other files of those names, and
            the run neither goes on from a checkpoint there nor may write over them.
    """
    folder = args.folder
    if goes_on_in(folder, args.resume_from_checkpoint) or args.overwrite_output_dir:
        return
    unfinished = checkpoints_of(folder)
    written = [path.name for name in WRITTEN for path in sorted(folder.glob(name))]
    if any(folder.glob("*.safetensors")):
        found = "a finished model"
    elif unfinished:
        found = f"an unfinished run ({unfinished[0].name} is its last)"
    elif written:
        found = f"files that the run would write over ({', '.join(written)})"
    else:
        return
    remedies = ["name another --output_dir", "pass --overwrite_output_dir true to write over it"]
    if unfinished:
        remedies.append("pass --resume_from_checkpoint true to go on from its checkpoints")
    raise OutputExistsError(
        f"{folder} holds {found}. Expected a folder of its own for each run: "
        f"{', or '.join(remedies)}."
    )


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
        PushError: see ``push_model``.
        KeyboardInterrupt: Ctrl-C has ended the training; the model is written nevertheless.
    """
    folder, model = trainer.args.folder, trainer.model
    settled = trainer.settle_weights()
    results = {
        "git_revision": revision,
        "weights": weights_fingerprint(model),
        "best_epoch": trainer.best_epoch,
        "training_sets": training_sets,
        **settled,
        **trainer.final_results(),
        "log": trainer.state.log_history,
    }
    write_record(folder, results=results, recipe=recipe_of(*recipe))
    trainer.save_finished()
    write_card(folder, model_id=trainer.args.model_name)
    trainer.show()
    if trainer.interrupted:
        raise KeyboardInterrupt(
            f"Stopped by Ctrl-C at step {trainer.state.global_step} of {trainer.state.max_steps}: "
            f"{folder} holds the best model so far; nothing is pushed."
        )
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
