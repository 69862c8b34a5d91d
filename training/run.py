"""Train a retrieval model from a recipe, choose it on validation and write it out whole.

    python training/run.py training/recipes/cmpagl_ucm.yaml
    python training/run.py training/recipes/galr_ucm.yaml --seed 1 --output_dir outputs/galr_ucm_1
    python training/run.py training/recipes/cmpagl_ucm.yaml --resume_from_checkpoint true
    python training/run.py training/recipes/cmpagl_rs.yaml --data UCM --extra_data "{rsicd: RSICD}"
    python training/run.py training/recipes/cmpagl_ucm.yaml --data OWNER/NAME --streaming true
    python training/run.py training/recipes/cmpagl_ucm.yaml --dry_run true    # sets, steps and time
    python training/run.py training/recipes/adapt.yaml --data my_pictures     # without captions
    python training/run.py --help

Any field of ``rsctir_hf.training.recipe_args`` or of ``transformers.TrainingArguments`` can be
given as a flag. ``OUTPUT_DIR`` then holds what belongs on the Hub: model, processor, card,
``results.json`` (with the git revision of the code) and the recipe as run. What begins with ``_``
only serves going on (``_checkpoints``) or looking (``_runs``), and is never pushed.
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
from rsctir_hf.errors import exit_on_error
from rsctir_hf.regions.detector import choose_regions
from rsctir_hf.training.adaptation_args import (
    AdaptationArguments,
    PictureArguments,
    learns_from_pictures,
    parse_adaptation,
)
from rsctir_hf.training.adaptation_data import load_pictures, prepare_lesson
from rsctir_hf.training.adaptation_trainer import AdaptationTrainer
from rsctir_hf.training.next_steps import say_goodbye, say_what_is_unknown
from rsctir_hf.training.recipe_args import (
    DataArguments,
    ModelArguments,
    RetrievalTrainingArguments,
    parse_recipe,
)
from rsctir_hf.training.rehearsal import rehearse, without_a_trace
from rsctir_hf.training.resumption import telling_how_to_go_on
from rsctir_hf.training.retrieval_trainer import RetrievalTrainer
from rsctir_hf.training.run_record import begin_run, finish_run
from rsctir_hf.training.sets import load_training_data
from rsctir_hf.training.start import build_model, load_initial_model
from rsctir_hf.training.teachers import load_teachers


def main(arguments: list[str]) -> None:
    """Recipe -> data -> model -> Trainer -> choices on validation -> saved model."""
    if learns_from_pictures(arguments):
        adapt(arguments)
        return
    model_args, data_args, args = recipe = parse_recipe(arguments)
    if args.dry_run:
        with without_a_trace(args) as begun:
            rehearse(make_trainer(*recipe), begun=begun)
        return
    revision = begin_run(args)
    trainer = make_trainer(*recipe)
    if model_args.initial_model:
        trainer.remember_base()
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    finish_run(trainer, recipe, revision=revision, training_sets=trainer.data.counts)
    adapts = model_args.initial_model if args.lora else None
    say_goodbye(args.folder, data_args, trainer.data, compared=trainer.compared, adapts=adapts)


def adapt(arguments: list[str]) -> None:
    """Recipe -> pictures -> model -> Trainer -> saved model, without a caption."""
    _, data_args, args = recipe = parse_adaptation(arguments)
    if args.dry_run:
        with without_a_trace(args) as begun:
            rehearse(make_adaptation(*recipe), begun=begun)
        return
    revision = begin_run(args)
    trainer = make_adaptation(*recipe)
    trainer.remember_base()
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    finish_run(trainer, recipe, revision=revision, training_sets=trainer.data.counts)
    say_goodbye(args.folder, data_args, trainer.data, compared=())
    say_what_is_unknown(data_args.name)


def make_adaptation(
    model_args: ModelArguments, data_args: PictureArguments, args: AdaptationArguments
) -> AdaptationTrainer:
    """Pictures -> model -> what it makes of them -> Trainer."""
    pictures = load_pictures(data_args)
    encoder = load_initial_model(model_args)
    data, lesson = prepare_lesson(encoder, pictures, data_args, args)
    return AdaptationTrainer(
        encoder, args, data=data, lesson=lesson, two_sensors=pictures.two_sensors
    )


def make_trainer(
    model_args: ModelArguments, data_args: DataArguments, args: RetrievalTrainingArguments
) -> RetrievalTrainer:
    """Data -> model -> Trainer."""
    data = load_training_data(data_args, folder=args.folder, draw=build_gallery)
    regions = choose_regions(args.regions, args.region_threshold)
    encoder = build_model(model_args, data.captions, regions=regions)
    data = replace(data, teachers=load_teachers(args.teachers, data.train, folder=args.folder))
    return RetrievalTrainer(encoder, args, data=data)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with exit_on_error("train"), telling_how_to_go_on(["python", *sys.argv]):
        main(sys.argv[1:])
