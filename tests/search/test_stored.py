"""What an earlier run kept, opened again: an index or a folder of embeddings."""

import json

import pytest
import torch

from rsctir_hf.embedding.pipeline import embed_pictures
from rsctir_hf.embedding.records import FilePicture, folder_pictures
from rsctir_hf.embedding.store import EmbeddingStore
from rsctir_hf.errors import DataLayoutError, IndexMismatchError
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.search.stored import keeps_vectors, open_stored


@pytest.fixture
def embedded(clip_folder, picture_folder, tmp_path):
    """A retriever, and embeddings of the picture folder, whose green picture has a caption."""
    retriever = Retriever.from_pretrained(clip_folder, bank=["a river"])
    store = EmbeddingStore(tmp_path / "out", retriever.encoder.made_by, root=str(picture_folder))
    embed_pictures(retriever.encoder, folder_pictures(picture_folder), store)
    row = {"file_name": "green.png", "captions": ["a field"], "season": "summer"}
    (picture_folder / "metadata.jsonl").write_text(json.dumps(row))
    return retriever, tmp_path / "out"


def test_embeddings_alone_are_searched_as_an_index_of_the_same_pictures(embedded, picture_folder):
    retriever, folder = embedded
    retriever.index(picture_folder)
    later = Retriever.load(folder, bank=["a river"])
    assert len(later) == 8
    for asked, found in zip(
        retriever.search("green tennis courts", top_k=8),
        later.search("green tennis courts", top_k=8),
        strict=True,
    ):
        assert (asked.path, asked.score) == (found.path, found.score)
    green = later.search(picture_folder / "green.png", top_k=1)[0]
    assert (green.caption, green.metadata) == ("a field", {"season": "summer"})


def test_the_command_line_searches_embeddings(embedded, rsctir, picture_folder):
    code, out, _ = rsctir(
        "search", "--index", embedded[1], "--image", picture_folder / "green.png", "--top-k", 1
    )
    assert (code, out.split()[1:]) == (
        0,
        ["+1.000", str(picture_folder / "green.png"), "a", "field"],
    )


def test_where_an_index_lies_over_the_embeddings_it_is_opened(embedded, picture_folder):
    retriever, folder = embedded
    retriever.index(picture_folder / "green.png", captions=["from the index"])
    retriever.save(folder)
    assert [item.caption for item in Retriever.load(folder).items] == ["from the index"]


def test_rows_of_a_data_set_have_ids_and_no_paths(tiny_encoder, picture_folder, tmp_path):
    pictures = [FilePicture("12", picture_folder / "red.png")]
    store = EmbeddingStore(tmp_path / "out", tiny_encoder.made_by, root="org/set:train")
    embed_pictures(tiny_encoder, pictures, store)
    found = Retriever(tiny_encoder, bank=["x"], index=open_stored(tmp_path / "out")).items
    assert [(item.path, item.metadata) for item in found] == [(None, {"id": "12"})]


def test_embeddings_that_are_not_whole_are_refused_with_the_remedy(embedded):
    record = embedded[1] / "embeddings.json"
    fields = json.loads(record.read_text())
    record.write_text(json.dumps(fields | {"rows": None}))
    with pytest.raises(DataLayoutError, match="Run the same command again"):
        Retriever.load(embedded[1])
    record.write_text("{")
    with pytest.raises(DataLayoutError, match=r"embeddings\.json cannot be read"):
        Retriever.load(embedded[1])


def test_an_index_that_names_a_picture_outside_of_its_folder_is_refused(embedded, picture_folder):
    retriever, folder = embedded
    retriever.index(picture_folder)
    retriever.save(folder)
    record = folder / "index.json"
    fields = json.loads(record.read_text())
    record.write_text(json.dumps(fields | {"root": str(picture_folder / "below")}))
    with pytest.raises(IndexMismatchError, match="outside of the folder"):
        Retriever.load(folder).search("a river")


@pytest.mark.parametrize(
    ("place", "kept"),
    [
        ("postgresql://me@host/db?table=t", True),
        ("http://host:19530?collection=c", True),
        ("vectors.db", True),
        ("sample", False),
        ("org/pictures", False),
        (".", False),
    ],
)
def test_a_place_of_vectors_is_told_from_other_galleries(place, kept):
    assert keeps_vectors(place) is kept


def test_both_kinds_of_folder_are_places_of_vectors(embedded, picture_folder):
    retriever, folder = embedded
    assert keeps_vectors(folder)
    retriever.index(picture_folder)
    retriever.save(folder.with_name("index"))
    assert keeps_vectors(str(folder.with_name("index")))
    vectors = open_stored(folder.with_name("index")).vectors_of([0])
    assert torch.linalg.vector_norm(vectors).item() == pytest.approx(1, abs=1e-5)
