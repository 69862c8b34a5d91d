"""A training that is only looked at: what it would read, its steps, and how long they would take.

Nothing is written where the run would write: all that has to be written goes to a folder that is
gone in the end.
"""

import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from transformers import set_seed
from transformers.utils.logging import disable_progress_bar

from rsctir_hf.allocation import keep_freed_memory
from rsctir_hf.data.collator import EpochView, picture_source, without_decoding
from rsctir_hf.errors import OutputExistsError
from rsctir_hf.files.pictures import read_image
from rsctir_hf.time_left import duration
from rsctir_hf.training.progress import evaluations_left
from rsctir_hf.training.recipe_args import RetrievalTrainingArguments
from rsctir_hf.training.report import judge
from rsctir_hf.training.retrieval_trainer import RetrievalTrainer
from rsctir_hf.training.run_record import refuse_used_folder
from rsctir_hf.training.sets import TrainingData

logger = logging.getLogger(__name__)

ROWS = 3  # that are shown
STEPS = 3  # that are timed in each stage, after one that is not
SCORED = 32  # pictures that are scored to time an evaluation
STATE = 3  # a checkpoint's size in weights: the optimizer keeps two numbers for each


@contextmanager
def without_a_trace(args: RetrievalTrainingArguments) -> Iterator[float]:
    """Let a run write to a folder that is gone after a ``with`` block, and push nothing.

    Teachers are left out, who would look at every picture first. Yields when it began, by
    ``time.perf_counter``.
    """
    begun = time.perf_counter()
    try:
        refuse_used_folder(args)
    except OutputExistsError as error:
        logger.warning("The run itself would be refused: %s", error)
    if args.teachers:
        logger.info(
            "Teachers (%s) look at every picture first; not timed", ", ".join(args.teachers)
        )
    keep_freed_memory()
    disable_progress_bar()  # as in the run itself
    set_seed(args.seed)
    with tempfile.TemporaryDirectory(prefix="rsctir-dry-run-") as folder:
        args.output_dir, args.push_to_hub, args.teachers, args.report_to = folder, False, [], []
        yield begun


@dataclass(frozen=True)
class Stage:
    """Epochs whose steps take the same time.

    Attributes:
        first: the first of them, from 0.
        epochs: how many there are.
    """

    first: int
    epochs: float


