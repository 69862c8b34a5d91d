"""What a launch finds ready of its gallery's vectors, and what it keeps for the next."""

import json
import logging
import os
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.store import EmbeddingStore, iterate_embeddings
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.ui.server.kept_gallery import GALLERIES, index_gallery, spread
from rsctir_hf.ui.server.shown_gallery import open_gallery
from rsctir_hf.ui.server.workbench import Phase, Workbench
from tests.full_disk import full_disk
from tests.ui.conftest import wait_until_over


@pytest.fixture
def folder(tmp_path):
    """Seven pictures in two folders and a broken one, unchanged for an hour."""
    made = tmp_path / "mine"
    (made / "north").mkdir(parents=True)
    for number in range(7):
        place = made / ("north" if number % 2 else "")
        Image.new("RGB", (40, 40), (30 * number, 99, 5)).save(place / f"{number}.png")
    (made / "broken.png").write_bytes(b"no picture")
    return made


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    monkeypatch.setattr("rsctir_hf.files.listing.SETTLED_AFTER", -1)


@pytest.fixture
def start(folder, tiny_encoder):
    """Index the folder as a launch does; return the retriever, the report and the progress."""

    def run(*, keep=True, encoder=tiny_encoder):
        told = []
        retriever = Retriever(encoder, bank=["a river"])
        report = index_gallery(
            retriever, open_gallery(str(folder)), keep=keep, progress=lambda *at: told.append(at)
        )
        return retriever, report, told

    return run


def vectors_by_name(retriever, folder):
    names = [os.path.relpath(item.path, folder) for item in retriever.items]
    vectors = retriever.engine.vectors_of(retriever.engine.ids())
    return dict(zip(names, vectors, strict=True))


def assert_same(found, right):
    assert found.keys() == right.keys()
    for name in right:  # the batches of a launch that finds some ready are others
        torch.testing.assert_close(found[name], right[name], atol=1e-6, rtol=0)


def test_the_second_launch_has_all_vectors_without_the_model(cache, start, folder, caplog):
    with caplog.at_level(logging.INFO):
        first, report, told = start()
    assert str(cache / GALLERIES) in caplog.text
    assert (report.indexed, len(report.skipped), told[-1]) == (7, 1, (8, 8))
    second, report, told = start()
    assert (report.indexed, len(report.skipped), told) == (7, 1, [(1, 1)])  # the broken one again
    right = vectors_by_name(start(keep=False)[0], folder)
    assert_same(vectors_by_name(first, folder), right)
    assert_same(vectors_by_name(second, folder), right)


def test_new_and_changed_pictures_are_embedded_and_deleted_ones_are_gone(cache, start, folder):
    start()
    Image.new("RGB", (40, 40), "white").save(folder / "0.png")
    Image.new("RGB", (40, 40), "blue").save(folder / "south.png")
    (folder / "broken.png").unlink()
    (folder / "2.png").unlink()
    retriever, report, told = start()
    assert (report.indexed, told[-1]) == (7, (2, 2))
    assert_same(vectors_by_name(retriever, folder), vectors_by_name(start(keep=False)[0], folder))


def test_another_model_and_another_folder_have_their_own(cache, start, folder, tiny_encoder):
    start()
    flipped = type(tiny_encoder.model)(tiny_encoder.model.config).eval()
    other = Encoder(flipped, tiny_encoder.processor)
    assert start(encoder=other)[2][-1] == (8, 8)
    assert len(list((cache / GALLERIES).iterdir())) == 2
    shutil.copytree(folder, folder.with_name("copy"))
    index_gallery(
        Retriever(tiny_encoder, bank=["a river"]),
        open_gallery(str(folder.with_name("copy"))),
        keep=True,
        progress=lambda *_: None,
    )
    assert len(list((cache / GALLERIES).iterdir())) == 3


def test_whoever_wants_nothing_kept_finds_nothing(cache, start):
    assert start(keep=False)[1].indexed == 7
    assert not cache.exists()


@pytest.mark.parametrize("damage", ["record", "older format", "shard", "another model"])
def test_damaged_vectors_are_made_anew_and_kept(cache, start, folder, damage):
    right = vectors_by_name(start()[0], folder)
    kept = next((cache / GALLERIES).iterdir())
    record = kept / "embeddings.json"
    if damage == "record":
        record.write_text("{")
    elif damage == "shard":
        next(kept.rglob("*.parquet")).write_bytes(b"PAR1 cut short")
    else:
        fields = json.loads(record.read_text())
        if damage == "older format":
            fields["format"] = 0
        else:
            fields["made_by"]["fingerprint"] = "0" * 16
        record.write_text(json.dumps(fields))
    retriever, report, told = start()
    assert (report.indexed, told[-1]) == (7, (8, 8))
    assert_same(vectors_by_name(retriever, folder), right)
    assert start()[2] == [(1, 1)]


def test_a_second_launch_beside_the_first_searches_all_the_same(
    cache, start, folder, tiny_encoder, caplog
):
    start()
    kept = next((cache / GALLERIES).iterdir())
    with EmbeddingStore(kept, tiny_encoder.made_by, root=str(folder)).locked():
        retriever, report, _ = start()
    assert "is being written by" in caplog.text
    assert (len(retriever), report.indexed, len(report.skipped)) == (7, 7, 1)
    assert sum(len(vectors) for _, vectors in iterate_embeddings(kept)) == 7


def test_a_cache_that_cannot_be_written_is_no_error(cache, start, caplog):
    cache.parent.write_text("a file where a folder would be")
    retriever, report, _ = start()
    assert (len(retriever), report.indexed, len(report.skipped)) == (7, 7, 1)
    assert "cannot be written" in caplog.text


def test_a_disk_that_fills_up_on_the_way_costs_no_picture(cache, start, folder, caplog):
    with full_disk(1000):  # less than a shard, more than a record
        retriever, report, _ = start()
    assert "cannot be written" in caplog.text
    assert (len(retriever), report.indexed, len(report.skipped)) == (7, 7, 1)
    assert_same(vectors_by_name(retriever, folder), vectors_by_name(start(keep=False)[0], folder))


def test_the_first_pictures_to_be_indexed_span_the_gallery():
    assert spread(range(200))[:3] == [0, 10, 20]
    assert sorted(spread(range(203))) == list(range(203))


def test_a_launch_keeps_vectors_unless_told_otherwise(cache, settings):
    for keep in (False, True):
        bench = Workbench(replace(settings, cache=keep))
        bench.start()
        wait_until_over(bench)
        assert bench.status.phase is Phase.READY
        assert (cache / GALLERIES).exists() is keep


def test_the_drawn_gallery_is_ready_without_looking_at_it(checkpoint, cache):
    retriever = Retriever.from_pretrained(checkpoint("cmpagl-rs"))
    gallery = open_gallery("sample")
    report = index_gallery(retriever, gallery, keep=True, progress=lambda *_: pytest.fail("slow"))
    assert (report.indexed, len(retriever)) == (200, 200)
    assert not (cache / GALLERIES).exists()
    scene = gallery.paths[42]
    assert retriever.search(scene, top_k=1)[0].path == str(scene)
