"""The order of training rows: pictures that share captions go to different batches.

In UCM-Captions whole classes carry the same five sentences. Two of them in one batch are a false
negative, or a masked cell that teaches nothing; spread out, they are ordinary rows.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from rsctir_hf.captions import number_captions

# Keeps the random stream of the order apart from those of the rows (see data/augmentation.py).
_STREAM = 1


class CaptionAwareSampler(Sampler[int]):
    """Yields ``epoch * n + row`` for every row once, as :class:`EpochView` expects.

    The order is a pure function of (seed, epoch), so a resumed run that skips the batches it has
    seen goes on exactly where it stopped. Hand it to a ``DataLoader`` with the same batch size.

    Args:
        caption_sets: the captions of each of the n rows.
        batch_size: rows per batch (per process).
        seed: the run's seed, not negative.
    """

    def __init__(
        self, caption_sets: Sequence[Sequence[str]], *, batch_size: int, seed: int
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; expected at least 1.")
        if seed < 0:
            raise ValueError(f"seed is {seed}; expected 0 or more.")
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self._shared, self._sentences = _shared_sentences(caption_sets)

    def __len__(self) -> int:
        return len(self._shared)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of epoch ``epoch`` (from 0); the Trainer calls this."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        start = self.epoch * len(self)
        for row in self._order():
            yield start + int(row)

    def _order(self) -> NDArray[np.int64]:
        """Return the n rows, batch after batch, of the present epoch.

        Greedy: rows come in order of how much they share (ties at random), and each goes to the
        batch that has fewest of its sentences, the emptiest of those, again ties at random.
        """
        rng = np.random.default_rng([self.seed, self.epoch, _STREAM])
        rows = len(self)
        batches = max(1, -(-rows // self.batch_size))
        room = np.full(batches, self.batch_size)
        room[-1] = rows - self.batch_size * (batches - 1)
        filled = np.zeros(batches)
        seen = np.zeros((batches, self._sentences), dtype=np.int32)
        members: list[list[int]] = [[] for _ in range(batches)]
        for row in self._hardest_first(rng):
            sentences = self._shared[row]
            # The share filled is below 1, so it only decides between equal counts.
            cost = seen[:, sentences].sum(axis=1) + filled / (room + 1)
            cost[filled >= room] = np.inf
            ties = np.flatnonzero(cost <= cost.min() + 1e-9)
            chosen = int(ties[rng.integers(len(ties))])
            seen[chosen, sentences] += 1
            filled[chosen] += 1
            members[chosen].append(row)
        # Within a batch the order is drawn anew: greedy filling would put shared rows first.
        return np.concatenate([rng.permutation(np.asarray(batch, int)) for batch in members])

    def _hardest_first(self, rng: np.random.Generator) -> list[int]:
        counts = np.zeros(self._sentences, dtype=np.int64)
        for sentences in self._shared:
            counts[sentences] += 1
        weight = np.asarray([counts[sentences].sum() for sentences in self._shared])
        order = rng.permutation(len(weight))
        return order[np.argsort(-weight[order], kind="stable")].tolist()


def _shared_sentences(caption_sets: Sequence[Sequence[str]]) -> tuple[list[list[int]], int]:
    """Keep, per row, the numbers of those sentences that a second row carries too."""
    rows, total = number_captions(caption_sets)
    counts = np.zeros(total, dtype=np.int64)
    for sentences in rows:
        counts[sentences] += 1
    renumbered = np.cumsum(counts > 1) - 1
    kept = [[int(renumbered[s]) for s in sentences if counts[s] > 1] for sentences in rows]
    return kept, int((counts > 1).sum())