def rehearse(trainer: RetrievalTrainer, *, begun: float) -> None:
    """Log what a trainer has read, what it would do and for how long, by measuring a few steps.

    Args:
        trainer: of the run.
        begun: when the run began to read; see ``without_a_trace``.
    """
    reading = time.perf_counter() - begun
    for line in (*set_lines(trainer.data), *row_lines(trainer.data)):
        logger.info(line)
    if not isinstance(trainer.view, EpochView):
        logger.info("A stream is read as it comes: its steps are not timed.")
        return
    per_epoch = len(trainer.get_train_dataloader())
    epochs = trainer.args.num_train_epochs
    if trainer.args.max_steps > 0:
        epochs = trainer.args.max_steps / per_epoch
    steps, at_most = (
        round(epochs * per_epoch),
        " at most" * bool(trainer.args.early_stopping_epochs),
    )
    trainer.state.max_steps, trainer.state.num_train_epochs = steps, -int(-epochs // 1)
    trainer.state.compute_steps(trainer.args, steps)
    often = evaluations_left(trainer.args, trainer.state)
    logger.info(
        "Steps: %d%s, %g epochs of %d, with up to %d pictures in a batch.",
        steps, at_most, epochs, per_epoch, trainer.args.train_batch_size,
    )  # fmt: skip
    step = StepTimer(trainer, per_epoch)
    training = sum(
        stage.epochs * per_epoch * step(stage.first) for stage in stages(trainer, epochs)
    )
    scoring = validation_seconds(trainer, trainer.score) + checkpoint_seconds(trainer)
    judging = validation_seconds(trainer, partial(judge, trainer.encoder))
    # The base comes first and the result last, which is one that ends it in evaluations.
    whole = reading + training + (often + trainer.ending_in_evaluations) * scoring + judging
    logger.info(
        "Time:%s about %s on this machine as busy as it is now: %s to begin, %s of steps, %d "
        "validations of %s each, and the scoring at the end.",
        at_most, duration(whole), duration(reading), duration(training), often, duration(scoring),
    )  # fmt: skip
    logger.info("Nothing has been written. Without --dry_run this command trains.")


def set_lines(data: TrainingData) -> Iterator[str]:
    """Say how many pictures and captions each set has."""
    parts = {"training": data.train, "validation": data.validation, "test (once)": data.test}
    for part, sets in parts.items():
        for name, rows in sets.items():
            captions = sum(map(len, captions_of(rows)))
            yield f"{name}, {part}: {len(rows):,} pictures with {captions:,} captions"
    for name, splits in data.kept.items():
        for split, rows in splits.items():
            yield f"{name}, {split}: {len(rows):,} pictures, to see what was forgotten"


def captions_of(rows: Any) -> Any:  # noqa: ANN401 - a table, a stream or a list of rows
    """Return the captions of each row."""
    if hasattr(rows, "captions"):
        return rows.captions
    return rows["captions"] if hasattr(rows, "column_names") else [row["captions"] for row in rows]


def row_lines(data: TrainingData) -> Iterator[str]:
    """Say how the first rows of each training set are read."""
    for name, table in data.train.items():
        if not hasattr(table, "__getitem__"):
            continue
        rows = without_decoding(table)
        for number in range(min(ROWS, len(rows))):
            row = rows[number]
            width, height = read_image(picture_source(row["image"])).size
            said = "; ".join(f"“{caption}”" for caption in row["captions"])
            title = row.get("file_name") or f"row {number + 1}"
            yield f"{name}, read as: {title}, {width} x {height} px: {said}"


def stages(trainer: RetrievalTrainer, epochs: float) -> list[Stage]:
    """Group the epochs by what decides the time of a step: what is frozen, sizes, and losses."""
    args = trainer.args
    first: dict[tuple[Any, ...], int] = {}
    count: Counter[tuple[Any, ...]] = Counter()
    for epoch in range(-int(-epochs // 1)):
        frozen = tuple(until < 0 or epoch < until for until in args.freezing.values())
        matching = (epoch + 0.5) / epochs >= args.pre_alignment_fraction
        kind = (frozen, epoch < args.low_resolution_epochs, matching)
        first.setdefault(kind, epoch)
        count[kind] += 1
    share = epochs / sum(count.values())  # the last epoch may be a part
    return [Stage(first[kind], count[kind] * share) for kind in first]


class StepTimer:
    """Times steps on real batches, without the model being any good for it afterwards.

    Args:
        trainer: is not trained with after that.
        per_epoch: steps of an epoch.
    """

    def __init__(self, trainer: RetrievalTrainer, per_epoch: int) -> None:
        self.trainer, self.per_epoch = trainer, per_epoch
        optimizer = trainer.create_optimizer()
        self.model, self.optimizer = trainer.accelerator.prepare(trainer.model, optimizer)

    def __call__(self, epoch: int) -> float:
        """Return the seconds of a step in an epoch: its pictures, its losses and its weights."""
        trainer = self.trainer
        trainer.freeze(epoch)
        trainer.state.global_step = round((epoch + 0.5) * self.per_epoch)
        size, rows = trainer.args.train_batch_size, len(trainer.view)
        places = [epoch * rows + number % rows for number in range(min(size, rows))]
        spent = [seconds_of(lambda: self._step(places)) for _ in range(1 + STEPS)]
        return median(spent[1:]) * trainer.args.gradient_accumulation_steps

    def _step(self, places: list[int]) -> None:
        trainer = self.trainer
        rows: list[Any] = [trainer.view[place] for place in places]
        batch = trainer.data_collator(rows)
        self.model.train()
        loss = trainer.compute_loss(self.model, trainer._prepare_inputs(batch))
        trainer.accelerator.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if trainer.average is not None:
            trainer.average.on_step_end(trainer.args, trainer.state, trainer.control)


def validation_seconds(
    trainer: RetrievalTrainer, work: Callable[[dict[str, Any]], object]
) -> float:
    """Return the seconds that something takes on validation, from a part of each set."""
    seconds = 0.0
    for name, rows in trainer.data.validation.items():
        part = rows.select(range(min(SCORED, len(rows)))) if hasattr(rows, "select") else rows
        work({name: part})  # the first one is slow
        seconds += seconds_of(partial(work, {name: part})) * len(rows) / len(part)
    return seconds


def checkpoint_seconds(trainer: RetrievalTrainer) -> float:
    """Return the seconds that a checkpoint takes to be written."""
    folder = str(trainer.args.folder / "weights")
    return STATE * seconds_of(lambda: trainer.model.save_pretrained(folder))


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
