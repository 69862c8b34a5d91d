"""What every training here adds to the Hugging Face Trainer, whatever it trains.

Learning rates by module, stages of freezing, averaged weights, and checkpoints that count only
when they are whole.
"""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import PreTrainedModel, Trainer, TrainerCallback
from transformers.trainer_utils import TrainOutput

from rsctir_hf.embedding.encode import evaluating
from rsctir_hf.files.atomic import replacing_files
from rsctir_hf.loading.push_errors import explained_push
from rsctir_hf.training.callbacks import StagedFreezing, WeightAverage, setting_of
from rsctir_hf.training.recipe_args import StagedTrainingArguments
from rsctir_hf.training.resumption import LogAtCheckpoints, StopWhenTold, resume_point

logger = logging.getLogger(__name__)

TRAINING_ARGS_NAME = "training_args.bin"


class AveragingTrainer(Trainer):
    """A Trainer with learning rates by module, stages of freezing and averaged weights.

    Args:
        model: the model.
        args: its ``freezing``, ``factors`` and ``average_decay`` are followed.
        callbacks: run after the freezing of an epoch is set.
        options: all else that ``Trainer`` takes.
    """

    args: StagedTrainingArguments
    model: PreTrainedModel

    def __init__(
        self,
        model: nn.Module,
        args: StagedTrainingArguments,
        *,
        callbacks: list[TrainerCallback] | None = None,
        **options: Any,  # noqa: ANN401
    ) -> None:
        args.remove_unused_columns = False
        self.ending = StopWhenTold()
        super().__init__(
            model=model,
            args=args,
            callbacks=[
                StagedFreezing(args.freezing),
                self.ending,
                LogAtCheckpoints(),
                *(callbacks or []),
            ],
            **options,
        )
        # Only now does the model lie on its device.
        self.average = WeightAverage(self.model, args.average_decay) if args.average_decay else None
        if self.average is not None:
            self.add_callback(self.average)
        self.model_accepts_loss_kwargs = False

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> TrainOutput:
        """Train; ``true`` goes on from the last whole checkpoint (see ``resume_point``).

        Raises:
            ModelLoadError: a checkpoint that was named is not whole.
            SystemExit: SIGTERM has come; there is a checkpoint of the last step.
        """
        point = resume_point(self.args.folder, resume_from_checkpoint)
        with self.ending.listening():
            output = super().train(point, *args, **kwargs)
        if self.ending.told:
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
            model = self.model
            factors = self.args.factors
            cls, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            decayed = set(self.get_decay_parameter_names(model))
            groups: dict[tuple[float, float], list[nn.Parameter]] = {}
            for name, parameter in model.named_parameters():
                factor = setting_of(name, factors, default=1.0)
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

    def log_evaluation(self, metrics: dict[str, float]) -> dict[str, float]:
        """Log what an evaluation found, tell the callbacks, and return it."""
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def push_finished(self) -> None:
        """Push the finished model, if the run was told to push; its folder must be whole by now.

        Raises:
            HubError: see ``push_errors.explained_push``.
        """
        if self.args.push_to_hub:
            with explained_push(
                f"The finished model in {self.args.folder}", str(self.hub_model_id)
            ):
                self.push_to_hub(commit_message="End of training")

    @property
    def best_epoch(self) -> float | None:
        """Epoch of the evaluation that chose the weights, as the log has it; None: none did."""
        score = f"eval_{(self.args.metric_for_best_model or '').removeprefix('eval_')}"
        log = self.state.log_history
        scored = {entry["step"]: entry["epoch"] for entry in log if score in entry}
        chosen = self.state.best_global_step if self.args.load_best_model_at_end else None
        return None if chosen is None else scored.get(chosen)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Hold the averaged weights in the model for the length of a ``with`` block."""
        with evaluating(self.model):
            if self.average is not None:
                self.average.swap(self.model)
            try:
                yield
            finally:
                if self.average is not None:
                    self.average.swap(self.model)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:  # noqa: ANN401
        # The average first: Trainer's state, which it writes last, tells that all is there.
        if self.average is not None:
            folder = Path(self._checkpoint_folder())
            folder.mkdir(parents=True, exist_ok=True)
            self.average.save(folder)
        super()._save_checkpoint(model, trial)

    def _checkpoint_folder(self) -> str:
        return f"{self.args.output_dir}/checkpoint-{self.state.global_step}"

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """Write a checkpoint in full precision, and the finished model in half of it.

        Half precision halves the download; the configuration says float32, so the model is
        loaded and run in float32. ``training_args.bin`` is a pickle, which nobody should have to
        load, so it stays out of the finished folder; the recipe says the same.
        """
        folder = Path(output_dir) if output_dir else self.args.folder
        if folder != self.args.folder:
            super()._save(output_dir, state_dict)
            return
        state_dict = {
            name: value.half() if value.is_floating_point() else value
            for name, value in self.model.state_dict().items()
        }
        with replacing_files(folder) as unfinished:
            super()._save(str(unfinished), state_dict)
            (unfinished / TRAINING_ARGS_NAME).unlink()

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Leave the card as the run has written it; ``Trainer`` would put its own over it."""

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.average is not None:
            self.average.load(Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        super()._load_best_model()
        if self.average is not None and self.state.best_model_checkpoint:
            self.average.load(Path(self.state.best_model_checkpoint))


def hold_statistics(model: nn.Module) -> None:
    """Keep the running statistics of every batch norm fixed, by holding it in ``eval``."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
