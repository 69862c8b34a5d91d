"""What ``benchmarks/finetune.py`` makes of its runs."""

from finetune import summary


def run(model, pictures, seed, own, ucm, *, way="", minutes=2.0):
    key = {"model": model, "pictures": pictures, "seed": seed, "way": way}
    return key | {"minutes": minutes, "test": {"own": own, "ucm": ucm}}


def test_runs_of_one_kind_become_one_row_beside_the_base_of_their_model():
    bases = [
        {"model": name, "pictures": 0, "seed": 0, "way": "", "test": {"own": own, "ucm": 50.0}}
        for name, own in (("a", 10.0), ("b", 20.0))
    ]
    runs = [
        run("a", 30, 0, 12.0, 49.0),
        run("b", 30, 0, 21.0, 50.5),
        run("a", 30, 1, 16.0, 50.0, minutes=3.0),
        run("a", 30, 0, 11.0, 50.0, way="--lora true"),
        run("a", 100, 0, 18.0, 48.0),
    ]
    first, other, lora, more = summary([bases[0], *runs, bases[1]])
    # Mean (12 + 16) / 2; deviation sqrt((2 ** 2 + 2 ** 2) / 1); gain over the base 14 - 10.
    assert first == {
        **{"model": "a", "pictures": 30, "way": "", "seeds": 2, "minutes": 2.5},
        **{"own": 14.0, "own_spread": 2.83, "own_gain": 4.0},
        **{"ucm": 49.5, "ucm_spread": 0.71, "ucm_gain": -0.5},
    }
    assert (other["model"], other["own_gain"], other["own_spread"]) == ("b", 1.0, None)
    assert (lora["way"], lora["own"], lora["seeds"]) == ("--lora true", 11.0, 1)
    assert (more["pictures"], more["own_gain"], more["ucm_gain"]) == (100, 8.0, -2.0)


def test_bases_alone_have_no_row():
    base = {"model": "a", "pictures": 0, "seed": 0, "way": "", "test": {"own": 1.0, "ucm": 2.0}}
    assert summary([]) == summary([base]) == []
