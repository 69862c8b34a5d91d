"""What we override of the private methods of ``transformers.Trainer``: all of it stands here.

Private methods may change with any release. Of each: why no public one will do, and the test that
fails where transformers no longer calls it as we expect. That they are still there with these
parameters is tested too (``tests/training/test_trainer_internals.py``).

=========================  ===================================================  ==================
Method                     Why                                                  Told by
=========================  ===================================================  ==================
``_save_checkpoint``       what lies beside the weights must be there before    ``..._is_whole_
                           ``trainer_state.json``, which the method writes      before_the_
                           last; ``on_save`` comes after it                     checkpoint_counts``
``_save``                  the finished folder holds half precision and no      ``..._finished_
                           pickle, checkpoints do; both come this way           folder_holds_...``
``_load_from_checkpoint``  what lies beside the weights is read where they      ``..._resumed_from_
                           are, before the first step                           a_checkpoint_...``
``_load_best_model``       the same for the state that validation chose         ``test_best_by_
                                                                                validation_...``
``_get_output_dir``        checkpoints lie in a folder that no push takes       ``test_nothing_that_
                                                                                only_serves_...``
=========================  ===================================================  ==================

``save_model(_internal_call=True)`` saves without a push; the card is not yet written then.
"""

from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel, Trainer

from rsctir_hf.files.atomic import replacing_files
from rsctir_hf.loading.hub_files import remove_other_kind
from rsctir_hf.training.recipe_args import FAMILIES, StagedTrainingArguments
from rsctir_hf.training.resumption import CHECKPOINTS

TRAINING_ARGS_NAME = "training_args.bin"


class SavingTrainer(Trainer):
    """A Trainer whose checkpoints may hold more, and whose finished folder holds less.

    Subclasses say what more by ``save_beside`` and ``load_beside``.
    """

    args: StagedTrainingArguments
    model: PreTrainedModel

    def save_beside(self, checkpoint: Path) -> None:
        """Write into a checkpoint folder what belongs to it beside the weights."""

    def load_beside(self, checkpoint: Path) -> None:
        """Read from a checkpoint what ``save_beside`` has written there."""

    def save_finished(self) -> None:
        """Write the finished model and its processor into the run's folder; nothing is pushed."""
        self.save_model(_internal_call=True)
        others = set(FAMILIES) - {self.model.config.model_type}
        remove_other_kind(self.args.folder, adapter=False, families=others)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:  # noqa: ANN401
        checkpoint = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
        checkpoint.mkdir(parents=True, exist_ok=True)
        self.save_beside(checkpoint)
        super()._save_checkpoint(model, trial)

    def _get_output_dir(self, trial: Any) -> str:  # noqa: ANN401
        return str(self.args.folder / CHECKPOINTS)

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

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.load_beside(Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        super()._load_best_model()
        if self.state.best_model_checkpoint:
            self.load_beside(Path(self.state.best_model_checkpoint))
