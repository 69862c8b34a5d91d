"""The killer of work: it sees what is torn, and tells it from what is older or newer."""

import json
import multiprocessing
import random
import time

import numpy as np
import pytest
from faults import (
    ROOT,
    Tally,
    Work,
    changes_files,
    count_events,
    kill_after,
    kill_at_event,
    kill_at_random,
    look,
    same,
)

from rsctir_hf.files.atomic import write_atomically


def work_on(write):
    """Work that replaces ``a.txt`` by a longer one with ``write``."""
    return Work(
        run=lambda folder: write(folder / "a.txt", "newer" * 1000),
        state=lambda folder: (folder / "a.txt").read_text(),
        older=lambda folder: write(folder / "a.txt", "older"),
    )


def torn(path, text):
    """Write in two steps; a kill at the second one leaves half, however fast the machine is."""
    for mode, part in (("w", text[: len(text) // 2]), ("a", text[len(text) // 2 :])):
        with path.open(mode) as file:
            file.write(part)


@pytest.mark.slow
@pytest.mark.parametrize(("write", "whole"), [(write_atomically, True), (torn, False)])
def test_torn_files_are_findings_and_whole_ones_are_none(tmp_path, write, whole):
    random.seed(0)
    tally = kill_at_random(work_on(write), tmp_path, kills=12, title="files")
    assert tally.kills == 12
    assert (tally.findings == []) == whole
    assert tally.left_older > 0
    if whole:
        assert tally.resumed_equal == 12 + tally.ended_before


def test_what_is_neither_older_nor_newer_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("half")
    with pytest.raises(ValueError, match="neither the older nor the newer"):
        look(work_on(write_atomically), tmp_path, "older", "newer", Tally())


@pytest.mark.slow
def test_events_are_changes_to_files_alone(tmp_path):
    assert changes_files("open", ("a.txt", "w"))
    assert changes_files("os.rename", ("a", "b"))
    assert not changes_files("open", ("a.txt", "r"))
    assert not changes_files("open", ("/dev/null", "w"))
    assert not changes_files("socket.connect", ("a",))
    work = work_on(write_atomically)
    events = count_events(lambda: work.run(tmp_path))
    assert events >= 2  # written, then moved
    assert kill_at_event(lambda: work.run(tmp_path), events)
    assert not kill_at_event(lambda: work.run(tmp_path), events + 1)


@pytest.mark.slow
def test_work_is_killed_only_while_it_goes_on():
    assert kill_after(lambda: time.sleep(60), 0.05)
    assert not kill_after(lambda: None, 60)
    assert not multiprocessing.active_children()


def test_states_are_equal_up_to_the_tolerance():
    whole = {"loss": np.array([(1, 0.5)]), "weights": {"w": np.zeros(2)}, "config.json": True}
    assert same(whole, whole | {"loss": np.array([(1, 0.5 + 1e-7)])})
    assert not same(whole, whole | {"loss": np.array([(1, 0.5001)])})
    assert not same(whole, whole | {"weights": {"v": np.zeros(2)}})
    assert not same(whole, whole | {"config.json": False})
    named = (["a"], np.array([[1.0, 0.0]]))
    assert same(named, (["a"], np.array([[1.0 + 1e-7, 0.0]])))
    assert not same(named, (["b"], named[1])) and not same(named, None)
    assert same(None, None)


def test_the_results_file_has_fifty_kills_of_each_and_no_finding():
    found = json.loads((ROOT / "results" / "faults.json").read_text())
    assert set(found["work"]) == {"training", "embedding", "indexing", "cards"}
    for row in found["work"].values():
        assert row["kills"] == found["kills_of_each"] == 50
        assert row["findings"] == []
        assert row["resumed_equal"] == 50 + row["ended_before"]
