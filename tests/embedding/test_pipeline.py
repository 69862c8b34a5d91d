"""The embedding pipeline: what it embeds, what it leaves alone, what it says when it cannot."""

import os
from dataclasses import replace

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from rsctir_hf.embedding import encode, pipeline
from rsctir_hf.embedding.dataset_rows import load_embeddings, table_pictures
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.pipeline import embed_pictures
from rsctir_hf.embedding.read_ahead import one_processor
from rsctir_hf.embedding.records import FilePicture, folder_pictures, source_records
from rsctir_hf.embedding.store import EmbeddingStore, iterate_embeddings, read_record
from rsctir_hf.errors import (
    DataLayoutError,
    IndexMismatchError,
    QueryError,
)
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.vector_index.opening import open_index
from rsctir_hf.vector_index.shards import unit_vectors_of
from tests.embedding.galleries import SIDE, draw, run, vectors_by_id
from tests.ui.tiny_models import save_models


def test_shards_open_as_a_data_set_with_the_vectors_of_embed_images(loaded, gallery, tmp_path):
    report = run(loaded, gallery, tmp_path / "out")
    rows = load_embeddings(tmp_path / "out")
    assert isinstance(rows, datasets.Dataset)
    pictures = folder_pictures(gallery)
    assert rows["id"] == [picture.id for picture in pictures]
    assert (report.rows, report.embedded, report.reused, report.skipped) == (12, 12, 0, ())
    assert rows.features["embedding"].length == 16
    paths = [picture.path for picture in pictures]
    expected = loaded.images(paths, batch_size=5, workers=1).vectors
    assert torch.equal(torch.tensor(rows["embedding"]), expected)


def test_a_mask_that_comes_to_lie_beside_a_picture_changes_it(loaded, tmp_path, settled):
    rasterio = pytest.importorskip("rasterio")
    file, gallery = tmp_path / "gallery" / "a.tif", tmp_path / "gallery"
    gallery.mkdir()
    Image.fromarray(np.repeat(np.arange(0, 240, 10, np.uint8), 24).reshape(24, 24)).save(file)
    vectors = []
    for _ in range(2):
        run(loaded, gallery, tmp_path / "out")
        vectors.append(vectors_by_id(tmp_path / "out")["a.tif"])
        assert np.allclose(vectors[-1], loaded.image(file), atol=1e-5)
        if len(vectors) == 1:
            with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(file, "r+") as target:
                target.write_mask(np.repeat([0, 255], 288).reshape(24, 24).astype(np.uint8))
    assert not np.allclose(vectors[0], vectors[1], atol=1e-4)


@pytest.mark.parametrize("workers", [0, 2, 3])
def test_threads_change_nothing_to_the_last_bit(loaded, gallery, workers):
    paths = [picture.path for picture in folder_pictures(gallery)] + [gallery / "missing.png"]
    alone = loaded.images(paths, batch_size=4, workers=1)
    with one_processor():  # a team of threads, for 0, would add up in another order
        found = loaded.images(paths, batch_size=4, workers=workers)
    assert torch.equal(found.vectors, alone.vectors)
    assert (found.kept, found.skipped) == (alone.kept, alone.skipped)


def test_a_second_run_opens_no_picture(loaded, gallery, tmp_path, settled, monkeypatch):
    run(loaded, gallery, tmp_path / "out")
    before = sorted((tmp_path / "out").rglob("*"))
    monkeypatch.setattr(FilePicture, "load", None)
    report = run(loaded, gallery, tmp_path / "out")
    assert (report.rows, report.embedded, report.reused) == (12, 0, 12)
    assert sorted((tmp_path / "out").rglob("*")) == before


def test_only_new_and_changed_pictures_are_embedded_and_deleted_ones_drop_out(
    loaded, gallery, tmp_path, settled
):
    run(loaded, gallery, tmp_path / "out")
    before = vectors_by_id(tmp_path / "out")
    draw(gallery / "new.png", 100)
    draw(gallery / "03.png", 101)
    (gallery / "below" / "01.png").unlink()
    (gallery / "00.png").rename(gallery / "renamed.png")
    report = run(loaded, gallery, tmp_path / "out")
    assert (report.rows, report.embedded, report.reused) == (12, 2, 10)
    after = vectors_by_id(tmp_path / "out")
    assert set(after) == {picture.id for picture in folder_pictures(gallery)}
    assert np.array_equal(after["renamed.png"], before["00.png"])
    assert np.array_equal(after["06.png"], before["06.png"])
    assert not np.allclose(after["03.png"], before["03.png"])
    whole = loaded.images([gallery / "03.png"]).vectors[0]
    np.testing.assert_allclose(after["03.png"], whole.numpy(), atol=1e-6)


