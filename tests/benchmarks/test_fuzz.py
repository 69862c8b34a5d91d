"""Hostile input with a fixed seed, and whether the machine that pushes it sees what it should."""

import signal
import tempfile
import time
from pathlib import Path

import fuzz
import pytest
from fuzz_doors import door_targets
from fuzz_inputs import as_json, mutated, spoilt, spoilt_safetensors
from fuzz_pictures import picture_targets
from fuzz_stores import store_targets
from fuzz_targets import Complaint, Refused, Tally, Target, judge, run_target
from fuzz_texts import text_targets
from huggingface_hub import constants
from hypothesis import strategies as st

from rsctir_hf.errors import QueryError
from rsctir_hf.ui.views import results

GROUPS = {
    "pictures": (picture_targets, 40),
    "texts": (text_targets, 40),
    "stores": (store_targets, 10),
    "doors": (door_targets, 60),
}


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_whatever_comes_is_taken_or_refused_in_words(group, offline):
    make, count = GROUPS[group]
    # Inputs name the folder, so it is one whose name has the same length every time.
    with tempfile.TemporaryDirectory() as folder:
        for target in make(Path(folder)):
            tally = run_target(target, count=count, seed=1)
            assert not tally.findings, f"{target.name}: {tally.findings}"
            assert tally.accepted + tally.refused == tally.inputs > 0


def test_a_full_run_has_ten_thousand_inputs(tmp_path, offline):
    targets = []
    for group, (make, _) in GROUPS.items():
        (tmp_path / group).mkdir()
        targets += make(tmp_path / group)
    assert sum(target.count for target in targets) >= 10_000
    assert len({target.name for target in targets}) == len(targets)
    assert set(fuzz.GROUPS) == set(GROUPS)


def door(call, inputs=None):
    return Target("door", st.integers(0, 99) if inputs is None else inputs, call, 50)


def test_a_planted_fault_is_found_once_for_each_place_and_counted():
    def faulty(number):
        if number % 2:
            raise ZeroDivisionError("planted")
        if number > 50:
            raise QueryError("told in words")

    tally = run_target(door(faulty), count=50, seed=0)
    ((place, finding),) = tally.findings.items()
    assert place.startswith("ZeroDivisionError")
    assert finding["said"] == "planted"
    assert finding["count"] + tally.accepted + tally.refused == tally.inputs == 50
    assert min(finding["count"], tally.accepted, tally.refused) > 0


def test_a_fault_planted_in_our_code_is_named_with_its_file_and_function(
    tmp_path, offline, monkeypatch
):
    monkeypatch.setattr(results, "_title", lambda hit, record: record.captions[5])
    target = next(t for t in text_targets(tmp_path) if t.name == "captions: app's gallery")
    tally = run_target(target, count=10, seed=0)
    assert "IndexError in rsctir_hf/ui/views/results.py, picture_detail" in tally.findings


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (Refused("in words"), None),
        (QueryError(""), "refused without words"),
        (Complaint("a traceback is shown"), "Complaint"),
        (SystemExit(0), "SystemExit"),
        (MemoryError("no room"), "MemoryError"),
    ],
)
def test_what_counts_as_a_refusal(error, found):
    def refuse(_):
        raise error

    tally = Tally()
    judge(door(refuse), 1, tally)
    assert (tally.refused == 1) == (found is None)
    assert all(found in place for place in tally.findings)


def test_what_takes_too_long_or_too_much_memory_is_a_finding(monkeypatch):
    monkeypatch.setattr("fuzz_targets.SECONDS", 0.01)
    tally = Tally()
    judge(door(lambda _: signal.pause()), 1, tally)
    assert "slower than the limit" in tally.findings
    memory = iter([100.0, 5000.0])
    monkeypatch.setattr("fuzz_targets.peak_megabytes", lambda: next(memory))
    judge(door(lambda _: None), 1, tally)
    assert tally.findings["more memory than the limit"]["said"] == "4900 MB"


def test_the_same_seed_pushes_the_same_inputs():
    seen = []
    for seed in (3, 3, 4):
        pushed = []
        run_target(door(pushed.append, mutated([b"a file", b"another"])), count=30, seed=seed)
        seen.append(pushed)
    assert seen[0] == seen[1] != seen[2]


def test_spoilt_files_differ_from_the_good_one():
    header = as_json({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})
    good = len(header).to_bytes(8, "little") + header + b"\0" * 4
    document = {"a": [1, {"b": "c"}]}
    pushed = []
    run_target(door(pushed.append, spoilt_safetensors(good)), count=60, seed=0)
    assert sum(each != good for each in pushed) > 50
    run_target(door(lambda each: pushed.append(as_json(each)), spoilt(document)), count=60, seed=0)
    assert document == {"a": [1, {"b": "c"}]}


@pytest.mark.slow
def test_a_group_whose_process_dies_is_a_finding(monkeypatch):
    def die(_):
        signal.raise_signal(signal.SIGKILL)

    monkeypatch.setitem(fuzz.GROUPS, "doors", lambda place: [door(die)])
    tallies = fuzz.run_group("doors", share=1, seed=0)
    assert list(tallies["door"].findings) == [f"the process died with {-signal.SIGKILL}"]


@pytest.mark.slow
def test_a_group_that_hangs_is_ended_and_is_a_finding(monkeypatch):
    monkeypatch.setattr(fuzz, "_HANGS_AFTER", 3.0)  # a fork on a busy machine takes a while
    monkeypatch.setattr(fuzz, "run_target", lambda *_, **__: time.sleep(600))
    monkeypatch.setitem(fuzz.GROUPS, "doors", lambda place: [door(print)])
    tallies = fuzz.run_group("doors", share=1, seed=0)
    assert "the process hangs" in tallies["door"].findings


def test_the_results_file_counts_each_target_and_a_finding_fails_the_run(tmp_path, monkeypatch):
    def faulty(number):
        if number == 0:
            raise ZeroDivisionError(f"in {tmp_path}")

    monkeypatch.setattr(fuzz, "quieten", lambda: None)
    monkeypatch.setattr(fuzz, "GROUPS", {"doors": None})
    found = {"sound": Tally(inputs=2, accepted=2), "broken": Tally(inputs=1)}
    judge(door(faulty), 0, found["broken"])
    monkeypatch.setattr(fuzz, "run_group", lambda group, share, seed: found)
    file = tmp_path / "fuzz.json"
    with pytest.raises(SystemExit, match="findings"):
        fuzz.main(["--json", str(file)])
    written = file.read_text()
    assert '"seed": 0' in written
    assert '"ZeroDivisionError outside of our code"' in written
    found["broken"].findings.clear()
    fuzz.main(["--json", str(file)])
