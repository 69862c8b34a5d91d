"""Train a retrieval model from a recipe, choose it on validation and write it out whole.

    python training/run.py training/recipes/cmpagl_ucm.yaml
    python training/run.py training/recipes/galr_ucm.yaml --seed 1 --output_dir outputs/galr_ucm_1
    python training/run.py training/recipes/cmpagl_ucm.yaml --resume_from_checkpoint true
    python training/run.py training/recipes/cmpagl_rs.yaml --data UCM --extra_data "{rsicd: RSICD}"
    python training/run.py training/recipes/cmpagl_ucm.yaml --data OWNER/NAME --streaming true

Any field of ``rsctir_hf.training.recipe_args`` or of ``transformers.TrainingArguments`` can be
given as a flag. ``OUTPUT_DIR`` then holds what belongs on the Hub: model, processor, card,
``results.json`` (with the git revision of the code) and the recipe as run; checkpoints and logs
lie beside them.
"""

import logging
import os
import sys
from pathlib import Path

import torch
from transformers import EarlyStoppingCallback, set_seed

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the clone, for drawn_scenes

from drawn_scenes.build import build_gallery
from rsctir_hf.allocation import keep_freed_memory
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import exit_on_error
from rsctir_hf.hub.push import write_card
from rsctir_hf.loading.checks import weights_fingerprint
from rsctir_hf.regions.detector import choose_regions
from rsctir_hf.sample import read_caption_bank
from rsctir_hf.training.precision import keep_depthwise_precise
from rsctir_hf.training.recipe_args import parse_recipe
from rsctir_hf.training.report import (
    choose_on_validation,
    git_revision,
    judge,
    recipe_of,
    validation_reports,
    write_record,
)
from rsctir_hf.training.retrieval_trainer import RetrievalTrainer
from rsctir_hf.training.sets import load_training_data
from rsctir_hf.training.start import build_model
from rsctir_hf.training.teachers import ask_teachers


def main(arguments: list[str]) -> None:
    """Recipe -> data -> model -> Trainer -> choices on validation -> saved model."""
    model_args, data_args, training_args = parse_recipe(arguments)
    keep_freed_memory()
    set_seed(training_args.seed)
    # Trainer pushes neither checkpoints nor what begins with an underscore; logs name this host.
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(training_args.folder / "_runs"))
    revision = git_revision()  # of the code that trains, whatever the checkout is at the end
    data = load_training_data(data_args, folder=training_args.folder, draw=build_gallery)
    model, processor = build_model(model_args, data.captions)
    regions = choose_regions(training_args.regions, training_args.region_threshold)
    seen_before = model.config.training_images  # by the model it goes on from; else empty
    if training_args.bf16:
        keep_depthwise_precise(model)
    # Convolutions on a CPU are faster so. Module's own .to: transformers wraps it untyped.
    torch.nn.Module.to(model, memory_format=torch.channels_last)
    patience = training_args.early_stopping_epochs
    trainer = RetrievalTrainer(
        model,
        training_args,
        processor=processor,
        train_rows=data.train,
        validation_rows=data.validation,
        teachers=ask_teachers(training_args.teachers, data.train, folder=training_args.folder)
        if training_args.teachers
        else None,
        regions=regions,
        callbacks=[EarlyStoppingCallback(patience)] if patience else [],
    )
    trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)

    # What is scored from here on is what is stored: weights rounded to half precision.
    model.half().float().eval()
    encoder = Encoder(model, processor, regions)
    judged = judge(encoder, data.validation)
    choose_on_validation(encoder, judged)
    model.config.training_images = "; before that ".join(
        filter(None, [data.describe(), seen_before])
    )
    name = training_args.run_name or f"{model_args.family}-{data_args.benchmark}"
    source: dict[str, str | int | None] = {
        "model": name,
        "split": "validation",
        "seed": training_args.seed,
    }
    results = {
        "git_revision": revision,
        "weights": weights_fingerprint(model),
        "best_epoch": trainer.best_epoch,
        "training_sets": data.counts,
        "seen_before": seen_before,
        "validation": validation_reports(encoder, judged, bank=read_caption_bank(), source=source),
        "log": trainer.state.log_history,
    }
    recipe = recipe_of(model_args, data_args, training_args)
    write_record(training_args.folder, results=results, recipe=recipe)
    trainer.save_model(_internal_call=True)
    write_card(training_args.folder, model_id=name)
    trainer.push_finished()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with exit_on_error("train"):
        main(sys.argv[1:])
