"""Working ahead in threads: the order, how far ahead, and what happens to errors."""

import threading
import time

import pytest
import torch

from rsctir_hf.embedding import read_ahead as module
from rsctir_hf.embedding.read_ahead import default_workers, one_processor, read_ahead


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_results_come_in_the_order_of_the_jobs(workers):
    def work(number):
        time.sleep(0.003 * (number % 3 == 0))
        return number * number

    assert list(read_ahead(work, range(20), workers=workers)) == [n * n for n in range(20)]


@pytest.mark.parametrize(("workers", "most"), [(1, None), (3, None), (1, 6)])
def test_as_much_is_read_ahead_as_may_wait_and_no_more(workers, most):
    taken = []

    def jobs():
        for number in range(50):
            taken.append(number)
            yield number

    results = read_ahead(lambda number: number, jobs(), workers=workers, most=most)
    for number in range(10):
        assert next(results) == number
        assert len(taken) == number + 1 + (most or workers + 1)
    results.close()
    assert len(taken) < 50


def test_work_goes_on_while_the_caller_is_busy():
    begun = threading.Event()

    def work(number):
        if number == 1:
            begun.set()
        return number

    results = read_ahead(work, range(3), workers=1)
    assert next(results) == 0
    assert begun.wait(timeout=10)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_is_raised_in_its_turn(workers):
    results = read_ahead(lambda number: 1 // number, [1, 1, 0, 1], workers=workers)
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_threads_end_with_the_caller_who_leaves_early():
    before = threading.active_count()
    results = read_ahead(lambda number: number, range(100), workers=2)
    next(results)
    results.close()
    assert threading.active_count() == before


def test_what_is_read_ahead_takes_no_cores_from_the_rest():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        inside = list(read_ahead(lambda _: torch.get_num_threads(), range(6), workers=2))
        later = []
        other = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        other.start()
        other.join()
        assert inside == [1] * 6
        assert (torch.get_num_threads(), later) == (3, [3])
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_there_are_as_many_workers_as_processors_that_pytorch_may_and_can_use(
    three_threads, monkeypatch
):
    for usable, workers in [(16, 3), (2, 2), (1, 1)]:
        monkeypatch.setattr(module, "usable_processors", lambda usable=usable: usable)
        assert default_workers() == workers
    torch.set_num_threads(64)
    monkeypatch.setattr(module, "usable_processors", lambda: 128)
    assert default_workers() == 8


def test_a_single_query_takes_one_processor_and_gives_the_others_back(three_threads):
    later = []
    with pytest.raises(KeyError), one_processor():
        assert torch.get_num_threads() == 1
        other = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        other.start()
        other.join()
        raise KeyError
    assert (torch.get_num_threads(), later) == (3, [3])
