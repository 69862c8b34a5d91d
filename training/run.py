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
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the clone, for drawn_scenes
# Threads that wait busily keep other processes, and one another, from the processors. Read when
# torch is imported; results/training_format.json says what it costs alone and brings beside.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from drawn_scenes.build import build_gallery
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import exit_on_error
from rsctir_hf.regions.detector import choose_regions
from rsctir_hf.training.recipe_args import parse_recipe
from rsctir_hf.training.retrieval_trainer import RetrievalTrainer
from rsctir_hf.training.run_record import begin_run, finish_run
from rsctir_hf.training.sets import load_training_data
from rsctir_hf.training.start import build_model
from rsctir_hf.training.teachers import load_teachers


def main(arguments: list[str]) -> None:
    """Recipe -> data -> model -> Trainer -> choices on validation -> saved model."""
    model_args, data_args, args = recipe = parse_recipe(arguments)
    revision = begin_run(args)
    data = load_training_data(data_args, folder=args.folder, draw=build_gallery)
    model, processor = build_model(model_args, data.captions)
    encoder = Encoder(model, processor, choose_regions(args.regions, args.region_threshold))
    data = replace(data, teachers=load_teachers(args.teachers, data.train, folder=args.folder))
    trainer = RetrievalTrainer(encoder, args, data=data)
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    finish_run(trainer, recipe, revision=revision, training_sets=data.counts)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with exit_on_error("train"):
        main(sys.argv[1:])
