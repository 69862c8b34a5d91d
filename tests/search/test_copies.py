"""Copies of a picture are one hit that says how many it stands for."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import QueryError
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.vector_index.contract import BoundingBox, SearchFilter
from rsctir_hf.vector_index.opening import open_index

NAMES = ["a.png", "b.png", "c.png"]


@pytest.fixture
def folder(tmp_path):
    """Three pictures; of the first a copy, a smaller JPEG and a mirrored one."""
    random = np.random.default_rng(0)
    for name in NAMES:
        coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        coarse.resize((96, 96), Image.Resampling.BICUBIC).save(tmp_path / name)
    shutil.copy(tmp_path / "a.png", tmp_path / "a2.png")
    first = Image.open(tmp_path / "a.png")
    first.resize((80, 80)).save(tmp_path / "a3.jpg", quality=85)
    first.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "a4.png")
    return tmp_path


@pytest.fixture(params=["exact", "hnsw"])
def retriever(request, monkeypatch, tiny_clip, tiny_clip_processor):
    monkeypatch.setattr("rsctir_hf.search.copies.NEAR", -1.0)  # a model without any training
    encoder = Encoder(tiny_clip, tiny_clip_processor)
    return Retriever(encoder, bank=["a river", "planes"], index=open_index(request.param))


def names(hits):
    return sorted(hit.path.rsplit("/", 1)[-1][0] for hit in hits)


@pytest.mark.parametrize("rerank", ["none", "smr"])
def test_copies_are_folded_into_the_best_of_them(retriever, folder, rerank):
    retriever.index(folder)
    folded = retriever.folding("all").search("a river", top_k=5, rerank=rerank)
    assert names(folded) == ["a", "b", "c"]
    assert [hit.rank for hit in folded] == [1, 2, 3]
    assert {hit.path.rsplit("/", 1)[-1][0]: hit.merged for hit in folded} == {
        "a": 4,
        "b": 1,
        "c": 1,
    }
    every = retriever.search("a river", top_k=6, rerank=rerank)
    best = next(hit for hit in every if hit.path.startswith(f"{folder}/a"))
    assert best.path in [hit.path for hit in folded if hit.merged == 4]


def test_as_many_are_found_as_asked_for_and_nothing_folded_is_all_there_is(retriever, folder):
    retriever.index(folder)
    assert names(retriever.folding("all").search("a river", top_k=2)) != ["a", "a"]
    assert len(retriever.folding("all").search("a river", top_k=3)) == 3
    assert len(retriever.folding("none").search("a river", top_k=6)) == 6
    assert len(retriever.search("a river", top_k=6)) == 6


def test_pictures_of_two_places_are_two_and_a_filter_holds(retriever, folder):
    pictures = [folder / name for name in ("a.png", "a2.png", "a3.jpg")]
    boxes = [BoundingBox(0, 0, 1, 1), BoundingBox(5, 5, 6, 6), BoundingBox(0.5, 0.5, 1.5, 1.5)]
    retriever.index(pictures, boxes=boxes, metadata=[{"n": 1}, {"n": 2}, {"n": 3}])
    folded = retriever.folding("all").search("a river")
    assert sorted(hit.merged for hit in folded) == [1, 2]
    only = SearchFilter({"n": [2, 3]})
    assert len(retriever.folding("all").search("a river", only=only)) == 2


def test_what_is_gone_or_from_memory_is_compared_as_far_as_it_can_be_read(retriever, folder):
    first = Image.open(io.BytesIO((folder / "a.png").read_bytes()))
    retriever.index([first, folder / "a2.png", folder / "b.png"])
    (folder / "b.png").unlink()
    assert sorted(hit.merged for hit in retriever.folding("all").search("a river")) == [1, 2]


def test_pictures_that_are_not_near_are_not_read(retriever, folder, monkeypatch):
    monkeypatch.setattr("rsctir_hf.search.copies.NEAR", 1.1)
    retriever.index(folder)
    assert len(retriever.folding("all").search("a river", top_k=6)) == 6


def test_only_known_ways_to_fold_are_taken(retriever):
    with pytest.raises(QueryError, match="fold is 'some'; expected all, tiles, none"):
        retriever.folding("some")
