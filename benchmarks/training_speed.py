"""How much of a bare PyTorch loop's speed our Trainer keeps, and what share of a step loading is.

    python benchmarks/training_speed.py --data data/ucm_captions
    python benchmarks/training_speed.py training/recipes/galr_ucm.yaml --data data/ucm_captions

Within one run of the Trainer, blocks of its steps alternate with blocks of a bare loop on a copy
of the model and of the optimizer, so noise of the machine meets both. Both loops see the same
batches and do the same forward, loss, backward, clipping and optimizer step; the Trainer adds
logging, callbacks, the learning-rate schedule and the moving average of the weights. Measured in
the recipe's first stage (all frozen that it freezes) and in its last (all thawed that it thaws),
each with batches made beforehand and with the Trainer's own loader, which is also timed alone.

All this with freed memory kept, as in a training (``rsctir_hf.allocation``). What that brings, and
what bfloat16 does with and without ``rsctir_hf.training.precision``, is measured first: the bare
loop alone, in new processes that take turns. Takes minutes on two quiet cores (``--block 1
--blocks 3`` is the shortest that says something); writes ``results/training_speed.json``.
"""

import copy
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from report import ROOT, flags, median_ratio, rounded, run, save, settings, timed
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import TrainerCallback, TrainerState, set_seed

from rsctir_hf.allocation import keep_freed_memory
from rsctir_hf.data.benchmarks import load_benchmark
from rsctir_hf.training.precision import keep_depthwise_precise
from rsctir_hf.training.recipe_args import parse_recipe
from rsctir_hf.training.retrieval_trainer import RetrievalTrainer
from rsctir_hf.training.sets import TrainingData
from rsctir_hf.training.staged import apply_freezing
from rsctir_hf.training.start import build_model

RECIPE = ROOT / "training" / "recipes" / "cmpagl_ucm.yaml"
BATCHES = 4  # different batches; also how many the loader is timed on
TARGET = 0.90
REPEATS = 2  # processes of each setting
OVERRIDES = {
    "eval_strategy": "no",
    "save_strategy": "no",
    "load_best_model_at_end": "false",
    "report_to": "none",
    "disable_tqdm": "true",
    "logging_steps": "1",  # the most that logging can cost
    "pre_alignment_fraction": "0",  # all losses from the first step on
}

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Setting:
    """How a process of the bare loop runs.

    Attributes:
        kept: it keeps freed memory.
        bfloat16: forward and loss run under autocast.
        precise_depthwise: depthwise convolutions do not.
        contiguous: weights lie as PyTorch makes them.
    """

    kept: bool = True
    bfloat16: bool = False
    precise_depthwise: bool = False
    contiguous: bool = False


SETTINGS = {
    "float32": Setting(),
    "float32_memory_given_back": Setting(kept=False),
    "bfloat16": Setting(bfloat16=True, precise_depthwise=True),
    "bfloat16_depthwise_too": Setting(bfloat16=True),
}


class PreparedTrainer(RetrievalTrainer):
    """Our Trainer, fed with batches made beforehand where there are some.

    Attributes:
        prepared: collated batches in the place of the loader's; empty: the loader itself.
    """

    prepared: Sequence[Batch] = ()

    def get_train_dataloader(self) -> DataLoader:
        """Return a loader that only hands the prepared batches on, or the real one."""
        if not self.prepared:
            return super().get_train_dataloader()
        return DataLoader(self.prepared, batch_size=None)  # type: ignore[arg-type] # a list will do


