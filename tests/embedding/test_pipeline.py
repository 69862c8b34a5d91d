"""The embedding pipeline: what it embeds, what it leaves alone, what it says when it cannot."""

import json
import os
from dataclasses import replace

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from rsctir_hf.embedding import pipeline
from rsctir_hf.embedding.dataset_rows import load_embeddings, table_pictures
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.pipeline import embed_pictures
from rsctir_hf.embedding.records import FilePicture, folder_pictures, source_records
from rsctir_hf.embedding.store import EmbeddingStore, iterate_embeddings, read_record
from rsctir_hf.errors import (
    DataLayoutError,
    IndexMismatchError,
    QueryError,
)
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.vector_index import shards
from rsctir_hf.vector_index.opening import open_index
from tests.ui.tiny_models import save_models

SIDE = 24


@pytest.fixture
def loaded(tiny_clip, tiny_clip_processor):
    return Encoder(tiny_clip, tiny_clip_processor, id="tiny-clip", revision=None)


@pytest.fixture
def gallery(tmp_path):
    """Twelve different pictures in two folders, which have not changed for an hour."""
    folder = tmp_path / "gallery"
    (folder / "below").mkdir(parents=True)
    for number in range(12):
        draw(folder / ("below" if number % 3 else "") / f"{number:02d}.png", number)
    return folder


@pytest.fixture
def settled(monkeypatch):
    """No file is so young that its times cannot be trusted."""
    monkeypatch.setattr("rsctir_hf.embedding.records.SETTLED_AFTER", -1)


def draw(path, number):
    pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(path)


def run(encoder, gallery, output, *, made_by=None, shard_rows=shards.SHARD_ROWS, **options):
    place = EmbeddingStore(
        output, made_by or encoder.made_by, root=str(gallery), shard_rows=shard_rows
    )
    return embed_pictures(encoder, folder_pictures(gallery), place, **{"batch_size": 5} | options)


def vectors_by_id(output):
    found = load_embeddings(output).with_format("numpy")
    return dict(zip(found["id"], np.stack(list(found["embedding"])), strict=True))


def test_shards_open_as_a_data_set_with_the_vectors_of_embed_images(loaded, gallery, tmp_path):
    report = run(loaded, gallery, tmp_path / "out")
    rows = load_embeddings(tmp_path / "out")
    assert isinstance(rows, datasets.Dataset)
    pictures = folder_pictures(gallery)
    assert rows["id"] == [picture.id for picture in pictures]
    assert (report.rows, report.embedded, report.reused, report.skipped) == (12, 12, 0, ())
    assert rows.features["embedding"].length == 16
    paths = [picture.path for picture in pictures]
    expected = loaded.images(paths, batch_size=5, workers=0).vectors
    assert torch.equal(torch.tensor(rows["embedding"]), expected)


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_change_nothing_to_the_last_bit(loaded, gallery, workers):
    paths = [picture.path for picture in folder_pictures(gallery)] + [gallery / "missing.png"]
    alone = loaded.images(paths, batch_size=4, workers=0)
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
        assert sum(1 for _ in told) == (0 if embedded == 0 else 2)
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


@pytest.mark.parametrize("other", ["model", "regions", "preprocessing", "dtype", "symmetries"])
def test_embeddings_made_otherwise_are_refused_by_both_names(loaded, gallery, tmp_path, other):
    run(loaded, gallery, tmp_path / "out")
    before = vectors_by_id(tmp_path / "out")
    maker = loaded.made_by
    changed = {"model": {"fingerprint": "f" * 16, "model_id": "another"}}.get(other)
    changed = changed or {other: 8 if other == "symmetries" else "float16"}
    here = replace(maker, **changed)
    with pytest.raises(IndexMismatchError) as caught:
        run(loaded, gallery, tmp_path / "out", made_by=here)
    assert str(maker) in str(caught.value) and str(here) in str(caught.value)
    assert vectors_by_id(tmp_path / "out").keys() == before.keys()


def test_other_pictures_are_refused_and_moved_ones_are_not(loaded, gallery, tmp_path):
    run(loaded, gallery, tmp_path / "out")
    (tmp_path / "others").mkdir()
    draw(tmp_path / "others" / "a.png", 1000)
    with pytest.raises(IndexMismatchError, match=r"gallery; this run is about .*others"):
        run(loaded, tmp_path / "others", tmp_path / "out")
    moved = gallery.rename(tmp_path / "moved")
    assert run(loaded, moved, tmp_path / "out").embedded == 0


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


def test_what_is_no_folder_of_embeddings_is_named(loaded, gallery, tmp_path):
    with pytest.raises(DataLayoutError, match=r"embeddings.json is missing.*rsctir embed"):
        load_embeddings(tmp_path)
    run(loaded, gallery, tmp_path / "out")
    record = tmp_path / "out" / shards.EMBEDDINGS_FILE
    whole = record.read_text()
    for text, words in (
        (whole[:-5], "cannot be read"),
        (whole.replace('"format": 1', '"format": 9'), "format 9"),
    ):
        record.write_text(text)
        with pytest.raises(DataLayoutError, match=words):
            load_embeddings(tmp_path / "out")


