"""Hostile saved things: indexes, embeddings, model folders, results files."""

import json
import shutil
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsctir_hf.embedding.dataset_rows import load_embeddings
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.pipeline import embed_pictures
from rsctir_hf.embedding.records import folder_pictures
from rsctir_hf.embedding.store import EmbeddingStore
from rsctir_hf.hub.card import write_card
from rsctir_hf.loading.open_clip import read_state_dict
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.vector_index.contract import SearchFilter
from rsctir_hf.vector_index.opening import open_index
from rsctir_hf.vector_index.recall import measure_recall
from tests.conftest import ROOT
from tests.fuzz.hostile import ODD_TEXTS, mutated, spoilt_json, spoilt_lines, spoilt_safetensors
from tests.fuzz.oracle import Complaint, taken_or_refused
from tests.ui.tiny_models import save_gallery, save_models

DATA = st.data()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A tiny model, a gallery, an index of either engine and a folder of embeddings."""
    place = tmp_path_factory.mktemp("saved")
    save_models(place)
    save_gallery(place / "gallery")
    pictures = sorted((place / "gallery").glob("block*.png"))
    for engine in ("exact", "hnsw"):
        filled = Retriever.from_pretrained(place / "cmpagl", engine=engine)
        filled.index(pictures, metadata=[{"year": number} for number in range(len(pictures))])
        measure_recall(filled.engine, top_k=3)
        filled.save(place / engine)
    loaded = Encoder.from_pretrained(place / "cmpagl")
    query = filled.engine.vectors_of(filled.engine.ids()[:1]).clone()
    return SimpleNamespace(place=place, loaded=loaded, query=query)


@contextmanager
def holding(file, content):
    """Let a file hold something else for a while."""
    good = file.read_bytes()
    file.write_bytes(content)
    try:
        yield
    finally:
        file.write_bytes(good)


def read_json(file):
    return json.loads(file.read_text(encoding="utf-8"))


def read_index(saved, engine):
    """Load an index and ask it for all it has."""
    retriever = Retriever(saved.loaded, index=open_index(saved.place / engine))
    retriever.engine.search(saved.query, 3)
    retriever.engine.search(saved.query, 3, only=SearchFilter({"year": 3}))
    hits = retriever.search("a block", top_k=3)
    retriever.search("a block", top_k=3, rerank="match")
    if len(hits) > len(retriever):
        raise Complaint("more hits than pictures")
    str(retriever.engine.recall)


@pytest.mark.parametrize(
    ("engine", "part"),
    [(engine, part) for engine in ("exact", "hnsw") for part in ("record", "entries", "vectors")]
    + [("hnsw", "graph")],
)
@given(data=DATA)
def test_files_of_an_index(saved, engine, part, data):
    folder = saved.place / engine
    file = {
        "record": folder / "index.json",
        "entries": next(folder.glob("entries-*/records.jsonl")),
        "vectors": next(folder.glob("shards/*.parquet")),
        "graph": next(folder.glob("entries-*/*.faiss"), None),
    }[part]
    if part == "record":
        contents = spoilt_json(read_json(file))
    elif part == "entries":
        contents = spoilt_lines([json.loads(line) for line in file.read_text().splitlines()])
    else:
        contents = mutated([file.read_bytes()])
    with holding(file, data.draw(contents)):
        taken_or_refused(read_index, saved, engine)


@given(st.sampled_from(ODD_TEXTS))
def test_places_of_an_index(place):
    taken_or_refused(lambda: open_index(place, must_exist=True).close())


@pytest.fixture(scope="module")
def embedded(saved):
    """Embed the gallery; return what goes on with it, and a copy of what it left."""
    folder = saved.place / "embeddings"
    pictures = folder_pictures(saved.place / "gallery")

    def go_on():
        embed_pictures(
            saved.loaded,
            pictures,
            EmbeddingStore(folder, saved.loaded.made_by, root="gallery"),
            workers=0,
        )

    go_on()
    kept = shutil.copytree(folder, saved.place / "embeddings-kept")
    return SimpleNamespace(folder=folder, kept=kept, go_on=go_on)


@pytest.mark.parametrize(
    ("file", "way"),
    [("embeddings.json", "read"), ("embeddings.json", "go on"), ("shards/*.parquet", "go on")],
)
@given(data=DATA)
def test_files_of_embeddings(embedded, file, way, data):
    shutil.rmtree(embedded.folder)
    shutil.copytree(embedded.kept, embedded.folder)
    (spoilt,) = embedded.folder.glob(file)
    is_record = spoilt.suffix == ".json"
    contents = spoilt_json(read_json(spoilt)) if is_record else mutated([spoilt.read_bytes()])
    spoilt.write_bytes(data.draw(contents))
    call = embedded.go_on if way == "go on" else lambda: load_embeddings(embedded.folder)
    taken_or_refused(call)


@pytest.mark.parametrize(
    "name", ["config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json"]
)
@given(data=DATA)
def test_texts_of_a_model_folder(saved, name, data):
    file = saved.place / "cmpagl" / name
    with holding(file, data.draw(spoilt_json(read_json(file)))):
        taken_or_refused(Encoder.from_pretrained, file.parent)


@pytest.mark.parametrize("read", [Encoder.from_pretrained, read_state_dict])
@given(data=DATA)
def test_weights_of_a_model(saved, tmp_path, read, data):
    file = saved.place / "cmpagl" / "model.safetensors"
    content = data.draw(spoilt_safetensors(file.read_bytes()))
    if read is not read_state_dict:
        with holding(file, content):
            taken_or_refused(read, file.parent)
    else:
        (tmp_path / "clip.safetensors").write_bytes(content)
        taken_or_refused(read, tmp_path / "clip.safetensors")


@given(content=spoilt_json(read_json(ROOT / "results" / "cmpagl-rs_drawn.json")))
def test_results_that_a_card_is_made_of(saved, tmp_path, content):
    folder = tmp_path / "model"
    if not folder.exists():
        shutil.copytree(saved.place / "cmpagl", folder)
    (folder / "results.json").write_bytes(content)
    taken_or_refused(lambda: write_card(folder, model_id="someone/name"))
