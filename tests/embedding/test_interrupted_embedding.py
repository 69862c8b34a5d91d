"""Runs of the embedding pipeline that are killed, stopped, starved of space, or not alone."""

import errno
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from rsctir_hf.embedding import store
from rsctir_hf.embedding.dataset_rows import load_embeddings
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.pipeline import embed_pictures
from rsctir_hf.embedding.store import EmbeddingStore
from rsctir_hf.errors import DataLayoutError, FolderBusyError, StorageError
from rsctir_hf.vector_index import shards
from tests.full_disk import full_disk
from tests.ui.tiny_models import save_models

BATCH = 4
COUNT = 80
KILLS = 4
ROOT = Path(__file__).parents[2]


class Projection(nn.Module):
    """A dual encoder of one matrix, as slow as a small network; notes how often it is asked."""

    def __init__(self, log=None, *, length=16, seconds=0.0):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(3 * 4 * 4, length, generator=generator))
        self.config = None
        self.log, self.seconds = log, seconds

    def get_image_features(self, pixel_values):
        if self.log:
            with self.log.open("a") as log:
                log.write(f"{len(pixel_values)}\n")
        time.sleep(self.seconds)
        return functional.avg_pool2d(pixel_values, 8).flatten(1) @ self.weight

    def get_text_features(self, input_ids, attention_mask=None):
        raise NotImplementedError


