"""Interrupted training: how it ends, and where it goes on.

``Trainer`` writes a checkpoint file by file into its final place, so a process that was killed, or
ran out of disk, leaves one that looks like any other. Here a checkpoint counts when the files that
``Trainer`` reads are there and can be read to their end.
"""

import logging
import os
import re
import shlex
import signal
import sys
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from safetensors import SafetensorError, safe_open
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rsctir_hf.errors import ModelLoadError
from rsctir_hf.files.atomic import parse_json

logger = logging.getLogger(__name__)

#: Below the folder of a run: what only serves going on. No push takes what begins with "_".
CHECKPOINTS = "_checkpoints"
STATE_FILE = "trainer_state.json"  # the last that Trainer writes
PICKLED = ("optimizer.pt", "scheduler.pt")
_NAME = re.compile(r"checkpoint-(\d+)")
_WORDS = {"true": True, "false": False}
_ONCE_MORE = (
    b"\nCtrl-C: training stops after the step at work and keeps the best so far. Ctrl-C once more "
    b"ends it at once.\n"
)


def resume_point(folder: Path, asked: str | bool | None) -> str | None:
    """Return the checkpoint that training goes on from, or None to begin.

    Args:
        folder: of the run.
        asked: a checkpoint folder, or true for the last whole one of this run. Broken ones are
            passed over with a warning; where none is left, training begins anew.

    Raises:
        ModelLoadError: a checkpoint that was named is not whole.
    """
    wanted = _wanted(asked)
    if not wanted:
        return None
    if isinstance(wanted, str):
        if fault := checkpoint_fault(Path(wanted)):
            raise ModelLoadError(
                f"{wanted} is no whole checkpoint: {fault}. Name another, or say true for the last "
                "whole one of the run."
            )
        return wanted
    for checkpoint in checkpoints_of(folder):
        fault = checkpoint_fault(checkpoint)
        if fault is None:
            logger.info("Training goes on from %s", checkpoint)
            return str(checkpoint)
        logger.warning("%s is passed over: %s", checkpoint, fault)
    logger.warning("%s holds no whole checkpoint; training begins anew", folder)
    return None


def goes_on_in(folder: Path, asked: str | bool | None) -> bool:
    """Tell whether ``resume_from_checkpoint`` goes on with the run of a folder."""
    wanted = _wanted(asked)
    found = [each.resolve() for each in checkpoints_of(folder)]
    return Path(wanted).resolve() in found if isinstance(wanted, str) else bool(wanted and found)


def _wanted(asked: str | bool | None) -> str | bool | None:
    """Read "true" and "false" as such; what else a text says is a checkpoint."""
    return _WORDS.get(asked.lower(), asked) if isinstance(asked, str) else asked


def checkpoints_of(folder: Path) -> list[Path]:
    """Return the checkpoint folders of a run, whole or not, latest step first."""
    places = (folder / CHECKPOINTS).glob("*")
    matches = {path: _NAME.fullmatch(path.name) for path in places if path.is_dir()}
    steps = {path: int(match[1]) for path, match in matches.items() if match}
    return sorted(steps, key=steps.__getitem__, reverse=True)


def checkpoint_fault(checkpoint: Path) -> str | None:
    """Say what keeps a checkpoint from being resumed; None if nothing does."""
    try:
        parse_json((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
        weights = sorted(checkpoint.glob("*.safetensors"))
        if not weights:
            return "it holds no weights"
        for file in weights:
            with safe_open(file, framework="pt"):  # compares the file's length with its header
                pass
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, SafetensorError) as error:
        return f"a file is cut short or damaged ({error})"
    random_states = sorted(checkpoint.glob("rng_state*.pth"))
    if not random_states:
        return "rng_state.pth is missing"
    for pickled in (*(checkpoint / name for name in PICKLED), *random_states):
        if not zipfile.is_zipfile(pickled):  # its table of contents stands at the end
            return f"{pickled.name} is {'cut short' if pickled.exists() else 'missing'}"
    return None


class LogAtCheckpoints(TrainerCallback):
    """Logs the loss whenever a checkpoint is written.

    The logged loss is the mean since the last log, and a checkpoint does not hold the sum so far:
    only where both fall together has a resumed run the same curve as an uninterrupted one.
    """

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Ask for a log where a checkpoint is asked for."""
        control.should_log = control.should_log or control.should_save

    on_epoch_end = on_step_end


class StopOnSignal(TrainerCallback):
    """Ends training with a checkpoint after the step at work, once SIGTERM or Ctrl-C has come.

    A second Ctrl-C ends at once.

    Attributes:
        received: the signal that has come; None before.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._process = os.getpid()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen for the length of a ``with`` block; only a main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Save and stop, once the signal has come."""
        if self.received:
            control.should_save = control.should_training_stop = True

    on_evaluate = on_step_end

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Keep this last step beside the best one, as a limit of 1 would not."""
        if self.received and args.save_total_limit == 1:
            args.save_total_limit = 2

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Leave out the evaluation of an epoch that was cut; a run that goes on will make it."""
        if self.received and (state.epoch or 0) % 1:
            control.should_evaluate = control.should_save = False

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a loader's worker, forked while we listen
            if number == signal.SIGINT:  # a terminal sends it to all; the step needs its pictures
                return
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if number == signal.SIGINT:
            if self.received:
                raise KeyboardInterrupt
            os.write(2, _ONCE_MORE)  # a stream may be at work in this very moment
        self.received = number


@contextmanager
def telling_how_to_go_on(command: Sequence[str]) -> Iterator[None]:
    """End the program with exit code 130 on Ctrl-C, and say with which command the run goes on.

    Args:
        command: that started it, word by word.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        again = shlex.join([*command, "--resume_from_checkpoint", "true"])
        said = str(stop) or "Stopped by Ctrl-C."
        sys.stderr.write(f"\n{said} To go on:\n  {again}\n")
        sys.exit(128 + signal.SIGINT)
