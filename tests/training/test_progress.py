"""Time left: evaluations between the steps and the scoring at the end do not bend it."""

from types import SimpleNamespace

import pytest

from rsctir_hf.training.progress import Pace, evaluations_left

STEP, EVALUATION, CHECKPOINT, EPOCHS, STEPS = 2.0, 15.0, 1.0, 10, 6


def test_the_time_left_is_right_once_an_evaluation_has_been_seen_and_near_before():
    now = [0.0]
    pace = Pace(7.0, 3.0, clock=lambda: now[0])
    assert pace.seconds(60, 10) is None
    # 60 steps of 2 s, 10 evaluations of 16 s with their checkpoint, and 3 such at the end
    whole = EPOCHS * STEPS * STEP + (EPOCHS + 3) * (EVALUATION + CHECKPOINT)
    for epoch in range(EPOCHS):
        for step in range(STEPS):
            slow = 3.0 if step == 4 else 0.0  # something else was at work
            now[0] += STEP + slow
            whole += slow
            pace.step()
            left = pace.seconds((EPOCHS - epoch) * STEPS - step - 1, EPOCHS - epoch)
            assert left == pytest.approx(whole - now[0], rel=0.01 if epoch else 0.2)
        now[0] += EVALUATION
        pace.pause(evaluated=True)
        now[0] += CHECKPOINT
        pace.pause(evaluated=False)
    assert pace.seconds(0, 0) == pytest.approx(3 * (EVALUATION + CHECKPOINT))


@pytest.mark.parametrize(
    ("strategy", "step", "left"), [("epoch", 0, 5), ("epoch", 12, 3), ("steps", 9, 7), ("no", 3, 0)]
)
def test_evaluations_are_counted_by_the_strategy(strategy, step, left):
    args = SimpleNamespace(eval_strategy=strategy)
    state = SimpleNamespace(
        max_steps=30, global_step=step, epoch=step / 6, num_train_epochs=5, eval_steps=3
    )
    assert evaluations_left(args, state) == left
