"""A benchmark pushed by ``rsctir convert --push``, loaded, and trained on by its id."""

import json

import pytest

from tests import miniature
from tests.conftest import ROOT
from tests.loopback_hub.conftest import DATA, READER, WRITER
from tests.loopback_hub.repositories import MAIN
from tests.tiny_recipes import TINY, TINY_CONFIG, flags_of

pytestmark = pytest.mark.slow

COUNTS = {"train": 14, "validation": 5, "test": 4}
LOAD = """
import json, sys
from datasets import load_dataset
whole = load_dataset(sys.argv[1], split="train")
stream = load_dataset(sys.argv[1], split="test", streaming=True)
first = whole[0]
print(json.dumps({
    "rows": len(whole), "captions": first["captions"], "size": first["image"].size,
    "streamed": [row["file_name"] for row in stream],
}))
"""


def trained(family, name, output, *extra):
    """Return the command line of a tiny run that pushes what it has made."""
    options = TINY | {
        "config": TINY_CONFIG[family],
        "data": DATA,
        "test_split": "test",
        "output_dir": str(output),
        "push_to_hub": "true",
        "hub_model_id": name,
        "save_strategy": "epoch",
        "eval_strategy": "epoch",
    }
    recipe = ROOT / "training" / "recipes" / f"{family}_ucm.yaml"
    return [ROOT / "training" / "run.py", recipe, *flags_of(options), *extra]


@pytest.fixture(scope="module")
def runs(hub, pushed, new_client, tmp_path_factory):
    """CMPAGL on the downloaded set, GaLR on the streamed one, then questions to the results."""
    root = tmp_path_factory.mktemp("runs")
    script = root / "load.py"
    script.write_text(LOAD.replace("sys.argv[1]", repr(DATA)))
    pictures = miniature.write_pictures(root / "pictures", ["a.png", "b.png"], side=64)
    index = ["index", "--images", pictures]
    names = {"cmpagl": "org/cmpagl-trained", "galr": "org/galr-trained"}
    answers = new_client().commands(
        trained("cmpagl", names["cmpagl"], root / "cmpagl"),
        trained("galr", names["galr"], root / "galr", "--streaming", "true"),
        [script],
        [{"HF_TOKEN": READER}, *trained("cmpagl", "org/not-mine", root / "refused")],
        *(
            [{"HF_TOKEN": READER}, *index, "--model", name, "--index", root / f"index-{family}"]
            for family, name in names.items()
        ),
        token=WRITER,
    )
    return {"root": root, "names": names, "answers": answers}


@pytest.mark.parametrize(("family", "step"), [("cmpagl", 0), ("galr", 1)])
def test_a_run_on_a_hub_data_set_ends_with_a_model_on_the_hub(hub, runs, family, step):
    answer = runs["answers"][step]
    assert answer.code == 0, answer.err
    results = json.loads((runs["root"] / family / "results.json").read_text())
    assert results["training_sets"] == {"ucm": COUNTS["train"]}
    repository = hub.repository("model", runs["names"][family])
    files = set(repository.commits[repository.branches[MAIN]])
    expected = {"README.md", "LICENSE", "config.json", "model.safetensors", "recipe.yaml"}
    assert expected <= files
    assert "training_args.bin" not in files and not [f for f in files if f.startswith("_")]


def test_a_run_that_may_not_push_ends_before_it_trains(hub, runs):
    answer = runs["answers"][3]
    assert answer.code == 2 and ("model", "org/not-mine") not in hub.repositories
    last = answer.err.splitlines()[-1]
    assert last.startswith("error: The model could not be pushed to org/not-mine: 403")
    assert "hf auth login" in last
    assert not (runs["root"] / "refused" / "config.json").exists()


def test_the_trained_models_index_pictures_by_their_ids(runs):
    for answer in runs["answers"][-2:]:
        assert answer.code == 0, answer.err
        assert "2 pictures indexed" in answer.out


def test_the_pushed_data_set_holds_every_split_and_says_its_terms(hub, runs):
    found = json.loads(runs["answers"][2].out)
    assert found["rows"] == COUNTS["train"]
    assert found["captions"] == miniature.sentences(0) and found["size"] == [32, 32]
    assert found["streamed"] == [f"{number}.tif" for number in range(20, 24)]
    repository = hub.repository("dataset", DATA)
    files = repository.commits[repository.branches[MAIN]]
    card = files["README.md"].content.decode()
    assert "license: other" in card and "USGS" in card and "train 14, validation 5" in card
    assert {f"data/{split}-00000-of-00001.parquet" for split in COUNTS} <= set(files)


def test_a_streamed_run_says_what_it_does_not_check(runs):
    log = runs["answers"][1].err
    assert "Streaming 14 training pictures" in log and "left out as it comes" in log
    assert "Leakage check over 9 pictures" in log
