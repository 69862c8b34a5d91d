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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the clone, for drawn_scenes
# Threads that wait busily keep other processes, and one another, from the processors. Read when
# torch is imported; results/training_format.json says what it costs alone and brings beside.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from drawn_scenes.build import build_gallery
from rsctir_hf.detection.boxed_sets import load_detector_data
from rsctir_hf.detection.detector_args import parse_detector_recipe
from rsctir_hf.detection.detector_trainer import DetectorTrainer, build_detector
from rsctir_hf.errors import exit_on_error
from rsctir_hf.training.resumption import telling_how_to_go_on
from rsctir_hf.training.run_record import begin_run, finish_run


def main(arguments: list[str]) -> None:
    """Recipe -> data -> model -> Trainer -> score on validation -> saved model."""
    model_args, data_args, args = recipe = parse_detector_recipe(arguments)
    revision = begin_run(args)
    data = load_detector_data(data_args, folder=args.folder, draw=build_gallery)
    model, processor = build_detector(model_args, data.classes)
    trainer = DetectorTrainer(model, args, processor=processor, data=data)
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    finish_run(trainer, recipe, revision=revision, training_sets=data.counts)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with exit_on_error("train"), telling_how_to_go_on(["python", *sys.argv]):
        main(sys.argv[1:])
