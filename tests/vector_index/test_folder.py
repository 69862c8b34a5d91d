"""Indexes in folders: other formats, damage, several processes, packages that are missing."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from filelock import FileLock

from rsctir_hf.errors import (
    FolderBusyError,
    IndexMismatchError,
    MissingDependencyError,
    StorageError,
    UnsupportedError,
)
from rsctir_hf.files.atomic import LOCK_FILE
from rsctir_hf.vector_index import folder as folders
from rsctir_hf.vector_index import opening
from rsctir_hf.vector_index.contract import NOT_MEASURED, Recall, recorded_recall
from rsctir_hf.vector_index.exact import ExactIndex
from rsctir_hf.vector_index.hnsw import HNSWIndex
from rsctir_hf.vector_index.opening import open_index
from rsctir_hf.vector_index.shards import read_vectors
from tests.full_disk import full_disk
from tests.vector_index.contract import unit_vectors

# One of two that save at the same time, over and over.
SAVE_OFTEN = """
import sys, torch
from rsctir_hf.vector_index.exact import ExactIndex
from rsctir_hf.vector_index.opening import open_index
folder, count = sys.argv[1], int(sys.argv[2])
for _ in range(8):
    index = ExactIndex()
    index.add(torch.eye(count))
    index.record = {"count": count}
    index.save(folder)
    read = open_index(folder)
    assert len(read) == read.record["count"]
