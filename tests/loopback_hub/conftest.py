"""A Hub for the session, with models of both families and a data set; clients in processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from rsctir_hf.models.cmpagl import CMPAGLModel
from rsctir_hf.models.galr import GaLRModel
from tests import miniature
from tests.conftest import ROOT
from tests.loopback_hub.repositories import Account
from tests.loopback_hub.server import Running
from tests.models.tiny_cmpagl import tiny_config, tiny_processor
from tests.tiny_galr import tiny_galr

HERE = Path(__file__).parent
WRITER, READER = "hf_writer", "hf_reader"
TEXTS = ("boats moored beside a pier", "many planes")
DATA = "org/ucm-captions"


@pytest.fixture(scope="session")
def hub():
    with Running() as running:
        running.accounts[WRITER] = Account("writer", orgs=("org",), writes=True)
        running.accounts[READER] = Account("reader")
        yield running


class Client:
    """Runs scripts and commands in processes that know no Hub but ours."""

    def __init__(self, hub, home):
        self.hub, self.home = hub, home

    def environment(self, **changes):
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}
        return kept | {
            "PYTHONPATH": str(ROOT),
            "HF_ENDPOINT": self.hub.url,
            "HF_HOME": str(self.home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            **changes,
        }

    def script(self, name, request, *, token=None, **changes):
        """Run a script of this folder; a JSON value goes in, another comes out."""
        if token:
            changes["HF_TOKEN"] = token
        done = subprocess.run(
            [sys.executable, str(HERE / name)],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            cwd=self.home,
            env=self.environment(**changes),
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def commands(self, *steps, **options):
        """Run command lines of ``rsctir`` or of a script in one process.

        A step is a list of words, and may begin with a mapping: environment variables. A mapping
        instead of a list is a fault of the Hub from there on.
        """
        written = [
            step
            if isinstance(step, dict)
            else [part if isinstance(part, dict) else str(part) for part in step]
            for step in steps
        ]
        answers = self.script("run_commands.py", written, **options)
        return [SimpleNamespace(**answer) for answer in answers]


@pytest.fixture(scope="session")
def new_client(hub, tmp_path_factory):
    """Return a client with an empty cache."""
    return lambda: Client(hub, tmp_path_factory.mktemp("home"))


def save_family(family, folder, *, seed):
    """Write a tiny model of a family with weights that ``seed`` decides."""
    galr, galr_processor = tiny_galr(TEXTS)
    torch.manual_seed(seed)
    if family == "galr":
        model, processor = GaLRModel(galr.config), galr_processor
    else:
        model = CMPAGLModel(tiny_config())
        processor = tiny_processor(model)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: other\n---\nA tiny model for tests.\n")
    return folder


@pytest.fixture(scope="session")
def pushed(hub, new_client, tmp_path_factory):
    """Both families, twice each, and a benchmark, as ``rsctir`` pushes them.

    ``folders[family]`` holds the older and the newer model, ``commits[family]`` their commits.
    ``index`` was made with the older CMPAGL, and ``found`` is what a search of it found.
    """
    root = tmp_path_factory.mktemp("models")
    ids = {"cmpagl": "org/cmpagl-rsitmd", "galr": "org/galr-rsitmd"}
    folders = {
        family: [save_family(family, root / f"{family}-{seed}", seed=seed) for seed in (1, 2)]
        for family in ids
    }
    release = miniature.write_karpathy(root / "release", {"train": 14, "val": 5, "test": 4})
    steps = [
        ["push", "--model", folder, "--repo", ids[family], *where]
        for family, (older, newer) in folders.items()
        for folder, where in ((older, ["--revision", "first"]), (newer, []))
    ]
    steps.append(["convert", "--benchmark", "ucm", "--data", release, "--partial", "--push", DATA])
    pictures = miniature.write_pictures(root / "pictures", ["a.png", "b.png"], side=64)
    index = root / "index"
    pinned = ["--model", ids["cmpagl"], "--revision", "first", "--images", pictures]
    steps.append(["index", *pinned, "--index", index])
    steps.append(["search", "--index", index, "--text", TEXTS[0], "--json"])
    answers = new_client().commands(*steps, token=WRITER)
    assert [answer.code for answer in answers] == [0] * len(steps), answers
    shas = [answer.out.strip().rsplit("/", 1)[-1] for answer in answers[:4]]
    commits = {"cmpagl": shas[:2], "galr": shas[2:]}
    found = json.loads(answers[-1].out)
    return SimpleNamespace(
        ids=ids, folders=folders, commits=commits, release=release, index=index, found=found
    )
