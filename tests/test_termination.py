"""SIGTERM, as a container, a batch system or a shutdown sends it, in the middle of the work."""

import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from rsctir_hf.embedding.dataset_rows import load_embeddings
from rsctir_hf.search.retriever import Retriever
from tests.app_server import running_app

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-c", "from rsctir_cli.main import main; main()"]
FEW, MANY = 8, 80


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Pictures that take longer to read than a signal takes to come."""
    folder, random = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    for number in range(MANY):
        values = random.integers(0, 256, (700, 700, 3), np.uint8)
        Image.fromarray(values).save(folder / f"{number:03}.png", compress_level=1)
    return folder


def end_at_work(arguments, shards):
    """Start a command, send SIGTERM once it has written vectors; return exit code and stderr."""
    before = set(shards.rglob("*.parquet"))
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 120
    while set(shards.rglob("*.parquet")) <= before and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def run(arguments):
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=True
    )
    return done.stdout


def test_an_embedding_goes_on_where_it_was_ended(noise, clip_folder, tmp_path):
    arguments = ["embed", "--model", clip_folder, "--images", noise, "--batch-size", 2]
    arguments += ["--output", tmp_path / "out", "--workers", 0]
    code, errors = end_at_work(arguments, tmp_path / "out")
    assert code == 128 + signal.SIGTERM
    assert errors.splitlines()[-1].startswith("stopped by SIGTERM")
    assert "Traceback" not in errors
    assert not list((tmp_path / "out").rglob("*.part"))
    (embedded,) = [int(word) for word in run(arguments).split() if word.isdigit()][1:2]
    assert 0 < embedded < MANY
    assert len(load_embeddings(tmp_path / "out")) == MANY


def test_an_index_stays_the_older_one_until_the_newer_is_whole(noise, clip_folder, tmp_path):
    place, few = tmp_path / "index", tmp_path / "few"
    few.mkdir()
    for picture in sorted(noise.iterdir())[:FEW]:
        shutil.copy(picture, few)
    arguments = ["index", "--model", clip_folder, "--index", place, "--images"]
    run([*arguments, few])
    embeddings = ["--embeddings", tmp_path / "vectors"]
    code, errors = end_at_work([*arguments, noise, *embeddings], tmp_path / "vectors")
    assert (code, "Traceback" in errors) == (128 + signal.SIGTERM, False)
    assert len(Retriever.from_pretrained(clip_folder).load(place)) == FEW
    run([*arguments, noise, *embeddings])
    assert len(Retriever.from_pretrained(clip_folder).load(place)) == MANY


def test_the_app_ends_without_a_word(tmp_path, all_checkpoints):
    log = tmp_path / "log.txt"
    with running_app(["--gallery", "sample"], log):
        pass  # ends it by SIGTERM and looks at the exit code
    assert "Traceback" not in log.read_text()
    assert "terminate called" not in log.read_text()
