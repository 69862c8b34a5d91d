"""What the related systems of docs/methods.md bring: short trainings, paired over the same seeds.

    python benchmarks/methods.py --data data/ucm_captions                    # train what is missing
    python benchmarks/methods.py --only methods/amfmn_soft --seeds 0 1       # a part of it

As ``ablations.py``, on the bases of that table, with UCM-Captions validation: each row on the base
it belongs to. Frozen towers at 128 px are unfair to MSA and SSJDN, which train the image tower; a
row "towers free" stands beside a base so. A query is one sentence among 10,000 random vectors of
the exact engine, the median of some in one thread; a machine's times compare within one run only.
"""

import statistics
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from report import NONE, RESULTS, run
from series import PROCESSOR, RECIPES, Row, Series, compared_cells
from torch.nn.functional import normalize

from rsctir_hf.data.label_sets import read_labelled
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.files.atomic import parse_json
from rsctir_hf.labels.label_scores import SINGLE, evaluate_labels
from rsctir_hf.search.gallery import PictureNotes
from rsctir_hf.search.retriever import Retriever

GALLERY, QUERIES = 10_000, 20
GALR, CMPAGL = "GaLR (base)", "CMPAGL (base)"
GALR_FREE, CMPAGL_FREE = "GaLR, towers free", "CMPAGL, towers free"
ROWS = (
    Row(GALR, "ablations/galr_base"),
    Row("AMFMN, soft", "methods/amfmn_soft", GALR),
    Row("AMFMN, fusion", "methods/amfmn_fusion", GALR),
    Row("AMFMN, sim", "methods/amfmn_sim", GALR),
    Row("Self-paced weights", "methods/self_paced", GALR),
    Row("SSJDN-style", "methods/galr_ssjdn", GALR),
    Row("SSJDN-style, decoupling alone", "methods/galr_scale_decoupling", GALR),
    Row("SSJDN-style, classes alone", "methods/galr_scene_classes", GALR),
    Row("CMIR-NET's terms", "methods/cmir_net", GALR),
    Row("Label-free terms", "methods/galr_label_free", GALR),
    Row(GALR_FREE, "methods/galr_free"),
    Row("SSJDN-style, towers free", "methods/galr_ssjdn_free", GALR_FREE),
    Row(CMPAGL, "ablations/cmpagl_base"),
    Row("MSA, scaled", "methods/cmpagl_multiscale", CMPAGL),
    Row("MSA, released", "methods/cmpagl_multiscale_released", CMPAGL),
    Row("Gated patches learnt (two levels)", "methods/cmpagl_two_level", CMPAGL),
    Row(CMPAGL_FREE, "methods/cmpagl_free"),
    Row("MSA, scaled, towers free", "methods/cmpagl_multiscale_free", CMPAGL_FREE),
)
COLUMNS = (
    *("Method", "mR", "Compared with", "Difference", "By seed", "mR with SMR", "nDCG@10"),
    *("Label mAP", "Processor minutes", "Query, ms", "Recipe"),
)


def measure(folder: Path, data: Path) -> dict[str, float]:
    """Measure the model of a finished run: labels, graded relevance, and the time of a query."""
    encoder = Encoder.from_pretrained(folder)
    labels = evaluate_labels(encoder, read_labelled(data, split="validation"))
    record: Any = parse_json((folder / "results.json").read_text(encoding="utf-8"))
    plain = next(each for each in record["validation"] if each["rerank"] == "none")
    return {
        "label_mAP": round(labels.metrics[SINGLE], 3),
        "nDCG": round(statistics.fmean(plain["graded"].values()), 3),
        "query_ms": round(query_milliseconds(encoder), 2),
    }


def query_milliseconds(encoder: Encoder) -> float:
    """Time a sentence in a gallery of random vectors; the median of ``QUERIES``."""
    retriever = Retriever(encoder)
    width = encoder.texts(["a"]).shape[1]
    vectors = normalize(torch.randn(GALLERY, width, generator=torch.Generator().manual_seed(0)))
    names = [f"{number}.png" for number in range(GALLERY)]
    retriever.add(vectors, names, PictureNotes.of(GALLERY))
    retriever.finish_adding()
    spent = []
    for sentence in retriever.bank[: QUERIES + 1]:  # the first one warms up
        started = time.perf_counter()
        retriever.search(sentence, top_k=10)
        spent.append(1000 * (time.perf_counter() - started))
    return statistics.median(spent[1:])


def cells(row: Mapping[str, Any]) -> list[str]:
    """Cells of one row; a rerank of another row's training has no time or SMR of its own."""
    found, own = row["measured"], row["score"] == "none"
    figures = [f"{found[name]:.1f}" if own else NONE for name in ("smr", "nDCG", "label_mAP")]
    minutes, query = (
        f"{value:.1f}" if own else NONE for value in (row[PROCESSOR], found["query_ms"])
    )
    return [*compared_cells(row), *figures, minutes, query, f"`{Path(row['recipe']).stem}`"]


SERIES = Series(ROWS, RECIPES, RESULTS / "methods.json", COLUMNS, cells, measure)

if __name__ == "__main__":
    run(partial(SERIES.main, __doc__))