def test_a_file_that_has_just_changed_is_read_again_whatever_its_times_say(
    loaded, gallery, tmp_path, monkeypatch
):
    path = gallery / "03.png"
    monkeypatch.setattr(FilePicture, "stamp", lambda picture: "always the same")
    run(loaded, gallery, tmp_path / "out")
    draw(path, 55)
    assert run(loaded, gallery, tmp_path / "out").embedded == 0  # what must not happen to a file
    monkeypatch.undo()
    assert FilePicture("03.png", path).stamp() == ""
    assert run(loaded, gallery, tmp_path / "out").embedded == 1


def test_times_that_were_put_back_do_not_deceive(gallery, settled):
    picture = folder_pictures(gallery)[0]
    before, times = picture.stamp(), picture.path.stat()
    content = picture.path.read_bytes()
    picture.path.write_bytes(content[::-1])
    os.utime(picture.path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert picture.path.stat().st_mtime_ns == times.st_mtime_ns
    assert picture.stamp() not in ("", before)


def test_touched_pictures_are_read_but_not_embedded(loaded, gallery, tmp_path, settled):
    run(loaded, gallery, tmp_path / "out")
    for picture in folder_pictures(gallery):
        picture.path.touch()
    report = run(loaded, gallery, tmp_path / "out")
    assert (report.embedded, report.reused) == (0, 12)
    run(loaded, gallery, tmp_path / "out")
    assert len(load_embeddings(tmp_path / "out")) == 12


def test_unreadable_pictures_are_listed_and_have_no_row(loaded, gallery, tmp_path):
    run(loaded, gallery, tmp_path / "out")
    (gallery / "00.png").write_bytes(b"no picture any more")
    (gallery / "empty.jpg").touch()
    (gallery / "gone.png").symlink_to(gallery / "nowhere.png")
    report = run(loaded, gallery, tmp_path / "out")
    assert [each.path for each in report.skipped] == ["00.png", "empty.jpg"]
    assert "empty.jpg is empty (0 bytes)" in report.skipped[1].reason
    assert report.rows == 11
    assert "00.png" not in vectors_by_id(tmp_path / "out")


def test_a_file_that_goes_away_during_the_run_is_listed(loaded, gallery, tmp_path):
    pictures = folder_pictures(gallery)
    pictures[2].path.unlink()
    report = embed_pictures(loaded, pictures, EmbeddingStore(tmp_path / "out", loaded.made_by))
    assert [each.path for each in report.skipped] == [pictures[2].id]
    assert "No such file" in report.skipped[0].reason


def test_full_shards_stay_as_they_are(loaded, gallery, tmp_path, settled):
    run(loaded, gallery, tmp_path / "out", shard_rows=5)
    first = read_record(tmp_path / "out").shards
    draw(gallery / "zz.png", 100)
    run(loaded, gallery, tmp_path / "out", shard_rows=5)
    second = read_record(tmp_path / "out").shards
    assert second[:2] == first[:2]
    assert [len(rows) for rows, _ in iterate_embeddings(tmp_path / "out")] == [5, 5, 3]
    assert len(list((tmp_path / "out" / "shards").iterdir())) == 3


def test_half_precision_takes_half_the_bytes_and_loads_as_unit_vectors(loaded, gallery, tmp_path):
    run(loaded, gallery, tmp_path / "half", made_by=loaded.provenance(dtype="float16"))
    run(loaded, gallery, tmp_path / "full")
    rows = load_embeddings(tmp_path / "half")
    assert rows.features["embedding"].feature.dtype == "float16"
    [(_, half)], [(_, full)] = (
        list(iterate_embeddings(tmp_path / name)) for name in ("half", "full")
    )
    torch.testing.assert_close(half, full, atol=1e-3, rtol=0)
    torch.testing.assert_close(half.norm(dim=1), torch.ones(12))
    assert not torch.equal(half, full)


def test_what_a_source_says_becomes_columns(loaded, gallery, tmp_path):
    pictures = [
        FilePicture(
            f"{number}", picture.path, {"window": [0, number, SIDE, SIDE], "scene": "a.tif"}
        )
        for number, picture in enumerate(folder_pictures(gallery))
    ]
    embed_pictures(loaded, pictures, EmbeddingStore(tmp_path / "out", loaded.made_by), batch_size=5)
    rows = load_embeddings(tmp_path / "out")
    assert rows[7]["window"] == [0, 7, SIDE, SIDE]
    assert set(rows["scene"]) == {"a.tif"}


def test_rows_of_a_data_set_are_known_by_their_content(loaded, gallery, tmp_path):
    paths = [str(picture.path) for picture in folder_pictures(gallery)]
    table = datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())
    report = embed_pictures(
        loaded, table_pictures(table), EmbeddingStore(tmp_path / "out", loaded.made_by)
    )
    assert load_embeddings(tmp_path / "out")["id"] == [str(row) for row in range(12)]
    less = table.select(range(6))
    again = embed_pictures(
        loaded, table_pictures(less), EmbeddingStore(tmp_path / "out", loaded.made_by)
    )
    assert (report.embedded, again.embedded, again.rows) == (12, 0, 6)
    with pytest.raises(DataLayoutError, match="expected one called 'image'"):
        table_pictures(table.rename_column("image", "picture"))


