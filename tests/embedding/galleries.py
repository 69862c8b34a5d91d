"""A gallery of small pictures, embedded into a folder."""

import numpy as np
from PIL import Image

from rsctir_hf.embedding.dataset_rows import load_embeddings
from rsctir_hf.embedding.pipeline import embed_pictures
from rsctir_hf.embedding.records import folder_pictures
from rsctir_hf.embedding.store import EmbeddingStore
from rsctir_hf.vector_index import shards

SIDE = 24


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
