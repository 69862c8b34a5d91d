"""Train a retrieval model from a recipe, choose it on validation and write it out whole.

    python training/run.py training/recipes/cmpagl_ucm.yaml
    python training/run.py training/recipes/galr_ucm.yaml --seed 1 --output_dir outputs/galr_ucm_1
    python training/run.py training/recipes/cmpagl_ucm.yaml --resume_from_checkpoint true

Any field of ``rsctir_hf.training_args`` or of ``transformers.TrainingArguments`` can be given as
a flag. ``OUTPUT_DIR`` then holds what belongs on the Hub: model, processor, card, ``results.json``
(with the git revision of the code) and the recipe as run; checkpoints and logs lie beside them.
"""

import logging
import os
import sys

import datasets
import torch
from transformers import EarlyStoppingCallback, set_seed

from rsctir_hf.data.benchmarks import hold_out, load_benchmark
from rsctir_hf.data.leakage import check_leakage
from rsctir_hf.drawn import read_caption_bank
from rsctir_hf.errors import DataLayoutError, RsctirError
from rsctir_hf.hub import write_card
from rsctir_hf.initialization import build_model
from rsctir_hf.run_report import (
    choose_on_validation,
    git_revision,
    recipe_of,
    validation_reports,
    write_record,
)
from rsctir_hf.trainer import RetrievalTrainer
from rsctir_hf.training_args import DataArguments, parse_recipe

logger = logging.getLogger("training")

HOLD_OUT_SEED = 0  # the same pictures whatever the run's seed, so that seeds compare


def main(arguments: list[str]) -> None:
    """Recipe -> data -> model -> Trainer -> choices on validation -> saved model."""
    model_args, data_args, training_args = parse_recipe(arguments)
    set_seed(training_args.seed)
    # Trainer pushes neither checkpoints nor what begins with an underscore; logs name this host.
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(training_args.folder / "_runs"))
    train, validation = load_splits(data_args)
    model, processor = build_model(model_args, train["captions"])
    # Half the time of a convolution on a CPU. Module's own .to: transformers wraps it untyped.
    torch.nn.Module.to(model, memory_format=torch.channels_last)
    patience = training_args.early_stopping_epochs
    trainer = RetrievalTrainer(
        model,
        training_args,
        processor=processor,
        train_rows=train,
        validation_rows=validation,
        callbacks=[EarlyStoppingCallback(patience)] if patience else [],
    )
    trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)

    # What is scored from here on is what is stored: weights rounded to half precision.
    model.half().float().eval()
    choose_on_validation(model, processor, validation)
    model.config.training_images = f"{data_args.benchmark} train, {len(train)} pictures"
    name = training_args.run_name or f"{model_args.family}-{data_args.benchmark}"
    source: dict[str, str | int | None] = {
        "model": name,
        "data": data_args.benchmark,
        "split": "validation",
        "seed": training_args.seed,
    }
    results = {
        "git_revision": git_revision(),
        "best_epoch": trainer.best_epoch,
        "validation": validation_reports(
            model, processor, validation, bank=read_caption_bank(), source=source
        ),
        "log": trainer.state.log_history,
    }
    recipe = recipe_of(model_args, data_args, training_args)
    write_record(training_args.folder, results=results, recipe=recipe)
    trainer.save_model(_internal_call=True)
    write_card(training_args.folder, model_id=name)
    if training_args.push_to_hub:
        trainer.push_to_hub(commit_message="End of training")


def load_splits(arguments: DataArguments) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Load train and validation, and refuse to train on a picture that is also held out.

    Raises:
        DataLayoutError: if data are missing, or a picture stands in two splits.
    """
    names = ["train", "validation", arguments.test_split]
    if arguments.validation_share:
        names.remove("validation")
    splits = {
        name: load_benchmark(
            arguments.benchmark,
            arguments.data,
            split=name,
            images=arguments.images,
            complete=arguments.complete,
        )
        for name in filter(None, names)
    }
    if arguments.validation_share:
        splits["train"], splits["validation"] = hold_out(
            splits["train"], share=arguments.validation_share, seed=HOLD_OUT_SEED
        )
    leakage = check_leakage(splits)
    for line in leakage.lines():
        logger.info(line)
    if leakage.crossing and not arguments.allow_leakage:
        raise DataLayoutError(
            f"{len(leakage.crossing)} pictures stand in two splits (listed above). Take them out "
            "of train, or pass --allow_leakage true if you accept figures that flatter."
        )
    train = splits["train"]
    if arguments.max_train_images:
        train = train.select(range(min(arguments.max_train_images, len(train))))
    return train, splits["validation"]


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        main(sys.argv[1:])
    except RsctirError as error:
        sys.exit(f"error: {error}")