class Drawn:
    """A picture that is drawn when it is read, and never changes."""

    def __init__(self, number):
        self.id, self.number, self.metadata = f"{number:04d}", number, {}

    def stamp(self):
        return self.id

    def load(self):
        pixels = np.random.default_rng(self.number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        return Image.fromarray(pixels)


PICTURES = [Drawn(number) for number in range(COUNT)]


@pytest.fixture
def loaded(tmp_path, tiny_clip_processor):
    model = Projection(tmp_path / "log", seconds=0.01)
    return Encoder(model, tiny_clip_processor, id="projection", revision=None)


def run(loaded, folder, pictures=PICTURES, **options):
    return embed_pictures(
        loaded,
        pictures,
        EmbeddingStore(folder, loaded.made_by, shard_rows=20),
        batch_size=BATCH,
        **options,
    )


def asked(tmp_path):
    """How many pictures the model was asked about."""
    log = tmp_path / "log"
    return sum(map(int, log.read_text().split())) if log.exists() else 0


def child(loaded, folder, *, prepare=lambda: None, pictures=PICTURES):
    """Start a run in a process of its own."""

    def work():
        torch.set_num_threads(1)  # a fork must not meet the threads of this process
        prepare()
        run(loaded, folder, pictures)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def vectors_in(folder):
    return {row["id"]: row["embedding"] for row in load_embeddings(folder)}


def check_whole(loaded, folder, tmp_path):
    """The folder holds what an undisturbed run makes, and nothing else."""
    undisturbed = tmp_path / "undisturbed"
    quiet = Encoder(Projection(), loaded.processor, id="projection", revision=None)
    run(quiet, undisturbed)
    found, expected = vectors_in(folder), vectors_in(undisturbed)
    assert found.keys() == expected.keys()
    for each, vector in found.items():  # how pictures fall into batches moves the last digit
        np.testing.assert_allclose(vector, expected[each], atol=1e-6)
    names = {path.name for path in (folder / shards.SHARDS_FOLDER).iterdir()}
    assert names == set(store.read_record(folder).shards)
    assert not list(folder.rglob("*.part"))


@pytest.mark.slow
def test_a_run_that_is_killed_at_random_moments_loses_and_repeats_next_to_nothing(loaded, tmp_path):
    random.seed(3)
    folder = tmp_path / "out"
    for _ in range(KILLS):
        process = child(loaded, folder)
        goal = asked(tmp_path) + random.randint(0, 3) * BATCH
        while asked(tmp_path) < goal:
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.02))  # anywhere in a batch
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    run(loaded, folder)
    assert asked(tmp_path) <= COUNT + KILLS * BATCH  # the batches at work are all that is lost
    check_whole(loaded, folder, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["write_record", "_joined"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_that_is_killed_while_it_ends_leaves_the_older_embeddings(
    loaded, tmp_path, place, moment
):
    folder = tmp_path / "out"
    run(loaded, folder, PICTURES[:30])
    before = vectors_in(folder)

    def die_there():
        original = getattr(store, place)

        def dying(*arguments):
            result = original(*arguments) if moment == "after" else None
            os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(store, place, dying)

    process = child(loaded, folder, prepare=die_there)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    after = vectors_in(folder)
    assert after == before or (place, moment) == ("write_record", "after")
    assert before.items() <= after.items()
    spent = asked(tmp_path)
    run(loaded, folder)
    assert asked(tmp_path) == spent  # all were embedded
    check_whole(loaded, folder, tmp_path)


@pytest.mark.slow
def test_a_run_that_is_stopped_by_the_user_keeps_what_is_finished(loaded, tmp_path):
    folder = tmp_path / "out"
    loaded.model.seconds = 0.3  # a busy machine must not let the run end before the signal

    def heed_interrupts():  # whoever is started in the background of a shell ignores them
        signal.signal(signal.SIGINT, signal.default_int_handler)

    process = child(loaded, folder, prepare=heed_interrupts)
    while asked(tmp_path) < 3 * BATCH:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGINT)
    loaded.model.seconds = 0.0
    process.join()
    assert process.exitcode == 1
    with pytest.raises(DataLayoutError, match="Run the same command again"):
        load_embeddings(folder)
    spent = asked(tmp_path)
    assert spent < COUNT
    run(loaded, folder)
    assert asked(tmp_path) <= COUNT + BATCH
    check_whole(loaded, folder, tmp_path)


@pytest.mark.slow
def test_a_second_run_on_the_same_folder_is_told_who_is_there(loaded, tmp_path):
    folder = tmp_path / "out"
    loaded.model.seconds = 0.1
    process = child(loaded, folder)
    while not asked(tmp_path):
        time.sleep(0.005)
    with pytest.raises(FolderBusyError, match=f"written by process {process.pid} on .* since 2"):
        run(loaded, folder)
    process.join()
    assert process.exitcode == 0
    check_whole(loaded, folder, tmp_path)


@pytest.mark.slow
def test_a_lock_ends_with_the_process_that_held_it(loaded, tmp_path):
    folder = tmp_path / "out"
    process = child(loaded, folder)
    while not asked(tmp_path):
        time.sleep(0.005)
    process.kill()
    process.join()
    run(loaded, folder)
    check_whole(loaded, folder, tmp_path)


def test_a_full_disk_is_named_and_what_was_written_stays(loaded, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    written = []

    def full_after_three(source, target, original=os.replace):
        written.append(target)
        if len(written) > 4:  # two of them: who is at work, and whose folder it is
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(source, target)

    monkeypatch.setattr(os, "replace", full_after_three)
    with pytest.raises(StorageError, match=r"No space left on device.*Make room.*is kept"):
        run(loaded, folder)
    monkeypatch.undo()
    assert not list(folder.rglob("*.part"))
    spent = asked(tmp_path)
    run(loaded, folder)
    assert spent < asked(tmp_path) <= COUNT + 2 * BATCH
    check_whole(loaded, folder, tmp_path)


def test_a_limit_of_the_system_on_file_sizes_is_named(loaded, tmp_path):
    folder = tmp_path / "out"
    run(loaded, folder, PICTURES[:20])
    before = load_embeddings(folder)["id"]
    with full_disk(1000), pytest.raises(StorageError, match=r"File too large.*Make room"):
        run(loaded, folder)
    assert load_embeddings(folder)["id"] == before
    run(loaded, folder)
    check_whole(loaded, folder, tmp_path)


def test_a_folder_one_may_not_write_to_is_named(loaded, read_only):
    loaded.model.log = None
    with pytest.raises(StorageError, match=r"Permission denied.*Choose a folder that you may"):
        run(loaded, read_only / "out")


def peak_of(work):
    """Return the most memory in MB that this process held while it worked, over what it held."""
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    work()
    return memory("VmHWM") - before


def memory(entry):
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{entry}:")[1].split()[0]) / 1024


@pytest.mark.slow
def test_memory_is_bounded_by_a_shard_not_by_the_gallery(tmp_path, tiny_clip_processor):
    length = 16384  # 64 KB a picture
    loaded = Encoder(Projection(length=length), tiny_clip_processor, id="wide", revision=None)
    loaded.provenance()

    def embed(count):
        pictures = [Drawn(number) for number in range(count)]
        return peak_of(lambda: run(loaded, tmp_path / str(count), pictures))

    embed(40)  # what is needed once: libraries, threads
    small, large = embed(160), embed(640)
    vectors = 480 * length * 4 / 2**20  # 30 MB more of them
    assert large - small < vectors / 2
    assert len(list((tmp_path / "640" / "shards").iterdir())) == 32


@pytest.mark.slow
def test_two_processes_of_accelerate_launch_share_the_work(tmp_path, picture_folder):
    save_models(tmp_path)
    options = ["--model", str(tmp_path / "cmpagl"), "--images", str(picture_folder)]
    launch = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command = ["embed", *options, "--batch-size", "2"]
    together = subprocess.run(
        [sys.executable, "-m", *launch, "-m", "rsctir_hf", *command, "--output", tmp_path / "out"],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert together.returncode == 0, together.stderr
    assert "8 embedded, 0 as they were, 0 skipped." in together.stdout
    assert "4/4" not in together.stderr  # bars are for terminals
    assert sorted(load_embeddings(tmp_path / "out")["id"]) == sorted(
        path.name for path in picture_folder.iterdir()
    )


def test_ranks_leave_the_parts_of_a_run_to_one_another(loaded, tmp_path):
    maker = loaded.provenance()
    place = EmbeddingStore(tmp_path / "out", maker, shard_rows=4)
    with place.locked():
        writers = [place.writer(rank) for rank in (0, 1)]
        for rank in (1, 0):
            said = {"vectors": torch.eye(2)[[rank]], "metadata": [{}], "dtype": "float32"}
            writers[rank].add(shards.rows_of([f"{rank}"], [f"{rank}"], [""], **said))
        record = place.finish({"0", "1"})
    assert record.rows == 2
    assert load_embeddings(tmp_path / "out")["id"] == ["0", "1"]
