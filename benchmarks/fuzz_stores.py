"""Doors that read what was saved: indexes, embeddings, model folders, results files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuzz_inputs import ODD_TEXTS, mutated, spoilt_json, spoilt_lines, spoilt_safetensors
from fuzz_pictures import emptied
from fuzz_targets import Complaint, Target
from hypothesis import strategies as st
from PIL import Image
from transformers import BertConfig, BertTokenizer

from rsctir_hf.embedding.dataset_rows import load_embeddings
from rsctir_hf.embedding.encoder import load_dual_encoder
from rsctir_hf.embedding.pipeline import embed_pictures
from rsctir_hf.embedding.records import folder_pictures
from rsctir_hf.hub.card import write_card
from rsctir_hf.loading.open_clip import read_state_dict
from rsctir_hf.models.cmpagl import CMPAGLConfig, CMPAGLModel, CMPAGLProcessor
from rsctir_hf.models.galr import GaLRConfig, GaLRModel, GaLRProcessor, build_word_tokenizer
from rsctir_hf.sample import read_caption_bank
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.vector_index.contract import Scalar, SearchFilter
from rsctir_hf.vector_index.opening import open_index
from rsctir_hf.vector_index.recall import measure_recall

SIDE = 32
PICTURES = 12
RECALL_AT = 3
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def store_targets(place: Path) -> list[Target]:
    """Return the doors for saved things; they write below ``place``."""
    model = save_cmpagl(place / "stored-model")
    gallery = save_gallery(place / "stored-gallery")
    return [
        *index_targets(place, model, gallery),
        *embedding_targets(place, model, gallery),
        *model_targets(place, model),
        *result_targets(place, model),
    ]


def save_cmpagl(folder: Path) -> Path:
    """Write a tiny CMPAGL-style model of random weights and its processor."""
    words = sorted(
        {word.strip(".,").lower() for text in read_caption_bank() for word in text.split()}
    )
    vocabulary = {word: number for number, word in enumerate((*_SPECIAL, *words))}
    text = BertConfig(
        vocab_size=len(vocabulary), hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=20,
    )  # fmt: skip
    config = CMPAGLConfig(
        image_size=SIDE, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4,
        mlp_ratio=1.0, projection_dim=8, fusion_layers=1, text_config=text,
    )  # fmt: skip
    torch.manual_seed(0)
    CMPAGLModel(config).save_pretrained(folder)
    tokenizer = BertTokenizer(vocab=vocabulary, model_max_length=16)
    CMPAGLProcessor.build(tokenizer, image_size=SIDE).save_pretrained(folder)
    return folder


def save_galr(folder: Path) -> Path:
    """Write a tiny GaLR model of random weights and its processor."""
    words = build_word_tokenizer(read_caption_bank(), min_count=1, model_max_length=16)
    torch.manual_seed(0)
    config = GaLRConfig(
        image_size=64, backbone="test_efficientnet", backbone_pool=False, mvsa_grid=4,
        max_regions=6, region_dim=8, graph_dims=[8], fusion_dim=8, fusion_heads=2,
        vocab_size=len(words), embedding_dim=8, text_hidden_size=8, projection_dim=8,
    )  # fmt: skip
    GaLRModel(config).save_pretrained(folder)
    GaLRProcessor.build(words, image_size=64).save_pretrained(folder)
    return folder


def save_gallery(folder: Path) -> Path:
    """Write pictures of blocks with captions, markup in one of them."""
    folder.mkdir(parents=True)
    rows = []
    for number in range(PICTURES):
        blocks = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        name = f"block {number} <b>.png"
        Image.fromarray(blocks).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(folder / name)
        rows.append({"file_name": name, "captions": [f"<script>{number}</script>", "a block"]})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(text, encoding="utf-8")
    return folder


def index_targets(place: Path, model: Path, gallery: Path) -> list[Target]:
    """Return the doors for the files of a saved index, of either engine."""
    retriever = Retriever.from_pretrained(model)
    targets = []
    for engine, vectors in (("exact", "vectors.safetensors"), ("hnsw", None)):
        filled = retriever if engine == "exact" else Retriever.from_pretrained(model, engine=engine)
        known: list[dict[str, Scalar]] = [{"year": number} for number in range(PICTURES)]
        filled.index(sorted(gallery.glob("*.png")), metadata=known)
        index = place / f"index-{engine}"
        measure_recall(filled.engine, top_k=RECALL_AT)
        filled.save(index)
        data = next(index.glob("vectors-*"))
        record = json.loads((index / "index.json").read_text(encoding="utf-8"))
        rows = [
            json.loads(line) for line in (data / "records.jsonl").read_text("utf-8").splitlines()
        ]
        read = index_reader(index, filled)
        targets += [
            Target(f"indexes: {engine} record", spoilt_json(record),
                   spoiling(index / "index.json", read), 350),
            Target(f"indexes: {engine} entries", spoilt_lines(rows),
                   spoiling(data / "records.jsonl", read), 350),
        ]  # fmt: skip
        if vectors:
            content = (data / vectors).read_bytes()
            targets.append(
                Target("indexes: exact vectors", spoilt_safetensors(content),
                       spoiling(data / vectors, read), 350)
            )  # fmt: skip
        else:
            graph = next(file for file in data.iterdir() if file.name != "records.jsonl")
            targets.append(
                Target("indexes: hnsw graph", mutated([graph.read_bytes()]),
                       spoiling(graph, read), 200)
            )  # fmt: skip
    return [*targets, Target("indexes: places", st.sampled_from(ODD_TEXTS), open_and_close, 40)]


def index_reader(folder: Path, retriever: Retriever) -> Callable[[], None]:
    """Return what loads an index and asks it for all it has."""
    query = next(iter(retriever.engine.vectors_of(retriever.engine.ids()[:1])))[None]

    def read() -> None:
        retriever.load_index(folder)
        engine = retriever.engine
        engine.search(query, 3)
        engine.search(query, 3, only=SearchFilter({"year": 3}))
        hits = retriever.search("a block", top_k=3)
        retriever.search("a block", top_k=3, rerank="match")
        if len(hits) > len(retriever):
            raise Complaint("more hits than pictures")
        str(engine.recall)

    return read


def open_and_close(place: str) -> None:
    """Open an index by what a user may write."""
    open_index(place, must_exist=True).close()


def spoiling(file: Path, read: Callable[[], object]) -> Callable[[bytes], object]:
    """Return what writes a file anew and reads its folder; the good file comes back after."""
    good = file.read_bytes()

    def call(content: bytes) -> object:
        file.write_bytes(content)
        try:
            return read()
        finally:
            file.write_bytes(good)

    return call


def embedding_targets(place: Path, model: Path, gallery: Path) -> list[Target]:
    """Return the doors for a folder of embeddings: to read it and to go on with it."""
    loaded = load_dual_encoder(model)
    folder = place / "embeddings"
    pictures = folder_pictures(gallery)

    def go_on() -> None:
        embed_pictures(loaded, pictures, folder, root="gallery", workers=0)

    def read() -> None:
        load_embeddings(folder)

    go_on()
    kept = shutil.copytree(folder, place / "embeddings-kept")
    record = json.loads((folder / "embeddings.json").read_text(encoding="utf-8"))
    shard = next((folder / "shards").glob("*.parquet"))

    def call(content: bytes, name: str, then: Callable[[], None]) -> None:
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        (folder / name).write_bytes(content)
        then()

    place_of_shard = f"shards/{shard.name}"
    files = mutated([shard.read_bytes()])
    records = spoilt_json(record)
    return [
        Target(
            "embeddings: record", records, lambda each: call(each, "embeddings.json", read), 150
        ),
        Target(
            "embeddings: go on", records, lambda each: call(each, "embeddings.json", go_on), 100
        ),
        Target("embeddings: shards", files, lambda each: call(each, place_of_shard, go_on), 120),
    ]


def model_targets(place: Path, model: Path) -> list[Target]:
    """Return the doors for the files of a model folder."""
    folder = shutil.copytree(model, place / "spoilt-model")

    def load() -> None:
        load_dual_encoder(folder)

    targets = []
    for name, number in (
        ("config.json", 300),
        ("processor_config.json", 150),
        ("tokenizer.json", 100),
        ("tokenizer_config.json", 100),
    ):
        document = json.loads((folder / name).read_text(encoding="utf-8"))
        call = spoiling(folder / name, load)
        targets.append(Target(f"models: {name}", spoilt_json(document), call, number))
    weights = folder / "model.safetensors"
    sound = weights.read_bytes()
    alone = emptied(place / "weights") / "clip.safetensors"
    alone.write_bytes(sound)

    def read() -> None:
        read_state_dict(alone)

    return [
        *targets,
        Target("models: weights", spoilt_safetensors(sound), spoiling(weights, load), 200),
        Target("models: import", spoilt_safetensors(sound), spoiling(alone, read), 200),
    ]


def result_targets(place: Path, model: Path) -> list[Target]:
    """Return the door that makes a card of results."""
    folder = shutil.copytree(model, place / "card-model")
    results: dict[str, Any] = json.loads(
        (Path(__file__).parents[1] / "results" / "cmpagl-rs_drawn.json").read_text(encoding="utf-8")
    )
    file = folder / "results.json"
    file.write_text(json.dumps(results), encoding="utf-8")

    def write() -> None:
        write_card(folder, model_id="someone/name")

    return [Target("results: card", spoilt_json(results), spoiling(file, write), 200)]
