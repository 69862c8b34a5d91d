"""Folders of embeddings: what they say of themselves, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from rsctir_hf.embedding.dataset_rows import load_embeddings
from rsctir_hf.embedding.store import iterate_embeddings, read_record
from rsctir_hf.errors import DataLayoutError, IndexMismatchError
from rsctir_hf.vector_index import shards
from tests.embedding.galleries import draw, run, vectors_by_id


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


@pytest.mark.parametrize("fields", [{"root": 2.5}, {"root": None}, {"rows": "many"}])
def test_a_record_of_another_kind_is_refused(loaded, gallery, tmp_path, fields):
    folder = tmp_path / "out"
    run(loaded, gallery, folder)
    said = json.loads((folder / "embeddings.json").read_text())
    (folder / "embeddings.json").write_text(json.dumps(said | fields))
    with pytest.raises(DataLayoutError, match="of another kind"):
        run(loaded, gallery, folder)


@pytest.mark.parametrize("name", ["../../elsewhere.parquet", "/etc/passwd", "x.parquet", 3, ["a"]])
def test_a_record_cannot_name_shards_elsewhere(loaded, gallery, tmp_path, name):
    folder = tmp_path / "embeddings"
    run(loaded, gallery, folder)
    said = json.loads((folder / "embeddings.json").read_text())
    (folder / "embeddings.json").write_text(json.dumps(said | {"shards": [name]}))
    with pytest.raises(DataLayoutError, match=r"embeddings\.json cannot be read"):
        load_embeddings(folder)
    with pytest.raises(DataLayoutError, match=r"embeddings\.json cannot be read"):
        run(loaded, gallery, folder)


def test_a_shard_that_is_gone_is_named(loaded, gallery, tmp_path):
    folder = tmp_path / "embeddings"
    run(loaded, gallery, folder)
    (shard,) = (folder / "shards").iterdir()
    shard.unlink()
    with pytest.raises(DataLayoutError, match=f"{shard.name} is missing"):
        load_embeddings(folder)


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
