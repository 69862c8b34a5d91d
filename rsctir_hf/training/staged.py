"""What every training here adds to the Hugging Face Trainer, whatever it trains.

Learning rates by module, stages of freezing, averaged weights, early stopping, and checkpoints that
count only when they are whole.
"""

import logging
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.integrations import TensorBoardCallback
from transformers.trainer_utils import TrainOutput

from rsctir_hf.embedding.encode import evaluating
from rsctir_hf.errors import RecipeError
from rsctir_hf.hub.push import push_model
from rsctir_hf.loading.push_errors import explained_push
from rsctir_hf.training.model_parts import has_prefix, named_parts, setting_of
from rsctir_hf.training.objectives.objective import PLACE
from rsctir_hf.training.precision import tune_for_cpu
from rsctir_hf.training.progress import FORWARD, Pace, ProgressInWords
from rsctir_hf.training.recipe_args import StagedTrainingArguments
from rsctir_hf.training.resumption import CHECKPOINTS, LogAtCheckpoints, StopOnSignal, resume_point
from rsctir_hf.training.trainer_internals import SavingTrainer

logger = logging.getLogger(__name__)

ADAPTER = ".lora_"  # in the names of an adapter's parameters
LOGS = "_runs"  # no push takes what begins with an underscore
AVERAGE_FILE = "averaged_weights.safetensors"


class WeightAverage(TrainerCallback):
    """Exponential moving average of a model's trainable floating-point weights.

    When training ends the model is given the average, whether or not its best state was loaded.

    The decay is warmed up as ``min(decay, (1 + step) / (10 + step))`` so that the average
    forgets its random start.

    Args:
        model: the model whose weights are followed.
        decay: share of the old average kept at each step, 0 <= decay < 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = model
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in model.named_parameters()}

    @torch.no_grad()
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Move the average towards the weights the optimizer has just written."""
        decay = min(self.decay, (1 + state.global_step) / (10 + state.global_step))
        for name, value in self.model.named_parameters():
            if value.requires_grad:
                self.weights[name].lerp_(value, 1 - decay)

    @torch.no_grad()
    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Leave the model with the averaged weights, which are those that were evaluated."""
        for name, value in self.model.named_parameters():
            value.copy_(self.weights[name])

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the model's weights with the average; a second call undoes it."""
        for name, value in self.model.named_parameters():
            kept = value.detach().clone()
            value.copy_(self.weights[name])
            self.weights[name].copy_(kept)


class StagedFreezing(TrainerCallback):
    """Freezes for each epoch what does not learn in it.

    Args:
        freeze: does so for the epoch that it is given (``StagedTrainer.freeze``).
    """

    def __init__(self, freeze: Callable[[float], None]) -> None:
        self.freeze = freeze

    def on_epoch_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: object,
    ) -> None:
        """Set ``requires_grad`` for the epoch that begins."""
        self.freeze(state.epoch or 0.0)


