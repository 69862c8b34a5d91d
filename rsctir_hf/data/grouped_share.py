"""A share of the pictures held out for validation, in groups that stand on one side together.

A validation picture that also stands in training, or whose sentences do, is known by heart and says
nothing about what was learned. So pictures are joined into groups, and whole groups held out:

1. pictures that are nearly equal, always;
2. pictures with the same set of sentences;
3. pictures that share a sentence, the rarest sentences first.

The second and the third have an end. In data written by a pattern ("There is an airport.") any
sentence leads to the next, until one group holds everything. And where a dozen pictures have the
same sentences these are a label: to hold out whole labels would be to ask for what was never shown.
So groups of more than ``LARGEST_GROUP`` pictures that words have joined stay in training, and where
that would leave too few to draw from, common sentences may stand on both sides. What was done is
said in words. Near-equal pictures count as one throughout.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.sentences import number_captions

#: A larger group is not held out while there are others: it is a kind of picture.
LARGEST_GROUP = 10
#: Part of the pictures that must stand in smaller groups, or their sets of sentences are labels.
LEAST_DRAWABLE = 0.5
#: Part of those that must be left when shared sentences join groups as well.
LEAST_KEPT = 0.8
#: A gallery of one group says little; for a second one, twice the share may be held out.
LEAST_GROUPS = 2


@dataclass(frozen=True)
class HeldOut:
    """Which pictures are held out, and how they were kept apart from the others.

    Attributes:
        training: row numbers in rising order.
        validation: row numbers in rising order.
        kept_together: what stands on one side only, in words.
    """

    training: list[int]
    validation: list[int]
    kept_together: str


class _Groups:
    """Rows joined into groups."""

    def __init__(self, rows: int) -> None:
        self._parent = list(range(rows))

    def of(self, row: int) -> int:
        """Return the row that stands for the group of ``row``."""
        while self._parent[row] != row:
            self._parent[row] = row = self._parent[self._parent[row]]
        return row

    def join(self, rows: Sequence[int]) -> None:
        """Make one group of those that ``rows`` are in."""
        for row in rows[1:]:
            self._parent[self.of(row)] = self.of(rows[0])

    def labels(self) -> list[int]:
        """Return the group of each row."""
        return [self.of(row) for row in range(len(self._parent))]


def hold_out_groups(
    captions: Sequence[Sequence[str]],
    *,
    share: float,
    seed: int,
    equal: Iterable[tuple[int, int]] = (),
    labelled: bool = False,
) -> HeldOut:
    """Hold out about ``share`` of the pictures, at least one, in whole groups.

    Args:
        captions: of each picture.
        share: part held out, between 0 and 1.
        seed: decides which.
        equal: pairs of rows whose pictures are nearly equal.
        labelled: the captions were made from class names, so that pictures of a class share them.

    Raises:
        DataLayoutError: all pictures are nearly equal, or there is only one.
    """
    groups, pictures, words = _group_rows(captions, equal=equal, labelled=labelled)
    # By their words, so that neither the order of the rows nor the layout of the files matters.
    words_of = [tuple(texts) for texts in captions]
    members = sorted(_places(groups).values(), key=lambda rows: min(words_of[row] for row in rows))
    order = np.random.default_rng(seed).permutation(len(members))
    shuffled = [members[place] for place in order]
    limit = _largest(pictures)
    drawable = [rows for rows in shuffled if len({pictures[row] for row in rows}) <= limit]
    held = max(1, round(len(captions) * share))
    chosen = _choose(drawable, shuffled, held=held)
    if not chosen:
        raise DataLayoutError(
            f"No validation part can be held out of {len(captions)} pictures: they are all nearly "
            "equal. Give a validation split with other pictures."
        )
    return HeldOut(sorted(set(range(len(captions))) - set(chosen)), sorted(chosen), words)


def _choose(drawable: list[list[int]], every: list[list[int]], *, held: int) -> list[int]:
    """Return the rows of groups taken as they come, up to ``held``.

    Where that is fewer than ``LEAST_GROUPS``, the smallest others make it up, to twice the rows and
    a third of all; where it is none, the smallest of all is taken.
    """
    rows = sum(map(len, every))
    chosen: dict[int, list[int]] = {}
    taken = 0
    for groups, most, enough in (
        (drawable, min(held, rows - 1), rows),
        (sorted(drawable, key=len), min(2 * held, rows // 3), LEAST_GROUPS),
        (sorted(every, key=len), rows - 1, 1),
    ):
        for group in groups:
            fits = len(chosen) < enough and taken + len(group) <= most
            if fits and group[0] not in chosen:
                chosen[group[0]] = group
                taken += len(group)
    return [row for group in chosen.values() for row in group]


def _group_rows(
    captions: Sequence[Sequence[str]], *, equal: Iterable[tuple[int, int]], labelled: bool
) -> tuple[list[int], list[int], str]:
    """Return the group of each row, its group by pictures alone, and what keeps groups together."""
    sentences, distinct = number_captions(captions)
    groups, words = _Groups(len(captions)), "near-equal pictures"
    for pair in equal:
        groups.join(pair)
    pictures = groups.labels()
    for rows in _places(map(tuple, sentences)).values():
        groups.join(rows)
    together = groups.labels()
    drawable = _drawable(together, pictures)
    if labelled or drawable < LEAST_DRAWABLE * len(set(pictures)):
        return pictures, pictures, f"{words} (captions are labels here, and do cross)"
    words, commoner = f"{words}, pictures with the same captions", 0
    for count, carriers in _rarest_first(sentences):
        for rows in carriers:
            groups.join(rows)
        commoner = count
        if _drawable(groups.labels(), pictures) < LEAST_KEPT * drawable:
            break
        together, commoner = groups.labels(), 0
    if not commoner:
        return together, pictures, f"{words} and pictures that share any sentence"
    crossing = sum(len(rows) for count, rows in _rarest_first(sentences) if count >= commoner)
    return (
        together,
        pictures,
        f"{words} and pictures that share a sentence which fewer than {commoner} have "
        f"({crossing:,} of {distinct:,} sentences are commoner and may cross)",
    )


def _places(labels: Iterable[Hashable]) -> dict[Hashable, list[int]]:
    """Return the rows of each label."""
    rows: dict[Hashable, list[int]] = defaultdict(list)
    for row, label in enumerate(labels):
        rows[label].append(row)
    return rows


def _rarest_first(sentences: Sequence[Sequence[int]]) -> Iterator[tuple[int, list[list[int]]]]:
    """Yield, for each number of pictures from 2 on, the rows of the sentences that so many have."""
    carriers: dict[int, list[int]] = defaultdict(list)
    for row, numbers in enumerate(sentences):
        for number in numbers:
            carriers[number].append(row)
    by_count: dict[int, list[list[int]]] = defaultdict(list)
    for rows in carriers.values():
        by_count[len(rows)].append(rows)
    return ((count, by_count[count]) for count in sorted(by_count) if count > 1)


def _largest(pictures: Sequence[int]) -> int:
    """Return how many pictures a group may have that is held out; there must be two groups."""
    return min(LARGEST_GROUP, (len(set(pictures)) + 1) // 2)


def _drawable(groups: Sequence[int], pictures: Sequence[int]) -> int:
    """Count the pictures, near-equal ones once, that stand in groups small enough."""
    sizes = Counter(group for group, _ in set(zip(groups, pictures, strict=True)))
    limit = _largest(pictures)
    return sum(size for size in sizes.values() if size <= limit)