def test_an_index_in_the_folder_of_its_embeddings_keeps_every_vector_once(
    loaded, gallery, tmp_path, settled
):
    told = []
    for embedded in (12, 0):  # the second time nothing is embedded anew
        told.clear()
        retriever = Retriever(loaded, bank=())
        retriever.index(
            gallery, embeddings=tmp_path / "out", progress=lambda *step: told.append(step)
        )
        retriever.save(tmp_path / "out")
        assert sum(1 for _ in told) == (0 if embedded == 0 else 3)
        files = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
        assert sum(name.endswith(".parquet") for name in files) == 1
        assert not [name for name in files if name.endswith(".safetensors")]
    assert len(load_embeddings(tmp_path / "out")) == 12
    found = open_index(tmp_path / "out")
    assert torch.equal(found.vectors_of(found.ids()), retriever.engine.vectors_of(found.ids()))


def test_progress_counts_what_must_be_looked_at(loaded, gallery, tmp_path, settled):
    run(loaded, gallery, tmp_path / "out")
    draw(gallery / "new.png", 100)
    told = []
    run(loaded, gallery, tmp_path / "out", progress=lambda *step: told.append(step))
    assert told == [(1, 1)]


def test_the_same_model_may_lie_elsewhere(loaded, gallery, tmp_path, monkeypatch):
    run(loaded, gallery, tmp_path / "out")
    place = {"AutoProcessor": "owner/clip--processing.Processor"}
    monkeypatch.setattr(loaded.processor.image_processor, "auto_map", place, raising=False)
    elsewhere = Encoder(loaded.model, loaded.processor, id="owner/clip", revision="abc")
    assert run(elsewhere, gallery, tmp_path / "out").embedded == 0
    before = loaded.provenance().preprocessing
    monkeypatch.setattr(loaded.processor.image_processor, "image_std", [0.4, 0.5, 0.5])
    assert loaded.provenance().preprocessing != before


def test_two_pictures_of_one_id_are_refused(loaded, gallery, tmp_path):
    picture = folder_pictures(gallery)[0]
    with pytest.raises(QueryError, match="2 pictures have 1 different ids"):
        embed_pictures(loaded, [picture, picture], EmbeddingStore(tmp_path / "out", loaded.made_by))


def test_no_picture_at_all_is_an_empty_folder_of_embeddings(loaded, tmp_path):
    assert embed_pictures(loaded, [], EmbeddingStore(tmp_path / "out", loaded.made_by)).rows == 0
    with pytest.raises(DataLayoutError, match="no picture could be read"):
        load_embeddings(tmp_path / "out")


