"""What goes wrong on the way from and to the Hub: one clear line, and nothing half-written."""

import json
import pickle
from pathlib import Path

import pytest

from tests import miniature
from tests.loopback_hub.conftest import DATA, READER, WRITER

pytestmark = pytest.mark.slow

WEIGHTS = "model.safetensors"


class Trap:
    """A pickle that creates a file when it is opened."""

    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return Path.touch, (Path(self.file),)


@pytest.fixture(scope="module")
def broken(hub, pushed, tmp_path_factory):
    """Repositories that cannot be loaded, each for its own reason; return the trap's file."""
    folder = pushed.folders["cmpagl"][0]
    whole = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    config = json.loads(whole["config.json"])

    def with_config(**changes):
        changed = {key: value for key, value in (config | changes).items() if value is not None}
        return whole | {"config.json": json.dumps(changed).encode()}

    trap = tmp_path_factory.mktemp("trap") / "sprung"
    pickled = {name: data for name, data in whole.items() if name != WEIGHTS}
    pickled["pytorch_model.bin"] = pickle.dumps(Trap(trap))
    repositories = {
        "gated": whole,
        "private": whole,
        "cut": whole,
        "short": whole,
        "truncated": whole | {WEIGHTS: whole[WEIGHTS][: len(whole[WEIGHTS]) // 2]},
        "newer-key": with_config(fusion_levels=3),
        "newer-type": with_config(model_type="cmpagl3", auto_map=None),
        "pickled": pickled,
    }
    for name, files in repositories.items():
        hub.put("model", f"org/{name}", files)
    hub.repository("model", "org/gated").gated = True
    hub.repository("model", "org/private").private = True
    return trap


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return miniature.write_pictures(tmp_path_factory.mktemp("p"), ["a.png", "b.png"], side=64)


CASES = {
    "gated": (READER, ["is gated (403)", "Ask for access", "hf auth login"]),
    "gated, no token": (None, ["is gated (403)", "Ask for access"]),
    "cmpagl-rsitmd, wrong token": ("hf_wrong", ["refuses your token (401)", "unset HF_TOKEN"]),
    "absent": (READER, ["no model 'org/absent'", "(404)", "Check the spelling"]),
    "absent, no token": (None, ["no model 'org/absent'", "(401)", "Check the spelling"]),
    "private": (READER, ["no model 'org/private'", "a private one needs"]),
    "truncated": (None, ["'org/truncated' could not be loaded", "damaged", "try again"]),
    "newer-key": (None, ["made with a newer version", "fusion_levels", "pip install --upgrade"]),
    "newer-type": (None, ["made with a newer version", "model_type 'cmpagl3'"]),
    "pickled": (None, ["as pickles only (pytorch_model.bin)", "safetensors"]),
}
DETECTORS = {
    "gated": ["detector 'org/gated' is gated"],
    "absent": ["no detector 'org/absent'"],
    "pickled": ["as pickles only"],
}
PUSHES = [
    ("org/none", None, "hf auth login"),
    ("org/none", "hf_wrong", "hf auth login"),
    ("org/none", READER, "may not create org/none"),
    ("other/none", WRITER, "may not create other/none"),
    ("not a name", WRITER, "Expected OWNER/NAME"),
]


def with_token(token):
    return {"HF_TOKEN": token} if token else {}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Where all commands of this module would write to."""
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def client(new_client):
    return new_client()


@pytest.fixture(scope="module")
def answers(hub, broken, pushed, pictures, outputs, client):
    """The answers to all command lines, by what they try; one process runs them all."""

    def index(name, to, *options):
        where = ["--images", pictures, "--index", outputs / to]
        return ["index", "--model", name, *where, *options]

    galr, folder = pushed.ids["galr"], pushed.folders["galr"][0]
    steps = {
        ("load", case): [with_token(token), *index(f"org/{case.split(',')[0]}", "bad")]
        for case, (token, _) in CASES.items()
    }
    steps |= {
        ("detector", name): [{"HF_TOKEN": READER}, *index(galr, "bad", "--regions", f"org/{name}")]
        for name in DETECTORS
    }
    steps["revision"] = index(galr, "bad", "--revision", "none-such")
    report = outputs / "new" / "report.json"
    steps["evaluate"] = ["evaluate", "--model", "org/gated", "--data", "sample", "--output", report]
    for fault in ("cut", "short"):
        name = f"org/{fault}"
        steps[f"{fault} on"] = {"repository": name, "file": WEIGHTS, "fault": fault}
        steps[fault] = index(name, "bad")
        steps[f"{fault} off"] = {"repository": name, "file": WEIGHTS, "fault": None}
        steps[f"after {fault}"] = index(name, f"after {fault}")
    convert = ["convert", "--benchmark", "ucm", "--partial", "--output"]
    file = "data/validation-00000-of-00001.parquet"
    steps["data on"] = {"repository": DATA, "file": file, "fault": "cut"}
    steps["data"] = [*convert, outputs / "bad-data", "--data", DATA]
    steps["data off"] = {"repository": DATA, "file": file, "fault": None}
    steps["after data"] = [*convert, outputs / "after data", "--data", DATA]
    steps["no data"] = [*convert, outputs / "bad-data", "--data", "org/none-such"]
    release = [*convert[:-1], "--data", pushed.release]
    steps |= {
        ("push", kind, *push[:2]): [with_token(push[1]), *words, push[0]]
        for push in PUSHES
        for kind, words in (
            ("model", ["push", "--model", folder, "--repo"]),
            ("data set", [*release, "--push"]),
        )
    }
    steps["nowhere"] = release
    steps["online"] = index(pushed.ids["cmpagl"], "online")
    asked = [key for key, step in steps.items() if isinstance(step, list)]
    return dict(zip(asked, client.commands(*steps.values()), strict=True))


def refused(answer, *words):
    """Say whether a command ended with one clear line that holds all of ``words``."""
    last = answer.err.strip().splitlines()[-1]
    assert answer.code == 2 and answer.out == "", answer
    assert last.startswith("error: ") and "Traceback" not in answer.err, answer.err
    for word in words:
        assert word in last


@pytest.mark.parametrize("case", CASES)
def test_a_model_that_cannot_be_loaded_is_refused_in_one_line(answers, case):
    refused(answers["load", case], *CASES[case][1])


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_that_cannot_be_loaded_is_refused_in_one_line(answers, name):
    refused(answers["detector", name], *DETECTORS[name])


def test_a_revision_that_is_not_there_is_named(answers):
    refused(answers["revision"], "has no revision 'none-such'", "branch, tag or commit")


def test_an_evaluation_without_a_model_is_refused(answers):
    refused(answers["evaluate"], "'org/gated' is gated")


def test_pickles_are_never_opened(answers, broken):
    assert answers["load", "pickled"].code == 2
    assert not broken.exists()


@pytest.mark.parametrize("fault", ["cut", "short"])
def test_a_broken_download_is_named_and_the_next_one_is_whole(answers, fault):
    refused(answers[fault], "was interrupted", "Nothing half-finished is used", "try again")
    after = answers[f"after {fault}"]
    assert after.code == 0, after.err
    assert "2 pictures indexed" in after.out


def test_a_data_set_cut_in_mid_download_is_named_and_the_next_one_is_whole(answers):
    refused(answers["data"], f"data set '{DATA}' was interrupted")
    assert answers["after data"].code == 0, answers["after data"].err
    assert "train 14, validation 5, test 4" in answers["after data"].out


def test_a_data_set_that_is_not_there_is_named(answers):
    refused(answers["no data"], "no data set 'org/none-such'")
    refused(answers["nowhere"], "Give --output, --push, or both")


@pytest.mark.parametrize("push", PUSHES, ids=lambda push: f"{push[0]}-{push[1]}")
@pytest.mark.parametrize("kind", ["model", "data set"])
def test_a_push_that_may_not_be_says_why_and_makes_nothing(answers, hub, kind, push):
    repository, token, message = push
    refused(answers["push", kind, repository, token], message)
    assert not [name for _, name in hub.repositories if name == repository]


def test_no_command_that_failed_has_left_anything(answers, outputs):
    kept = ["after cut", "after data", "after short", "online"]
    assert sorted(path.name for path in outputs.iterdir()) == kept


@pytest.mark.parametrize(
    "nowhere", [{"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}], ids=str
)
def test_without_a_network_the_cache_serves_and_the_rest_is_named(
    answers, client, pushed, pictures, tmp_path, nowhere
):
    assert answers["online"].code == 0, answers["online"].err
    index = ["index", "--images", pictures, "--index"]
    steps = [
        [*index, tmp_path / "cached", "--model", pushed.ids["cmpagl"]],
        [*index, tmp_path / "absent", "--model", "org/absent"],
    ]
    if "HF_HUB_OFFLINE" in nowhere:  # else datasets itself tries for 23 seconds
        convert = ["convert", "--benchmark", "ucm", "--data", "org/none", "--output"]
        steps.append([*convert, tmp_path / "data"])
    cached, absent, *data = client.commands(*steps, **nowhere)
    assert cached.code == 0, cached.err
    refused(absent, "cannot be reached", "'org/absent'", "not in the cache")
    for answer in data:
        refused(answer, "org/none", "network")
    assert [path.name for path in tmp_path.iterdir()] == ["cached"]
