"""Train the detector of objects seen from above, choose it on validation and write it out whole.

    python training/detector.py training/recipes/detector/rsod.yaml --data data/rsod
    python training/detector.py training/recipes/detector/rsod.yaml --data data/rsod \
        --resume_from_checkpoint true

Any field of ``rsctir_hf.detection.detector_args`` or of ``transformers.TrainingArguments`` can be
given as a flag. ``OUTPUT_DIR`` then holds model, image processor, ``results.json`` (with the git
revision of the code), a filled card and the recipe as run. ``AutoModelForObjectDetection`` loads
it. Test is not looked at: ``benchmarks/detector_map.py`` scores it.
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
from rsctir_hf.detection.average_precision import evaluate_detection
from rsctir_hf.detection.boxed_sets import load_detector_data
from rsctir_hf.detection.detector_args import parse_detector_recipe
from rsctir_hf.detection.detector_trainer import DetectorTrainer, build_detector
from rsctir_hf.errors import exit_on_error
from rsctir_hf.hub.push import write_card
from rsctir_hf.loading.checks import weights_fingerprint
from rsctir_hf.training.precision import keep_depthwise_precise
from rsctir_hf.training.report import changed_values, git_revision, write_record


def main(arguments: list[str]) -> None:
    """Recipe -> data -> model -> Trainer -> score on validation -> saved model."""
    model_args, data_args, training_args = parse_detector_recipe(arguments)
    keep_freed_memory()
    set_seed(training_args.seed)
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(training_args.folder / "_runs"))
    revision = git_revision()  # of the code that trains, whatever the checkout is at the end
    data = load_detector_data(data_args, folder=training_args.folder, draw=build_gallery)
    model, processor = build_detector(model_args, data.classes)
    if training_args.bf16:
        keep_depthwise_precise(model)
    torch.nn.Module.to(model, memory_format=torch.channels_last)  # faster on a CPU
    patience = training_args.early_stopping_epochs
    trainer = DetectorTrainer(
        model,
        training_args,
        processor=processor,
        train=data.train,
        validation=data.validation,
        callbacks=[EarlyStoppingCallback(patience)] if patience else [],
    )
    trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)

    # What is scored from here on is what is stored: weights rounded to half precision.
    model.half().float().eval()
    metrics = evaluate_detection(
        model, processor, data.validation, batch_size=training_args.per_device_eval_batch_size
    )
    name = training_args.run_name or training_args.folder.name
    report = {
        "model": name,
        "data": "rsod",
        "split": "validation",
        "pictures": len(data.validation),
        "seed": training_args.seed,
        "metrics": metrics,
    }
    results = {
        "git_revision": revision,
        "weights": weights_fingerprint(model),
        "best_epoch": trainer.best_epoch,
        "training_sets": data.counts,
        "validation": [report],
        "log": trainer.state.log_history,
    }
    recipe = changed_values(model_args, data_args, training_args)
    write_record(training_args.folder, results=results, recipe=recipe)
    trainer.save_model(_internal_call=True)
    write_card(training_args.folder, model_id=name)
    trainer.push_finished()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with exit_on_error("train"):
        main(sys.argv[1:])