class StagedTrainer(SavingTrainer):
    """A Trainer with learning rates by module, stages of freezing and averaged weights.

    Subclasses say how a model is scored, and what the record of a finished run says of it.

    Args:
        model: the model; its memory format is changed (``precision.tune_for_cpu``).
        args: its ``freezing``, ``factors``, ``average_decay`` and ``early_stopping_epochs`` are
            followed.
        callbacks: run after the freezing of an epoch is set.
        options: all else that ``Trainer`` takes.
    """

    def __init__(
        self,
        model: nn.Module,
        args: StagedTrainingArguments,
        *,
        callbacks: list[TrainerCallback] | None = None,
        **options: Any,  # noqa: ANN401
    ) -> None:
        args.remove_unused_columns = False
        args.frozen_epochs = named_parts(model, args.freezing)
        args.lr_factors = named_parts(model, args.factors)
        patience = args.early_stopping_epochs
        self.stopper = StopOnSignal()
        tune_for_cpu(model, bf16=args.bf16)
        super().__init__(
            model=model,
            args=args,
            callbacks=[
                StagedFreezing(self.freeze),
                self.stopper,
                LogAtCheckpoints(),
                *([EarlyStoppingCallback(patience)] if patience else []),
                *(callbacks or []),
            ],
            **options,
        )
        for wordless in (PrinterCallback, ProgressCallback):
            self.remove_callback(wordless)
        self.add_callback(ProgressInWords(self.pace, lambda: self.base_score))
        for logs in self.callback_handler.callbacks:
            if isinstance(logs, TensorBoardCallback) and logs.logging_dir is None:
                logs.logging_dir = str(args.folder / LOGS)  # as they name this host
        # Only now does the model lie on its device.
        self.average = WeightAverage(self.model, args.average_decay) if args.average_decay else None
        if self.average is not None:
            self.add_callback(self.average)
        self.model_accepts_loss_kwargs = False

    def freeze(self, epoch: float) -> None:
        """Freeze what does not learn in an epoch, thaw the rest."""
        apply_freezing(self.model, self.args.freezing, epoch=epoch)

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> TrainOutput:
        """Train; ``true`` goes on from the last whole checkpoint (see ``resume_point``).

        A Ctrl-C ends it after the step at work, with a checkpoint of it and the best model so far
        (``interrupted``).

        Raises:
            ModelLoadError: a checkpoint that was named is not whole.
            SystemExit: SIGTERM has come; there is a checkpoint of the last step.
            KeyboardInterrupt: Ctrl-C has come before the first evaluation, or twice.
        """
        point = resume_point(self.args.folder, resume_from_checkpoint)
        if point is None and self.args.overwrite_output_dir:
            shutil.rmtree(self.args.folder / CHECKPOINTS, ignore_errors=True)
        limit = self.args.save_total_limit
        with self.stopper.listening():
            output = super().train(point, *args, **kwargs)
        self.args.save_total_limit = limit
        if self.interrupted and not self.evaluations:
            raise KeyboardInterrupt(
                f"Stopped by Ctrl-C at step {self.state.global_step} of {self.state.max_steps}, "
                "before the first evaluation: no model is written."
            )
        if self.stopper.received == signal.SIGTERM:
            logger.warning(
                "stopped by SIGTERM: the same command with --resume_from_checkpoint true goes on "
                "from step %d",
                self.state.global_step,
            )
            raise SystemExit(128 + signal.SIGTERM)
        return output

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Make the repository of ``push_to_hub``, before any training; see ``explained_push``."""
        with explained_push("The model", str(self.args.hub_model_id or self.args.output_dir)):
            super().init_hf_repo(token, private)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Group parameters by learning-rate factor and weight decay.

        Modules frozen only for a while are included; an optimizer skips what has no gradient.
        """
        if self.optimizer is None:
            cls, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            decayed = set(self.get_decay_parameter_names(self.model))
            groups: dict[tuple[float, float], list[nn.Parameter]] = {}
            for name, parameter in self.model.named_parameters():
                factor = setting_of(name, self.args.factors, default=1.0)
                decay = self.args.weight_decay if name in decayed else 0.0
                groups.setdefault((factor, decay), []).append(parameter)
            self.optimizer = cls(
                [
                    {"params": members, "lr": options["lr"] * factor, "weight_decay": decay}
                    for (factor, decay), members in groups.items()
                ],
                **options,
            )
        return self.optimizer

    def loader_over(self, rows: Dataset, batches: Sampler[list[int]] | None = None) -> DataLoader:
        """Load rows in the batches of a sampler, or of a stream as they come."""
        args = self.args
        loader = DataLoader(
            rows,
            batch_sampler=batches,
            batch_size=args.train_batch_size if batches is None else 1,
            collate_fn=self.data_collator,
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory,
            persistent_workers=args.dataloader_persistent_workers,
            prefetch_factor=args.dataloader_prefetch_factor,
        )
        return self.accelerator.prepare(loader)

    def settle_weights(self) -> dict[str, Any]:
        """Give the trained model its final weights: what is scored from then on is what is stored.

        They are rounded to half precision here.

        Returns:
            What the record says of them.
        """
        self.average = None  # the model holds it
        self.model.half().float().eval()
        return {}

    def score(self, rows: Any) -> dict[str, float]:  # noqa: ANN401
        """Return figures of the model over validation rows, in percent."""
        raise NotImplementedError

    def final_results(self) -> dict[str, Any]:
        """Return what the record says of the finished model: ``validation``, a list of reports."""
        raise NotImplementedError

    def show(self) -> None:
        """Show what the run has come to, beside record and card."""

    def evaluate(
        self,
        eval_dataset: Any = None,  # noqa: ANN401
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Score validation with the averaged weights, if any, and log it.

        Returns:
            ``PREFIX_NAME`` of each figure that ``score`` names.
        """
        with self.averaged_weights():
            scores = self.score(self.eval_dataset if eval_dataset is None else eval_dataset)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in scores.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def push_finished(self) -> None:
        """Push the finished model, if the run was told to push; its folder must be whole by now.

        ``Trainer.push_to_hub`` would take the page of the run along, with pictures of the user's.
        """
        if self.args.push_to_hub:
            args = self.args
            push_model(
                args.folder,
                str(self.hub_model_id),
                private=bool(args.hub_private_repo),
                revision=args.hub_revision,
                token=args.hub_token,
            )

    @property
    def base_score(self) -> float | None:
        """Validation score of the model that the run goes on from, in percent; None: of none."""
        return None

    @property
    def ending_in_evaluations(self) -> float:
        """How long the scoring of the finished model takes, in evaluations."""
        return 1.0

    def pace(self) -> Pace:
        """Return what estimates the time left, before anything has been timed."""
        rows: Any = self.eval_dataset or ()
        pictures = sum(map(len, rows.values())) if isinstance(rows, Mapping) else len(rows)
        return Pace(FORWARD * pictures / self.args.train_batch_size, self.ending_in_evaluations)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C has ended the training."""
        return self.stopper.received == signal.SIGINT

    @property
    def evaluations(self) -> list[tuple[int, float, float]]:
        """Step, epoch and the figure that chooses the best model, in percent, as the log has it."""
        name = f"eval_{(self.args.metric_for_best_model or 'mR').removeprefix('eval_')}"
        log = self.state.log_history
        return [(int(row["step"]), row["epoch"], row[name]) for row in log if name in row]

    @property
    def best_epoch(self) -> float | None:
        """Epoch of the evaluation that chose the weights, as the log has it; None: none did."""
        scored = {step: epoch for step, epoch, _ in self.evaluations}
        chosen = self.state.best_global_step if self.args.load_best_model_at_end else None
        return None if chosen is None else scored.get(chosen)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Hold the averaged weights in the model for the length of a ``with`` block."""
        with evaluating(self.model):
            if self.average is None:
                yield
                return
            self.average.swap()
            try:
                yield
            finally:
                self.average.swap()

    def save_beside(self, checkpoint: Path) -> None:
        """Write the averaged weights into a checkpoint folder."""
        if self.average is not None:
            weights = {name: value.contiguous() for name, value in self.average.weights.items()}
            save_file(weights, checkpoint / AVERAGE_FILE)

    def load_beside(self, checkpoint: Path) -> None:
        """Read the averaged weights of a checkpoint onto the device of the present ones."""
        if self.average is not None:
            for name, value in load_file(checkpoint / AVERAGE_FILE).items():
                self.average.weights[name].copy_(value)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Leave the card as the run has written it; ``Trainer`` would put its own over it."""


def apply_freezing(model: nn.Module, frozen_epochs: Mapping[str, float], *, epoch: float) -> None:
    """Freeze the parameters whose prefix is still frozen at ``epoch``, thaw the others.

    Where an adapter lies in the model, all but its own and those of objectives stay frozen.

    Raises:
        RecipeError: if a prefix fits no parameter.
    """
    for prefix in frozen_epochs:
        if not any(has_prefix(name, prefix) for name, _ in model.named_parameters()):
            raise RecipeError(f"frozen_epochs: no parameter of the model begins with {prefix!r}.")
    adapted = any(ADAPTER in name for name, _ in model.named_parameters())
    for name, parameter in model.named_parameters():
        until = setting_of(name, frozen_epochs, default=0)
        own = ADAPTER in name or has_prefix(name, PLACE)
        parameter.requires_grad_(epoch >= until >= 0 and (own or not adapted))


def hold_statistics(model: nn.Module) -> None:
    """Keep the running statistics of every batch norm fixed, by holding it in ``eval``."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
