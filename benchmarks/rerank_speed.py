"""How fast the reranks are: MR against the released loops, SMR against one softmax.

    python benchmarks/rerank_speed.py

On a matrix of the size of RSICD's test split (1,093 pictures, 5,465 captions), both directions. The
loops are written from the description of the released ``i2t_rerank_optim`` and
``t2i_rerank_optim``: for each query its first K candidates, for each of those a search for the
query in the candidate's own list and a sum over all queries. Their scores must be those of
``multivariate_rerank(mode="released")`` wherever the loops score anything, which is measured too.

Times are of this process's own processor on one thread, so that other programs on the machine do
not count; what is compared takes turns, and the median decides. Half a minute to two minutes;
writes ``results/rerank_speed.json``.
"""

import math
import statistics
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from report import flags, run, save, settings, turn_about
from torch import Tensor
from torch.nn import functional as F

from rsctir_hf.reranking import (
    MR_TOP_K,
    MR_WEIGHTS,
    MR_XI,
    SMR_TEMPERATURE,
    multivariate_rerank,
    smr,
)

PICTURES, CAPTIONS = 1_093, 5_465
LENGTH = 64  # of the random vectors whose cosines make the matrix
MR_TARGET, SMR_TARGET, EQUAL_TO = 15.0, 3.0, 1e-6


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = flags(__doc__, "rerank_speed.json", turns=3)  # of the loops
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--captions", type=int, default=CAPTIONS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found = measure(options.pictures, options.captions, turns=options.turns)
    save(options.output, found)


def measure(pictures: int, captions: int, *, turns: int) -> dict[str, Any]:
    """Time everything on one matrix of ``pictures`` x ``captions`` cosines.

    Args:
        pictures: B.
        captions: C.
        turns: of the loops; what is fast has nine times as many.
    """
    similarity = cosines(pictures, captions)
    loops = {"released_loops": partial(released_loops, similarity.numpy())}
    slow = turn_about(loops, turns, warm_up=0, clock=time.process_time)
    fast = turn_about(
        {
            "mr_paper": lambda: multivariate_rerank(similarity),
            "mr_released": lambda: multivariate_rerank(similarity, mode="released"),
            "smr": lambda: smr(similarity),
            "softmax": lambda: (similarity.double() / SMR_TEMPERATURE).softmax(dim=0),
        },
        9 * turns,
        clock=time.process_time,
    )
    seconds = {name: statistics.median(each) for name, each in (slow | fast).items()}
    return {
        "pictures": pictures,
        "captions": captions,
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "mr_times_as_fast": {
            mode: round(seconds["released_loops"] / seconds[f"mr_{mode}"], 1)
            for mode in ("paper", "released")
        },
        "mr_target": MR_TARGET,
        "largest_difference_to_the_loops": largest_difference(similarity),
        "difference_target": EQUAL_TO,
        "smr_softmax_passes": round(seconds["smr"] / seconds["softmax"], 2),
        "smr_target": SMR_TARGET,
        "settings": settings(),
    }


def cosines(pictures: int, captions: int) -> Tensor:
    """Return cosines (B, C) in float64 that are all different and mostly positive, as a model's."""
    generator = torch.Generator().manual_seed(0)
    images, texts = (
        F.normalize(torch.randn(count, LENGTH, generator=generator).double() + 0.5, dim=1)
        for count in (pictures, captions)
    )
    return images @ texts.T


def released_loops(similarity: NDArray) -> tuple[NDArray, NDArray]:
    """Rerank both directions as the released code does; cells it does not score are 0."""
    return loop_over_queries(similarity), loop_over_queries(similarity.T).T


def loop_over_queries(scores: NDArray) -> NDArray:
    """Rerank the candidates of queries (Q, G), one query and one candidate after the other."""
    count = max(MR_TOP_K, 10)
    by_query = np.argsort(-scores, axis=1)  # (Q, G)
    by_candidate = np.argsort(-scores, axis=0)  # (Q, G)
    reranked = np.zeros_like(scores)
    for query in range(len(scores)):
        candidates = by_query[query, :count]
        back = [int(np.where(by_candidate[:, each] == query)[0][0]) for each in candidates]
        places = np.argsort(np.argsort(back, kind="stable"), kind="stable")
        for rank, each in enumerate(candidates):
            share = scores[query, each] / np.sum(scores[:, each])
            reranked[query, each] = (
                MR_WEIGHTS[0] * share
                + math.exp(-MR_XI * (rank + 1))
                + MR_WEIGHTS[1] * math.exp(-MR_XI * (int(places[rank]) + 1))
            )
    return reranked


def largest_difference(similarity: Tensor) -> float:
    """Return how far our ``released`` mode is from the loops where these score anything."""
    differences = []
    for ours, loops in zip(
        multivariate_rerank(similarity, mode="released"),
        released_loops(similarity.numpy()),
        strict=True,
    ):
        theirs = torch.from_numpy(loops.copy())
        scored = theirs != 0
        differences.append(float((ours - theirs)[scored].abs().max()))
    return max(differences)


if __name__ == "__main__":
    run(main)