class BareLoop(TrainerCallback):
    """Runs a block of bare steps after each block of the Trainer's, and times both.

    Args:
        trainer: whose model, optimizer, loss and clipping the bare loop takes.
        batches: what the bare loop is fed with, over and over.
        block: steps in a block.

    Attributes:
        trainer_seconds: of each block of Trainer steps, the first one (warm-up) included.
        bare_seconds: of each block of bare steps.
    """

    def __init__(self, trainer: RetrievalTrainer, batches: Sequence[Batch], block: int) -> None:
        self.trainer = trainer
        self.bfloat16 = trainer.args.bf16
        self.model, self.optimizer = copy.deepcopy((trainer.model, trainer.create_optimizer()))
        self.batches = cycle(batches)
        self.block = block
        self.started = 0.0
        self.trainer_seconds: list[float] = []
        self.bare_seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:  # noqa: ANN401
        """Start the clock of the first block."""
        if not self.started:
            self.started = time.perf_counter()

    def on_step_end(self, args: Any, state: TrainerState, *_: Any, **__: Any) -> None:  # noqa: ANN401
        """After a block: stop the clock, run the bare block, start the clock again.

        What the Trainer does after this call, logging say, counts to its next block.
        """
        if state.global_step % self.block:
            return
        self.trainer_seconds.append(time.perf_counter() - self.started)
        if state.global_step == self.block:
            # StagedFreezing has decided by now what is trained.
            for mine, theirs in zip(
                self.model.parameters(), self.trainer.model.parameters(), strict=True
            ):
                mine.requires_grad_(theirs.requires_grad)
        start = time.perf_counter()
        for batch in islice(self.batches, self.block):
            self.step(batch)
        self.started = time.perf_counter()
        self.bare_seconds.append(self.started - start)

    def step(self, batch: Batch) -> None:
        """Forward, loss, backward, clipping, optimizer."""
        self.model.train()
        with torch.autocast(self.trainer.args.device.type, torch.bfloat16, enabled=self.bfloat16):
            loss: Any = self.trainer.compute_loss(self.model, dict(batch))
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.trainer.args.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = flags(__doc__, "training_speed.json")
    parser.add_argument("recipe", nargs="?", type=Path, default=RECIPE)
    parser.add_argument("--data", required=True, help="folder of the recipe's benchmark")
    parser.add_argument("--block", type=int, default=2, help="steps in a block")
    parser.add_argument("--blocks", type=int, default=5, help="counted blocks of either loop")
    options = parser.parse_args(arguments)
    compared = compare_settings(options.recipe, options.data, steps=2 * options.block)
    keep_freed_memory()  # as training/run.py does
    with tempfile.TemporaryDirectory() as folder:
        found = measure(
            options.recipe, options.data, block=options.block, blocks=options.blocks, folder=folder
        )
    save(options.output, found | {"compared": compared})


def compare_settings(recipe: Path, data: str, *, steps: int) -> dict[str, Any]:
    """Time ``steps`` bare steps of each stage in processes of each setting, by turns.

    Returns:
        By stage and setting the seconds per step of each process, and ``speed``: how many times as
        fast as ``float32``, the median over the turns.
    """
    turns = [
        {
            name: in_new_process(bare_seconds, recipe, data, steps, setting)
            for name, setting in SETTINGS.items()
        }
        for _ in range(REPEATS)
    ]
    compared: dict[str, Any] = {}
    for stage in turns[0]["float32"]:
        spent = {name: [turn[name][stage] for turn in turns] for name in SETTINGS}
        compared[stage] = {
            name: {
                "speed": median_ratio(spent["float32"], seconds),
                "seconds_per_step": rounded(seconds, 3),
            }
            for name, seconds in spent.items()
        }
    return compared


