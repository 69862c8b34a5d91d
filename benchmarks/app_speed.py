"""Where the time of a text query goes in an app whose gallery holds a hundred thousand pictures.

    python benchmarks/app_speed.py
    python benchmarks/app_speed.py --engine hnsw --json results/app_speed_hnsw.json

The gallery is synthetic: the drawn scenes are embedded, and copies of their vectors with noise on
them fill the index up; each copy stands for the scene it was made of, so that cards show real
pictures. Timed are the steps of the app's own search, in this process and by turns: the sentence
becomes a vector, the index finds the best, each rerank orders anew (its own time, over the search
without one), and the cards are made, thumbnails included, with nothing kept from the query before.
The first query of each rerank also prepares what later ones reuse; it is reported beside.

How long a visitor waits for the first answer after a start is measured over HTTP by
``space_start.py``; its figures are repeated here if its results are there. Some minutes on two
quiet cores; writes ``results/app_speed.json``.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from rsctir_hf.embedding.encode import embed_texts
from rsctir_hf.evaluation import library_versions
from rsctir_hf.sample import read_caption_bank, sample_folder
from rsctir_hf.search.retriever import Hit, Retriever
from rsctir_hf.ui.server.shown_gallery import Gallery, open_gallery
from rsctir_hf.ui.tabs.search_tab import EXAMPLES
from rsctir_hf.ui.views.results import picture_results
from rsctir_hf.ui.views.thumbnails import picture_uri

ROOT = Path(__file__).resolve().parents[1]
GALLERY_SIZE = 100_000
NOISE = 0.5  # length of the noise on a copy, whose cosine with its scene is then about 0.9
CHUNK = 10_000
TOP_K = 12
RERANKS = ("smr", "mr", "match")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Steps of a text query in the app.")
    parser.add_argument("--model", default=str(ROOT / "checkpoints" / "cmpagl-rs"))
    parser.add_argument("--engine", default="exact", help="exact or hnsw")
    parser.add_argument("--size", type=int, default=GALLERY_SIZE)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--pictures", type=Path, default=sample_folder())
    parser.add_argument("--json", type=Path, default=ROOT / "results" / "app_speed.json")
    options = parser.parse_args(arguments)
    retriever = Retriever.from_pretrained(
        options.model, engine=options.engine, bank=read_caption_bank()
    )
    retriever.index(options.pictures)
    start = time.perf_counter()
    fill(retriever, options.size)
    filled = time.perf_counter() - start
    found = {
        "engine": options.engine,
        "gallery": len(retriever),
        "seconds_to_fill": round(filled, 1),
        "milliseconds": steps(retriever, open_gallery(str(options.pictures)), turns=options.turns),
        "after_start": read_start(ROOT / "results" / "space_start.json"),
        "threads": torch.get_num_threads(),
        "versions": library_versions(),
    }
    options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for line in report(found):
        print(line)


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
    embedding, vectors = timed(partial(embed_texts, retriever.model, retriever.processor, [words]))
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


def timed(step: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds a step took, and its result."""
    start = time.perf_counter()
    result = step()
    return time.perf_counter() - start, result


def cards(hits: Sequence[Hit], gallery: Gallery) -> str:
    """Make the cards of some hits with thumbnails that nobody made before."""
    picture_uri.cache_clear()
    return picture_results(hits, gallery, rerank="none", label="Results")


def read_start(file: Path) -> dict[str, Any] | None:
    """Return the seconds after a start that ``space_start.py`` measured, if it did."""
    if not file.is_file():
        return None
    return json.loads(file.read_text(encoding="utf-8"))["seconds_after_start"]


def report(found: dict[str, Any]) -> list[str]:
    """Return the results as lines of text."""
    lines = [
        f"{found['gallery']} vectors in the {found['engine']} index (synthetic), "
        f"{found['threads']} threads",
        f"{'':24}{'first':>10}{'median':>10}  ms",
    ]
    lines += [
        f"{name:<24}{times['first']:>10.1f}{times['median']:>10.1f}"
        for name, times in found["milliseconds"].items()
    ]
    if found["after_start"]:
        waited = ", ".join(f"{name} {value} s" for name, value in found["after_start"].items())
        lines.append(f"after a start (results/space_start.json): {waited}")
    else:
        lines.append("after a start: run benchmarks/space_start.py")
    return lines


if __name__ == "__main__":
    main()
