"""How mutants are counted, and that the file is about the modules of pyproject.toml."""

import json

from mutation import GOAL, NO_TEST, ROOT, SURVIVED, copy_of_tracked_files, counts, modules_of

FOUND = json.loads((ROOT / "results" / "mutation.json").read_text())["modules"]


def test_a_mutant_that_no_test_reaches_has_survived():
    codes = {"a": 1, "b": SURVIVED, "c": NO_TEST, "d": 36}  # 36: out of time
    assert counts(codes) == {"mutants": 4, "killed": 2, "percent": 50.0, "survivors": ["b", "c"]}


def test_every_module_was_tried_and_reaches_the_goal():
    assert set(FOUND) == set(modules_of())
    for module, row in FOUND.items():
        assert (ROOT / module).is_file()
        assert row["killed"] + len(row["survivors"]) == row["mutants"] > 0
        assert row["percent"] >= GOAL


def test_the_copy_has_the_code_and_no_weights(tmp_path):
    copy = copy_of_tracked_files(tmp_path / "copy")
    assert (copy / "rsctir_hf" / "metrics.py").is_file()
    assert (copy / "tests" / "test_metrics.py").is_file()
    assert not list(copy.rglob("*.safetensors"))