"""


@pytest.fixture(params=[ExactIndex, HNSWIndex])
def saved(request, tmp_path):
    index = request.param()
    index.add(unit_vectors(20), metadata=[{"number": row} for row in range(20)])
    index.save(tmp_path / "index")
    return tmp_path / "index"


def data_folder(folder):
    return folder / json.loads((folder / "index.json").read_text())["entries"]


DAMAGES = {
    "gone": lambda data: [file.unlink() for file in data.iterdir()],
    "overwritten": lambda data: [file.write_bytes(b"of no use") for file in data.iterdir()],
    "cut off": lambda data: [file.write_bytes(file.read_bytes()[:-40]) for file in data.iterdir()],
    "a record missing": lambda data: (data / "records.jsonl").write_text("null\n" * 19),
    "other records": lambda data: (data / "records.jsonl").write_text("[]\n" * 20),
    "an id twice": lambda data: (data / "records.jsonl").write_text(
        '{"id": 7, "metadata": {}, "box": null}\n' * 20
    ),
    "no folder": shutil.rmtree,
}


@pytest.mark.parametrize(
    ("part", "damage"),
    [("entries", damage) for damage in DAMAGES]
    + [("shards", damage) for damage in ("gone", "overwritten", "cut off", "no folder")],
)
def test_a_damaged_index_is_refused_and_can_be_replaced(saved, part, damage):
    DAMAGES[damage](data_folder(saved) if part == "entries" else saved / "shards")
    with pytest.raises(IndexMismatchError, match="anew"):
        open_index(saved)
    index = ExactIndex()
    index.save(saved)
    assert len(open_index(saved)) == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": 2}, "format 2; this version reads 3.* rsctir index .* --rebuild"),
        ({"format": 4}, "format 4; this version reads 3"),
        ({"engine": "quantum"}, "engine 'quantum'; this version knows exact, hnsw"),
        ({"entries": "../../elsewhere"}, "names its entries"),
        ({"shards": ["../../elsewhere"]}, "names a shard"),
    ],
)
def test_an_index_of_a_newer_version_is_refused(saved, fields, message):
    said = json.loads((saved / "index.json").read_text())
    (saved / "index.json").write_text(json.dumps(said | fields))
    with pytest.raises(IndexMismatchError, match=message):
        open_index(saved)


def test_a_disk_that_is_full_while_saving_leaves_the_older_index_whole(saved):
    index = open_index(saved)
    index.add(unit_vectors(1000, seed=1))
    before = sorted(path.name for path in saved.iterdir())
    with (
        full_disk(10_000),
        pytest.raises(StorageError, match=r"File too large.*Make room there"),
    ):
        index.save(saved)
    assert sorted(path.name for path in saved.iterdir()) == before
    assert len(open_index(saved)) == 20


@pytest.mark.parametrize("engine", [ExactIndex, HNSWIndex])
def test_a_folder_that_may_not_be_written_to_is_named(engine, read_only):
    index = engine()
    index.add(unit_vectors(20))
    with pytest.raises(StorageError, match=r"cannot be written .*Choose a folder that you may"):
        index.save(read_only / "index")
    with pytest.raises(StorageError, match=r"cannot be written .*Choose a folder that you may"):
        index.save(read_only)
    assert len(index) == 20


def test_what_a_killed_writer_left_is_removed_by_the_next(saved):
    (saved / "entries-deadbeef").mkdir()
    (saved / "entries-of-my-own").mkdir()
    open_index(saved).save(saved)
    left = sorted(path.name for path in saved.glob("entries-*"))
    assert left == sorted([data_folder(saved).name, "entries-of-my-own"])


@pytest.mark.slow
def test_two_processes_that_save_at_once_leave_one_whole_index(tmp_path):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", SAVE_OFTEN, str(tmp_path / "index"), str(count)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for count in (7, 9)
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=100)
        assert writer.returncode == 0, errors
    index = open_index(tmp_path / "index")
    assert len(index) == index.record["count"]
    assert len(list((tmp_path / "index").glob("entries-*"))) == 1


@pytest.mark.parametrize("engine", [ExactIndex, HNSWIndex])
def test_what_grows_keeps_the_shards_it_has_and_writes_only_what_is_new(tmp_path, engine):
    index = engine()
    index.add(unit_vectors(20))
    index.save(tmp_path)
    first = opening.read_folder(tmp_path).shards
    grown = open_index(tmp_path)
    grown.add(unit_vectors(5, seed=1))
    grown.save(tmp_path)
    found = opening.read_folder(tmp_path)
    assert found.shards[:-1] == first and len(found.shards) == 2
    assert [len(part) for part in read_vectors(tmp_path, found.shards)] == [20, 5]
    grown.delete([0])
    grown.rebuild()
    grown.save(tmp_path)
    assert not set(first) & {path.name for path in (tmp_path / "shards").iterdir()}
    again = open_index(tmp_path)
    assert torch.equal(again.vectors_of(again.ids()), grown.vectors_of(grown.ids()))


def test_changes_that_another_process_saved_meanwhile_are_not_lost(saved):
    ours, theirs = open_index(saved), open_index(saved)
    theirs.delete([0])
    theirs.save(saved)
    ours.delete([1])
    with pytest.raises(FolderBusyError, match="since this one was loaded"):
        ours.save(saved)
    assert open_index(saved).ids().tolist() == list(range(1, 20))
    ours.save(saved.parent / "elsewhere")
    theirs.delete([2])
    theirs.save(saved)
    assert len(open_index(saved)) == 18


def test_a_writer_waits_for_another_and_then_gives_up(saved, monkeypatch):
    monkeypatch.setattr(folders, "_PATIENCE", 0.2)
    index = open_index(saved)
    with FileLock(saved / LOCK_FILE), pytest.raises(FolderBusyError, match="another process"):
        index.save(saved)
    index.save(saved)


def test_a_reader_whose_index_is_replaced_under_it_gets_the_newer(saved, monkeypatch):
    older = opening.read_folder(saved)
    newer = open_index(saved)
    newer.delete([0])
    newer.save(saved)
    found = opening.read_folder(saved)
    answers = iter([older, found, found])
    monkeypatch.setattr(opening, "read_folder", lambda folder: next(answers))
    assert len(open_index(saved)) == 19


def test_an_index_in_memory_wants_a_folder(saved):
    with pytest.raises(UnsupportedError, match="Give save"):
        open_index(saved).save()


@pytest.mark.parametrize(
    ("place", "module", "package", "extra"),
    [
        ("hnsw", "hnsw", "faiss", "faiss"),
        ("postgresql://host/database", "postgres", "psycopg", "postgres"),
        ("http://host:19530", "milvus", "pymilvus", "milvus"),
        ("pictures.db?collection=a", "milvus", "pymilvus", "milvus"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, place, module, package, extra):
    monkeypatch.delitem(sys.modules, f"rsctir_hf.vector_index.{module}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=rf"{package}.*rsctir_hf\[{extra}\]"):
        open_index(place)


@pytest.mark.parametrize(
    "row",
    [
        '{"id": 0, "metadata": {"number": [{}]}, "box": null}',
        '{"id": 0, "metadata": {"number": NaN}, "box": null}',
        '{"id": 1e999, "metadata": {}, "box": null}',
        f'{{"id": {2**63}, "metadata": {{}}, "box": null}}',
        '{"id": 0, "metadata": 3, "box": null}',
        '{"id": 0, "metadata": {}, "box": [1, 2, 3]}',
        '{"a":' * 50_000,
    ],
    ids=[
        "a list",
        "not a number",
        "infinite id",
        "huge id",
        "no metadata",
        "half a box",
        "too deep",
    ],
)
def test_a_damaged_record_is_refused(saved, row):
    records = data_folder(saved) / "records.jsonl"
    records.write_text("\n".join([row, *records.read_text().splitlines()[1:]]) + "\n")
    with pytest.raises(IndexMismatchError, match=r"records\.jsonl"):
        open_index(saved)


@pytest.mark.parametrize("vectors", [torch.ones(20), torch.ones(20, 3)])
def test_other_numbers_than_vectors_are_refused(tmp_path, vectors):
    index = ExactIndex()
    index.add(unit_vectors(20))
    index.save(tmp_path / "index")
    (shard,) = (tmp_path / "index" / "shards").iterdir()
    pq.write_table(pa.table({"embedding": vectors.tolist()}), shard)
    with pytest.raises(IndexMismatchError, match="no vectors of one length"):
        open_index(tmp_path / "index")


def test_a_manifest_nested_too_deeply_is_refused(saved):
    (saved / "index.json").write_text('{"a":' * 50_000)
    with pytest.raises(IndexMismatchError, match="nested too deeply"):
        open_index(saved)


@pytest.mark.parametrize("noted", [None, 3, {}, {"value": "x", "how": "y"}, {"value": 1.0}])
def test_a_damaged_note_of_recall_says_that_none_was_measured(noted):
    assert recorded_recall({"recall": noted}) == NOT_MEASURED
    assert recorded_recall({"recall": {"value": 0.5, "how": "measured"}}) == Recall(0.5, "measured")


def test_arrays_of_objects_in_place_of_vectors_are_not_opened(saved):
    trap = np.array([{"a": 1}], dtype=object)
    graph = [file for file in data_folder(saved).iterdir() if file.name != "records.jsonl"]
    for file in [*graph, *(saved / "shards").iterdir()]:
        with file.open("wb") as target:
            np.save(target, trap, allow_pickle=True)
    with pytest.raises(IndexMismatchError, match="damaged"):
        open_index(saved)