def in_new_process(function: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401
    """Call ``function`` in a process of its own, whose memory nothing has used before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def bare_seconds(recipe: Path, data: str, steps: int, setting: Setting) -> dict[str, float]:
    """Return the median seconds of a bare step in each stage, after one step that is not counted.

    ``steps`` are counted of each stage; ``setting`` holds for the rest of this process.
    """
    if setting.kept:
        keep_freed_memory()
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_maker(recipe, data, steps=steps, folder=folder)()
        if setting.precise_depthwise:
            keep_depthwise_precise(trainer.model)
        if setting.contiguous:
            nn.Module.to(trainer.model, memory_format=torch.contiguous_format)
        batches = list(trainer.get_train_dataloader())
        for stage, frozen in stages_of(trainer.args.freezing).items():
            bare = BareLoop(trainer, batches, 1)
            bare.bfloat16 = setting.bfloat16
            apply_freezing(bare.model, frozen, epoch=0.0)
            fed = islice(cycle(batches), steps + 1)
            _, *counted = [timed(partial(bare.step, batch))[0] for batch in fed]
            seconds[stage] = statistics.median(counted)
    return seconds


def trainer_maker(
    recipe: Path, data: str, *, steps: int, folder: str
) -> Callable[[], PreparedTrainer]:
    """Load a recipe's model and first pictures, and return what makes a Trainer over both.

    A run of it has ``steps``, and it may write to ``folder``.
    """
    flags = {**OVERRIDES, "output_dir": folder, "max_steps": str(steps)}
    given = [part for key, value in flags.items() for part in (f"--{key}", value)]
    model_args, data_args, args = parse_recipe([str(recipe), *given])
    set_seed(args.seed)
    rows = load_benchmark(data_args.name, data, split="train", complete=False, verify=False)
    rows = rows.select(range(min(len(rows), BATCHES * args.train_batch_size)))
    encoder = build_model(model_args, rows["captions"])
    sets = {data_args.name: rows}

    def trainer() -> PreparedTrainer:
        return PreparedTrainer(encoder, args, data=TrainingData(sets, sets))

    return trainer


def stages_of(freezing: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return what is frozen in the first stage of a recipe's freezing and in its last."""
    return {
        "frozen": dict.fromkeys(freezing, -1.0),
        "thawed": {name: epochs for name, epochs in freezing.items() if epochs < 0},
    }


def measure(recipe: Path, data: str, *, block: int, blocks: int, folder: str) -> dict[str, Any]:
    """Time the loader and both loops, for the first and the last stage of the recipe's freezing.

    Of either loop ``blocks`` of ``block`` steps are counted; one more of each comes first. The
    Trainer may write to ``folder``.
    """
    trainer = trainer_maker(recipe, data, steps=block * (blocks + 1), folder=folder)
    own = trainer()  # decodes each picture once, in the first pass, as a training does
    args = own.args
    stages = stages_of(args.freezing)
    first_pass, batches = timed(lambda: list(own.get_train_dataloader()))
    later_pass, again = timed(lambda: list(own.get_train_dataloader()))
    per_batch = later_pass / len(again)
    loops: dict[str, Any] = {}
    for stage, frozen in stages.items():
        args.frozen_epochs = frozen
        for prepared in (True, False):
            current = trainer()
            current.view = own.view
            current.prepared = batches if prepared else ()
            name = f"{stage}, {'prepared batches' if prepared else 'own loader'}"
            loops[name] = compare(current, batches, block=block)
    bare = {stage: loops[f"{stage}, prepared batches"]["bare_seconds_per_step"] for stage in stages}
    return {
        "recipe": recipe.stem,
        "target_ratio": TARGET,
        "loops": loops,
        "loader": {
            "num_workers": args.dataloader_num_workers,
            "seconds_per_batch_first_epoch": round(first_pass / len(batches), 3),
            "seconds_per_batch_later": round(per_batch, 3),
            "share_of_bare_step": {
                stage: round(per_batch / seconds, 3) for stage, seconds in bare.items()
            },
        },
        "settings": settings(
            batch_size=args.train_batch_size,
            captions_per_image=args.captions_per_image,
            image_size=own.model.config.image_size,
            average_decay=args.average_decay,
            block=block,
            blocks=blocks,
            bfloat16=args.bf16,
            c_library=" ".join(platform.libc_ver()),
        ),
    }


def compare(trainer: RetrievalTrainer, batches: Sequence[Batch], *, block: int) -> dict[str, Any]:
    """Run a training with a bare loop on ``batches`` between its blocks and compare their times.

    Returns:
        Seconds per step of both (medians over blocks) and ``ratio``, the Trainer's speed over
        the bare loop's: the median over pairs of blocks, which ``ratios`` lists.
    """
    bare = BareLoop(trainer, batches, block)
    trainer.add_callback(bare)
    trainer.train()
    # The first block of each is for warming up.
    ours, theirs = bare.trainer_seconds[1:], bare.bare_seconds[1:]
    return {
        "ratio": median_ratio(theirs, ours),
        "ratios": rounded((their / our for our, their in zip(ours, theirs, strict=True)), 3),
        "trainer_seconds_per_step": round(statistics.median(ours) / block, 3),
        "bare_seconds_per_step": round(statistics.median(theirs) / block, 3),
    }


if __name__ == "__main__":
    run(main)