def test_an_index_by_way_of_a_folder_finds_the_same_and_embeds_only_what_is_new(
    loaded, gallery, tmp_path, settled, monkeypatch
):
    def indexed(embeddings):
        retriever = Retriever(Encoder(loaded.model, loaded.processor, id="tiny-clip"), bank=())
        report = retriever.index(gallery, embeddings=embeddings, batch_size=5)
        return retriever, report

    (gallery / "empty.png").touch()
    direct, expected = indexed(None)
    kept, report = indexed(tmp_path / "out")
    assert report.indexed == expected.indexed == 12
    assert [each.path for each in report.skipped] == ["empty.png"]
    for query in (gallery / "03.png", "boats beside the pier"):
        assert kept.search(query, top_k=12) == direct.search(query, top_k=12)
    seen = []
    monkeypatch.setattr(
        encode, "embed_prepared", lambda model, batch: seen.append(batch) or batch_of(batch)
    )
    draw(gallery / "new.png", 100)
    assert indexed(tmp_path / "out")[1].indexed == 13
    assert [len(batch.kept) for batch in seen if batch.kept] == [1]


def batch_of(prepared):
    return torch.nn.functional.normalize(torch.ones(len(prepared.kept), 16), dim=1)


def test_pictures_in_memory_are_known_by_their_content(loaded, gallery, tmp_path):
    pictures = [Image.open(picture.path) for picture in folder_pictures(gallery)]
    for given in (pictures, pictures[::-1]):
        batches = list(pipeline.stored_batches(loaded, given, tmp_path / "out"))
        vectors = torch.cat([batch.vectors for batch in batches if batch.kept])
        places = [place for batch in batches for place in batch.kept]
        expected = loaded.images(given).vectors[places]
        torch.testing.assert_close(vectors, expected, atol=1e-6, rtol=0)
    assert (
        embed_pictures(
            loaded, source_records(pictures)[0], EmbeddingStore(tmp_path / "out", loaded.made_by)
        ).embedded
        == 0
    )


@pytest.fixture(scope="module")
def galr(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_models(folder)
    return Encoder.from_pretrained(folder / "galr")


def test_regions_and_symmetries_are_those_of_the_encoder(galr, gallery, tmp_path):
    paths = [picture.path for picture in folder_pictures(gallery)]
    without = replace(galr, regions="none")
    for name, encoder, symmetries in (("none", without, 1), ("views", galr, 8)):
        made_by = encoder.provenance(symmetries=symmetries)
        run(encoder, gallery, tmp_path / name, made_by=made_by)
        expected = encoder.images(paths, batch_size=5, symmetries=symmetries).vectors
        [(_, found)] = list(iterate_embeddings(tmp_path / name))
        assert torch.equal(found, expected)


def test_embeddings_with_other_regions_are_refused_by_both_names(galr, gallery, tmp_path):
    run(galr, gallery, tmp_path / "out")
    with pytest.raises(IndexMismatchError, match=r"regions model, .* those of .* regions none, "):
        run(replace(galr, regions="none"), gallery, tmp_path / "out")


def test_a_folder_whose_name_is_no_text_is_written_and_read(loaded, gallery, tmp_path):
    folder = tmp_path / "\udcff"
    for _ in range(2):
        report = embed_pictures(
            loaded, folder_pictures(gallery), EmbeddingStore(folder, loaded.made_by)
        )
    assert (report.rows, report.reused) == (12, 12)


@pytest.mark.parametrize("old_enough", [True, False])
def test_rows_are_handed_on_once_each_those_that_were_there_first(
    loaded, gallery, tmp_path, monkeypatch, old_enough
):
    monkeypatch.setattr("rsctir_hf.files.listing.SETTLED_AFTER", -1 if old_enough else 1e9)
    run(loaded, gallery, tmp_path / "out")
    draw(gallery / "00.png", 77)
    draw(gallery / "new.png", 78)
    (gallery / "03.png").write_bytes(b"no picture")
    seen, told = [], []
    pictures = folder_pictures(gallery)
    embed_pictures(
        loaded,
        pictures,
        EmbeddingStore(tmp_path / "out", loaded.made_by, root=str(gallery)),
        arrived=lambda rows: seen.extend(
            zip(rows["id"].to_pylist(), unit_vectors_of(rows), strict=True)
        ),
        progress=lambda done, total: told.append((len(seen), total)),
        batch_size=2,
    )
    names = [name for name, _ in seen]
    assert sorted(names) == sorted({each.id for each in pictures} - {"03.png"})
    if old_enough:
        assert told[0][1] == 3
        assert set(names[:10]) == set(names) - {"00.png", "new.png"}
    right = loaded.images([gallery / name for name in names], workers=0).vectors
    torch.testing.assert_close(torch.stack([vector for _, vector in seen]), right)
