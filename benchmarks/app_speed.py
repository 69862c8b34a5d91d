"""Where the time of a text query goes in an app whose gallery holds a hundred thousand pictures.

    python benchmarks/app_speed.py
    python benchmarks/app_speed.py --engine hnsw --output results/app_speed_hnsw.json

The gallery is synthetic: the drawn scenes are embedded, and copies of their vectors with noise on
them fill the index up; each copy stands for the scene it was made of, so that cards show real
pictures. Timed are the steps of the app's own search, in this process and by turns: the sentence
becomes a vector, the index finds the best, each rerank orders anew (its own time, over the search
without one), and the cards are made, thumbnails included, with nothing kept from the query before.
The first query of each rerank also prepares what later ones reuse; it is reported beside.

Some minutes on two quiet cores; writes ``results/app_speed.json``.
"""

import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from report import CHECKPOINTS, flags, run, save, settings, timed
from torch.nn import functional as F

from rsctir_hf.sample import read_caption_bank, sample_folder
from rsctir_hf.search.retriever import Hit, Retriever
from rsctir_hf.ui.server.shown_gallery import Gallery, open_gallery
from rsctir_hf.ui.tabs.search_tab import EXAMPLES
from rsctir_hf.ui.views.results import ShownHits, picture_results
from rsctir_hf.ui.views.thumbnails import picture_uri

GALLERY_SIZE = 100_000
NOISE = 0.5  # length of the noise on a copy, whose cosine with its scene is then about 0.9
CHUNK = 10_000
TOP_K = 12
RERANKS = ("smr", "mr", "match")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = flags(__doc__, "app_speed.json", turns=9)
    parser.add_argument("--model", default=str(CHECKPOINTS / "cmpagl-rs"))
    parser.add_argument("--engine", default="exact", help="exact or hnsw")
    parser.add_argument("--size", type=int, default=GALLERY_SIZE)
    parser.add_argument("--pictures", type=Path, default=sample_folder())
    options = parser.parse_args(arguments)
    retriever = Retriever.from_pretrained(
        options.model, engine=options.engine, bank=read_caption_bank()
    )
    retriever.index(options.pictures)
    filled, _ = timed(partial(fill, retriever, options.size))
    found = {
        "engine": options.engine,
        "gallery": len(retriever),
        "seconds_to_fill": round(filled, 1),
        "milliseconds": steps(retriever, open_gallery(str(options.pictures)), turns=options.turns),
        "settings": settings(),
    }
    save(options.output, found)


def fill(retriever: Retriever, size: int) -> None:
    """Add noisy copies of what is indexed until the index holds ``size`` vectors."""
    engine = retriever.engine
    ids = engine.ids()
    originals, entries = engine.vectors_of(ids), engine.entries_of(ids)
    generator = torch.Generator().manual_seed(0)
    while (missing := size - len(engine)) > 0:
        rows = torch.randint(len(ids), (min(CHUNK, missing),), generator=generator)
        noise = torch.randn(len(rows), originals.shape[1], generator=generator)
        copies = F.normalize(originals[rows] + NOISE * F.normalize(noise, dim=1), dim=1)
        engine.add(copies, metadata=[entries[row].metadata for row in rows.tolist()])


def steps(retriever: Retriever, gallery: Gallery, *, turns: int) -> dict[str, dict[str, float]]:
    """Return the milliseconds of each step: the first time, and the median of later times."""
    asked = [
        query_seconds(retriever, gallery, EXAMPLES[n % len(EXAMPLES)]) for n in range(turns + 1)
    ]
    first, *later = asked
    return {
        name: {
            "first": round(first[name] * 1e3, 1),
            "median": round(statistics.median(each[name] for each in later) * 1e3, 1),
        }
        for name in first
    }


def query_seconds(retriever: Retriever, gallery: Gallery, words: str) -> dict[str, float]:
    """Ask one query in every way; return the seconds of each step."""
    embedding, vectors = timed(partial(retriever.encoder.texts, [words]))
    searching, _ = timed(partial(retriever.engine.search, vectors, TOP_K))
    whole, hits = timed(partial(retriever.search, words, top_k=TOP_K))
    found = {
        "sentence to vector": embedding,
        "search of the index": searching,
        "whole search": whole,
    }
    for rerank in RERANKS:
        ask = partial(retriever.search, words, top_k=TOP_K, rerank=rerank)
        found[f"rerank {rerank}"] = timed(ask)[0] - whole
    return found | {"cards": timed(partial(cards, hits, gallery))[0]}


def cards(hits: Sequence[Hit], gallery: Gallery) -> str:
    """Make the cards of some hits with thumbnails that nobody made before."""
    picture_uri.cache_clear()
    return picture_results(ShownHits(tuple(hits), gallery=gallery), label="Results")


if __name__ == "__main__":
    run(main)
