"""Whether the machine that pushes hostile input sees what it should."""

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsctir_hf.errors import QueryError
from tests.fuzz import oracle
from tests.fuzz.hostile import as_json, mutated, spoilt, spoilt_safetensors
from tests.fuzz.oracle import Complaint, Refused, taken_or_refused


def raising(error):
    def call():
        raise error

    return call


def test_a_planted_fault_is_found_among_inputs_that_are_taken_or_refused():
    def faulty(number):
        if number == 3:
            raise ZeroDivisionError("planted")
        if number > 5:
            raise QueryError("told in words")

    @given(st.integers(0, 9))
    def push(number):
        taken_or_refused(faulty, number)

    with pytest.raises(ZeroDivisionError, match="planted"):
        push()


@pytest.mark.parametrize("refusal", [Refused("in words"), QueryError("in words")])
def test_a_refusal_in_words_is_none(refusal):
    taken_or_refused(raising(refusal))


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (QueryError(""), "refused without words"),
        (Complaint("a traceback is shown"), "a traceback is shown"),
        (SystemExit(0), "the door ended with SystemExit"),
        (BaseException("a panic"), "a panic"),
    ],
)
def test_what_else_comes_out_of_a_door_is_a_complaint(error, found):
    with pytest.raises(Complaint, match=found):
        taken_or_refused(raising(error))


def test_what_takes_too_long_or_too_much_memory_is_a_complaint(monkeypatch):
    with monkeypatch.context() as quick:
        quick.setattr(oracle, "SECONDS", 0.01)
        with pytest.raises(Complaint, match="longer than"):
            taken_or_refused(signal.pause)
    memory = iter([100.0, 5000.0])
    monkeypatch.setattr(oracle, "peak_megabytes", lambda: next(memory))
    with pytest.raises(Complaint, match="4900 MB"):
        taken_or_refused(lambda: None)


def drawn(strategy):
    """Return what a run pushes."""
    pushed = []

    @given(strategy)
    def push(value):
        pushed.append(value)

    push()
    return pushed


def test_every_run_pushes_the_same_inputs():
    inputs = mutated([b"a file", b"another"])
    assert drawn(inputs) == drawn(inputs)


def test_spoilt_files_differ_from_the_good_one():
    header = as_json({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})
    good = len(header).to_bytes(8, "little") + header + b"\0" * 4
    pushed = drawn(spoilt_safetensors(good))
    assert sum(each != good for each in pushed) > 0.8 * len(pushed)
    document = {"a": [1, {"b": "c"}]}
    drawn(spoilt(document))
    assert document == {"a": [1, {"b": "c"}]}
