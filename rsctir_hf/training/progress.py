"""How far a training is, in words: a bar in a terminal, a line now and then elsewhere."""

import logging
import time
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rsctir_hf.time_left import in_words

logger = logging.getLogger(__name__)

LATE = 12  # steps that make the pace: stages of freezing and sizes of pictures change it
EVERY = 30.0  # seconds between lines
FORWARD = 1 / 3  # of the time of a training step is its forward pass


class Pace:
    """Estimates the time left from the steps of late, the evaluations so far and those to come.

    Args:
        evaluation: time of an evaluation in training steps, before one has been seen.
        ending: time of all that follows the last step, in evaluations.
        clock: seconds; tests hand in their own.
    """

    def __init__(
        self, evaluation: float, ending: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._evaluation, self._ending, self._clock = evaluation, ending, clock
        self._steps: deque[float] = deque(maxlen=LATE)
        self._paused, self._evaluations = 0.0, 0
        self._since = clock()

    def step(self) -> None:
        """Note that a step, and the loading of its batch, has ended."""
        self._steps.append(self._lap())

    def pause(self, *, evaluated: bool) -> None:
        """Note that something between two steps has ended: an evaluation or a checkpoint."""
        self._paused += self._lap()
        self._evaluations += evaluated

    def seconds(self, steps: int, evaluations: int) -> float | None:
        """Return the time left before so many more steps and evaluations; None: no step is done."""
        if not self._steps:
            return None
        step = median(self._steps)
        if self._evaluations:
            evaluation = self._paused / self._evaluations
        else:
            evaluation = self._evaluation * step
        return steps * step + (evaluations + self._ending) * evaluation

    def _lap(self) -> float:
        now = self._clock()
        passed, self._since = now - self._since, now
        return passed


class ProgressInWords(TrainerCallback):
    """Says epoch, step, loss, score and time left.

    Args:
        pace: estimates the time left.
        base: score of the model that the run goes on from; None: it began anew.
    """

    def __init__(self, pace: Callable[[], Pace], base: Callable[[], float | None]) -> None:
        self._new_pace, self._base = pace, base
        self._loss = ""
        self._bar: tqdm | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Start the clock, and the bar where there is a terminal."""
        self._pace, self._said = self._new_pace(), time.monotonic()
        if not args.disable_tqdm:
            layout = "{desc} |{bar}| {n_fmt}/{total_fmt} steps{postfix}"
            self._bar = tqdm(total=state.max_steps, bar_format=layout, dynamic_ncols=True)
        first = state.global_step
        logger.info(
            "Training: steps %d to %d in %g epoch(s)", first + 1, state.max_steps, _epochs(state)
        )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Move the bar, or say a line if the last one is long ago."""
        self._pace.step()
        if self._bar is not None:
            self._bar.set_description(_place(state), refresh=False)
            self._bar.set_postfix_str(self._left(args, state).removeprefix(", "), refresh=False)
            self._bar.update(state.global_step - self._bar.n)
        elif time.monotonic() - self._said > EVERY:
            self._say(
                f"{_place(state)}, step {state.global_step} of {state.max_steps}", args, state
            )

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
        logs: dict[str, Any] | None = None, **_: object,
    ) -> None:  # fmt: skip
        """Keep the loss for the next line."""
        if logs and "loss" in logs:
            self._loss = f", loss {float(logs['loss']):.3g}"

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
        metrics: dict[str, float] | None = None, **_: object,
    ) -> None:  # fmt: skip
        """Say what the evaluation has found."""
        if not hasattr(self, "_pace"):  # evaluated by hand
            return
        self._pace.pause(evaluated=True)
        name = (args.metric_for_best_model or "mR").removeprefix("eval_")
        score = (metrics or {}).get(f"eval_{name}")
        base = self._base()
        beside = "" if base is None else f" (base {base:.1f})"
        if score is not None:
            self._say(f"{_place(state)}: validation {name} {score:.1f}{beside}", args, state)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Count the time of a checkpoint."""
        self._pace.pause(evaluated=False)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Say how it ended."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        early = ", before its last step" if state.global_step < state.max_steps else ""
        place = _place(state).lower()
        logger.info("Training has ended with %s%s. Scoring the result", place, early)

    def _say(self, what: str, args: TrainingArguments, state: TrainerState) -> None:
        self._said = time.monotonic()
        if self._bar is not None:
            self._bar.clear()
        logger.info("%s%s%s", what, self._loss, self._left(args, state))

    def _left(self, args: TrainingArguments, state: TrainerState) -> str:
        steps = state.max_steps - state.global_step
        return in_words(self._pace.seconds(steps, evaluations_left(args, state)))


def evaluations_left(args: TrainingArguments, state: TrainerState) -> int:
    """Return how many evaluations are still to come."""
    if args.eval_strategy == "epoch":
        return round(_epochs(state)) - int(state.epoch or 0)
    if args.eval_strategy == "steps":
        every = max(1, int(state.eval_steps or 1))
        return state.max_steps // every - state.global_step // every
    return 0


def _epochs(state: TrainerState) -> float:
    return state.num_train_epochs


def _place(state: TrainerState) -> str:
    epoch = -(-(state.epoch or 0) // 1) or 1
    return f"Epoch {epoch:g} of {_epochs(state):g}"