def test_a_damaged_shard_is_named_and_a_new_run_mends_it(loaded, gallery, tmp_path, caplog):
    run(loaded, gallery, tmp_path / "out", shard_rows=5)
    damaged = tmp_path / "out" / "shards" / read_record(tmp_path / "out").shards[1]
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(IndexMismatchError, match=damaged.name):
        list(iterate_embeddings(tmp_path / "out"))
    report = run(loaded, gallery, tmp_path / "out", shard_rows=5)
    assert (report.rows, report.embedded) == (12, 5)
    assert damaged.name in caplog.text
    assert len(vectors_by_id(tmp_path / "out")) == 12


def test_a_shard_whose_numbers_alone_are_damaged_is_named_and_mended_too(loaded, gallery, tmp_path):
    run(loaded, gallery, tmp_path / "out")
    before = vectors_by_id(tmp_path / "out")
    damaged = tmp_path / "out" / "shards" / read_record(tmp_path / "out").shards[0]
    column = pq.ParquetFile(damaged).metadata.row_group(0).column(3)
    assert column.path_in_schema.startswith("embedding")
    content = bytearray(damaged.read_bytes())
    first = column.dictionary_page_offset or column.data_page_offset
    content[first + column.total_compressed_size // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(IndexMismatchError, match=damaged.name):
        list(iterate_embeddings(tmp_path / "out"))
    assert run(loaded, gallery, tmp_path / "out").embedded > 0
    after = vectors_by_id(tmp_path / "out")
    assert set(after) == set(before)
    for name, vector in before.items():
        np.testing.assert_allclose(after[name], vector, atol=1e-6)


def test_no_picture_at_all_is_an_empty_folder_of_embeddings(loaded, tmp_path):
    assert embed_pictures(loaded, [], EmbeddingStore(tmp_path / "out", loaded.made_by)).rows == 0
    with pytest.raises(DataLayoutError, match="no picture could be read"):
        load_embeddings(tmp_path / "out")


def test_rows_keep_their_numbers_through_a_shard(tmp_path):
    vectors = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    rows = shards.rows_of(
        ["a", "b", "c"],
        ["1", "2", "3"],
        ["", "", ""],
        vectors=vectors,
        metadata=[{}] * 3,
        dtype="float32",
    )
    path = shards.ShardWriter(tmp_path).write(rows)
    assert torch.equal(shards.vectors_of(shards.read_shard(path)), vectors)
    assert pa.types.is_fixed_size_list(rows.schema.field("embedding").type)


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
        pipeline, "embed_prepared", lambda model, batch: seen.append(batch) or batch_of(batch)
    )
    draw(gallery / "new.png", 100)
    assert indexed(tmp_path / "out")[1].indexed == 13
    assert [len(batch.kept) for batch in seen] == [1]


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


@pytest.mark.parametrize("fields", [{"root": 2.5}, {"root": None}, {"rows": "many"}])
def test_a_record_of_another_kind_is_refused(loaded, gallery, tmp_path, fields):
    folder = tmp_path / "out"
    embed_pictures(loaded, folder_pictures(gallery), EmbeddingStore(folder, loaded.made_by))
    said = json.loads((folder / "embeddings.json").read_text())
    (folder / "embeddings.json").write_text(json.dumps(said | fields))
    with pytest.raises(DataLayoutError, match="of another kind"):
        embed_pictures(loaded, folder_pictures(gallery), EmbeddingStore(folder, loaded.made_by))


@pytest.mark.parametrize("name", ["../../elsewhere.parquet", "/etc/passwd", "x.parquet", 3, ["a"]])
def test_a_record_cannot_name_shards_elsewhere(loaded, gallery, tmp_path, name):
    folder = tmp_path / "embeddings"
    embed_pictures(loaded, folder_pictures(gallery), EmbeddingStore(folder, loaded.made_by))
    said = json.loads((folder / "embeddings.json").read_text())
    (folder / "embeddings.json").write_text(json.dumps(said | {"shards": [name]}))
    with pytest.raises(DataLayoutError, match=r"embeddings\.json cannot be read"):
        load_embeddings(folder)
    with pytest.raises(DataLayoutError, match=r"embeddings\.json cannot be read"):
        embed_pictures(loaded, folder_pictures(gallery), EmbeddingStore(folder, loaded.made_by))


def test_a_shard_that_is_gone_is_named(loaded, gallery, tmp_path):
    folder = tmp_path / "embeddings"
    embed_pictures(loaded, folder_pictures(gallery), EmbeddingStore(folder, loaded.made_by))
    (shard,) = (folder / "shards").iterdir()
    shard.unlink()
    with pytest.raises(DataLayoutError, match=f"{shard.name} is missing"):
        load_embeddings(folder)


def test_a_folder_whose_name_is_no_text_is_written_and_read(loaded, gallery, tmp_path):
    folder = tmp_path / "\udcff"
    for _ in range(2):
        report = embed_pictures(
            loaded, folder_pictures(gallery), EmbeddingStore(folder, loaded.made_by)
        )
    assert (report.rows, report.reused) == (12, 12)
