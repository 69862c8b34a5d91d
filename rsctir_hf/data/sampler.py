"""Training batches: pictures that share captions go to different ones, and sets never mix.

In UCM-Captions whole classes carry the same five sentences. Two of them in one batch are a false
negative, or a masked cell that teaches nothing; spread out, they are ordinary rows. Pictures of
two data sets, on the other hand, are told apart by size, sharpness and wording alone: as
negatives of one another they would teach where a picture comes from, not what it shows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from rsctir_hf.files.sentences import number_captions

# Keeps the random stream of the order apart from those of the rows (see data/augmentation.py).
_STREAM = 1


@dataclass(frozen=True)
class _Group:
    """The rows that may meet in a batch.

    Attributes:
        rows: (n,) their row numbers.
        shared: for each, the numbers of its sentences that a second row of the group carries.
        sentences: how many such sentences there are.
        sizes: rows in each batch.
    """

    rows: NDArray[np.int64]
    shared: list[list[int]]
    sentences: int
    sizes: NDArray[np.int64]


class CaptionAwareSampler(Sampler[list[int]]):
    """Yields batches of ``epoch * n + row``, every row once, as :class:`EpochView` expects.

    The batches are a pure function of (seed, epoch), so a resumed run that skips those it has
    seen goes on exactly where it stopped. Hand it to a ``DataLoader`` as ``batch_sampler``. It has
    no ``batch_size``: accelerate reads such a sampler as one whose batches differ in size.

    Args:
        caption_sets: the captions of each of the n rows.
        batch_size: most rows of a batch (per process).
        seed: the run's seed, not negative.
        groups: (n,) the data set of each row. A batch is filled from one set, and batches of all
            sets come in random order. Where the last batch of a set would be less than half
            full, its batches are made equally large to one row instead. ``None``: one set, whose
            last batch takes what is left.
    """

    def __init__(
        self,
        caption_sets: Sequence[Sequence[str]],
        *,
        batch_size: int,
        seed: int,
        groups: Sequence[int] | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; expected at least 1.")
        if seed < 0:
            raise ValueError(f"seed is {seed}; expected 0 or more.")
        group_of_row = np.asarray([0] * len(caption_sets) if groups is None else groups)
        if len(group_of_row) != len(caption_sets):
            raise ValueError(
                f"groups has {len(group_of_row)} entries, one for each of the {len(caption_sets)} "
                "rows expected."
            )
        self.seed = seed
        self.epoch = 0
        self._rows = len(caption_sets)
        members = [np.flatnonzero(group_of_row == group) for group in np.unique(group_of_row)]
        self._groups = [
            _Group(
                rows,
                *_shared_sentences([caption_sets[row] for row in rows.tolist()]),
                batch_sizes(len(rows), batch_size, even=len(members) > 1),
            )
            for rows in members
        ]

    def __len__(self) -> int:
        return sum(len(group.sizes) for group in self._groups)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of epoch ``epoch`` (from 0); the Trainer calls this."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch, _STREAM])
        batches = [batch for group in self._groups for batch in _fill(group, rng)]
        if len(self._groups) > 1:
            batches = [batches[place] for place in rng.permutation(len(batches))]
        for batch in batches:
            yield (self.epoch * self._rows + batch).tolist()


def batch_sizes(rows: int, batch_size: int, *, even: bool) -> NDArray[np.int64]:
    """Cut ``rows`` into as few batches of at most ``batch_size`` as can be.

    Args:
        rows: how many rows there are.
        batch_size: most rows of a batch.
        even: where the last batch would be less than half full, share the rows out evenly; else
            the last batch always takes what is left.
    """
    batches = -(-rows // batch_size)
    sizes = np.full(batches, batch_size)
    left = rows % batch_size
    if left and even and 2 * left < batch_size:
        sizes = rows // batches + (np.arange(batches) < rows % batches)
    elif left:
        sizes[-1] = left
    return sizes


def _fill(group: _Group, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Share the rows of one group out over its batches.

    Greedy: rows come in order of how much they share (ties at random), and each goes to the
    batch that has fewest of its sentences, the emptiest of those, again ties at random.
    """
    room = group.sizes
    filled = np.zeros(len(room))
    seen = np.zeros((len(room), group.sentences), dtype=np.int32)
    members: list[list[int]] = [[] for _ in room]
    for place in _hardest_first(group, rng):
        sentences = group.shared[place]
        # The share filled is below 1, so it only decides between equal counts.
        cost = seen[:, sentences].sum(axis=1) + filled / (room + 1)
        cost[filled >= room] = np.inf
        ties = np.flatnonzero(cost <= cost.min() + 1e-9)
        chosen = int(ties[rng.integers(len(ties))])
        seen[chosen, sentences] += 1
        filled[chosen] += 1
        members[chosen].append(place)
    # Within a batch the order is drawn anew: greedy filling would put shared rows first.
    return [group.rows[rng.permutation(np.asarray(batch, int))] for batch in members]


def _hardest_first(group: _Group, rng: np.random.Generator) -> list[int]:
    counts = np.zeros(group.sentences, dtype=np.int64)
    for sentences in group.shared:
        counts[sentences] += 1
    weight = np.asarray([counts[sentences].sum() for sentences in group.shared])
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
