"""What every vector index promises; the test class of each engine inherits it."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from rsctir_hf.errors import IndexMismatchError, QueryError, UnknownItemError
from rsctir_hf.vector_index.conditions import Contains, Dates, Range
from rsctir_hf.vector_index.contract import BoundingBox, SearchFilter
from rsctir_hf.vector_index.recall import measure_recall

CLASSES = ("airport", "harbour", "forest", "farm")
COUNT, LENGTH = 200, 16


def unit_vectors(count, length=LENGTH, *, seed=0):
    random = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, length, generator=random), dim=1)


def metadata_of(position):
    """Every fourth is an airport, every tenth is checked, every second has a path."""
    return {
        "class": CLASSES[position % 4],
        "number": position,
        "checked": position % 10 == 0,
        "gsd": position / 2,
        "date": date_of(position),
        **({"path": f"/b/'{position}\\\".png"} if position % 2 else {}),
    }


def date_of(position):
    """A day each from 2024-01-01, as ISO or EXIF write it or as a number; the year of some."""
    day = datetime(2024, 1, 1, 12, 30) + timedelta(days=position)
    written = [day.isoformat() + "Z", f"{day:%Y:%m:%d %H:%M:%S}", int(f"{day:%Y%m%d}"), "2024"]
    return written[3 if position % 7 == 3 else position % 3]


def box_of(position):
    """A square of one degree per entry, eastwards from 0; the last ten have none."""
    if position >= COUNT - 10:
        return None
    west = position % 170
    return BoundingBox(west, 40.0, west + 1.0, 41.0)


def fill(index, count=COUNT):
    vectors = unit_vectors(COUNT)[:count]
    ids = index.add(
        vectors,
        ids=range(100, 100 + count),
        metadata=[metadata_of(position) for position in range(count)],
        boxes=[box_of(position) for position in range(count)],
    )
    assert ids.tolist() == list(range(100, 100 + count))
    return vectors


def by_hand(vectors, query, top_k, passes=lambda position: True):
    """The ids of the nearest that pass, by sorting."""
    passing = [position for position in range(len(vectors)) if passes(position)]
    best = sorted(passing, key=lambda position: -float(vectors[position] @ query))
    return [100 + position for position in best[:top_k]]


#: What a filter asks for, and whether the entry at a position passes it.
FILTERS = {
    "class": (SearchFilter({"class": "airport"}), lambda p: p % 4 == 0),
    "classes": (SearchFilter({"class": {"airport", "farm"}}), lambda p: p % 4 in (0, 3)),
    "two keys": (SearchFilter({"class": "farm", "checked": False}), lambda p: p % 4 == 3),
    "numbers": (SearchFilter({"number": [3, 5, 7, 1000]}), lambda p: p in (3, 5, 7)),
    "many values": (
        SearchFilter({"number": [*range(0, 80, 2), "x", 900]}),
        lambda p: p in range(0, 80, 2),
    ),
    "true": (SearchFilter({"checked": True}), lambda p: p % 10 == 0),
    "one is not true": (SearchFilter({"checked": 1}), lambda p: False),
    "true is not one": (SearchFilter({"number": True}), lambda p: False),
    "mixed types": (SearchFilter({"number": [1, False, 2.0]}), lambda p: p in (1, 2)),
    "quoted path": (SearchFilter({"path": ["/b/'19\\\".png", "/b/none.png"]}), lambda p: p == 19),
    "empty path": (SearchFilter({"path": ["", 7]}), lambda p: False),
    "fraction": (SearchFilter({"gsd": 2.5}), lambda p: p == 5),
    "whole fraction": (SearchFilter({"gsd": 3}), lambda p: p == 6),
    "odd value": (SearchFilter({"class": 'it\'s "quoted" %s {x}'}), lambda p: False),
    "odd key": (SearchFilter({'no "such" name': 1}), lambda p: False),
    "range": (SearchFilter({"gsd": Range(3, 5.5)}), lambda p: 6 <= p <= 11),
    "open range": (SearchFilter({"number": Range(low=197)}), lambda p: p >= 197),
    "range of texts": (SearchFilter({"class": Range(high="b")}), lambda p: p % 4 == 0),
    "a range of numbers holds no text": (SearchFilter({"class": Range(0)}), lambda p: False),
    "a range holds no truth value": (SearchFilter({"checked": Range(0, 1)}), lambda p: False),
    "a range or a value": (
        SearchFilter({"number": [Range(high=2), 9]}),
        lambda p: p in (*range(3), 9),
    ),
    "contains": (SearchFilter({"class": Contains("AR")}), lambda p: p % 4 in (1, 3)),
    "contains a sign of patterns": (SearchFilter({"class": Contains("%")}), lambda p: False),
    "no number contains": (SearchFilter({"number": Contains("1")}), lambda p: False),
    "dates": (
        SearchFilter({"date": Dates("2024-02", "2024-03-02")}),
        lambda p: 31 <= p <= 61 or p % 7 == 3,
    ),
    "dates from": (
        SearchFilter({"date": Dates(after="2024-06-30")}),
        lambda p: p >= 181 or p % 7 == 3,
    ),
    "dates until": (SearchFilter({"date": Dates(before="2023")}), lambda p: False),
    "a range and a class": (
        SearchFilter({"number": Range(high=9), "class": "farm"}),
        lambda p: p in (3, 7),
    ),
    "box": (SearchFilter(box=BoundingBox(20.5, 40.5, 22.5, 50)), lambda p: p in (20, 21, 22, 190)),
    "touching box": (SearchFilter(box=BoundingBox(5, 41, 6, 42)), lambda p: p % 170 in (4, 5, 6)),
    "antimeridian": (
        SearchFilter(box=BoundingBox(168.5, 0, 0.5, 90)),
        lambda p: p % 170 in (0, 168, 169),
    ),
    "class in box": (
        SearchFilter({"class": "forest"}, BoundingBox(0, 0, 60, 90)),
        lambda p: p % 4 == 2 and p % 170 <= 60,
    ),
}


class VectorIndexContract:
    """Needs fixtures ``index``, an empty one, and ``reopened``, which saves and opens it anew."""

    approximate = False
    tolerance = 1e-5  # of scores and vectors: what the engine's precision costs

    def test_an_empty_index_answers_with_nothing(self, index):
        assert len(index) == 0
        assert index.dimension is None
        assert index.ids().tolist() == []
        scores, ids = index.search(unit_vectors(3), 5)
        assert scores.shape == ids.shape == (3, 0)
        with pytest.raises(UnknownItemError):
            index.vectors_of([0])
        with pytest.raises(UnknownItemError):
            index.delete([0])

    def test_search_equals_sorting_by_hand(self, index):
        vectors = fill(index)
        assert len(index) == COUNT
        assert index.dimension == LENGTH
        queries = unit_vectors(5, seed=1)
        scores, ids = index.search(queries, 7)
        assert scores.dtype == torch.float32 and ids.dtype == torch.int64
        for query, row_scores, row in zip(queries, scores, ids, strict=True):
            assert row.tolist() == by_hand(vectors, query, 7)
            expected = vectors[row - 100] @ query
            torch.testing.assert_close(row_scores, expected, atol=self.tolerance, rtol=0)

    def test_top_k_beyond_the_index_gives_all_of_it(self, index):
        fill(index, 3)
        scores, ids = index.search(unit_vectors(2, seed=1), 10)
        assert scores.shape == (2, 3)
        assert sorted(ids[0].tolist()) == [100, 101, 102]

    def test_ids_are_given_where_none_are_named(self, index):
        first = index.add(unit_vectors(3))
        second = index.add(unit_vectors(2, seed=1))
        ids = [*first.tolist(), *second.tolist()]
        assert len(set(ids)) == 5 and ids == sorted(ids)
        assert index.ids().tolist() == ids
        named = index.add(unit_vectors(1, seed=2), ids=[ids[-1] + 7])
        assert int(index.add(unit_vectors(1, seed=3))[0]) not in {*ids, *named.tolist()}

    def test_equal_scores_keep_the_order_of_addition(self, index):
        ids = index.add(unit_vectors(1).repeat(5, 1))
        assert index.search(unit_vectors(1), 5)[1].tolist() == [ids.tolist()]

    def test_vectors_and_entries_come_back_in_the_order_asked_for(self, index):
        vectors = fill(index)
        asked = [150, 103, 299, 103]
        torch.testing.assert_close(
            index.vectors_of(asked),
            vectors[torch.tensor(asked) - 100],
            atol=self.tolerance,
            rtol=0,
        )
        entries = index.entries_of(torch.tensor(asked))
        assert [entry.id for entry in entries] == asked
        assert [entry.metadata for entry in entries] == [metadata_of(one - 100) for one in asked]
        assert [entry.box for entry in entries] == [box_of(one - 100) for one in asked]
        assert index.vectors_of([]).shape == (0, LENGTH)

    def test_ids_can_be_thinned_out_evenly(self, index):
        fill(index)
        few = index.ids(most=20).tolist()
        assert len(few) == 20 and few == sorted(few)
        gaps = {later - earlier for earlier, later in pairwise(few)}
        assert gaps == {10}
        assert index.ids(most=10**6).tolist() == list(range(100, 300))

    @pytest.mark.parametrize(("only", "passes"), FILTERS.values(), ids=list(FILTERS))
    def test_a_filter_lets_only_those_through_that_pass(self, full, only, passes):
        index, vectors = full
        within = [100 + p for p in range(COUNT) if passes(p) and (only.box is None or p < 190)]
        assert index.ids(only).tolist() == within
        queries = unit_vectors(2, seed=1)
        scores, ids = index.search(queries, 8, only=only)
        assert scores.shape == ids.shape == (2, min(8, len(within)))
        for query, row in zip(queries, ids, strict=True):
            assert row.tolist() == by_hand(vectors, query, 8, lambda p: 100 + p in within)

    def test_values_are_counted(self, index):
        assert index.value_counts() == {}
        fill(index)
        counted = index.value_counts(SearchFilter({"number": Range(high=9)}))
        assert dict(counted["class"]) == {"airport": 3, "harbour": 3, "forest": 2, "farm": 2}
        assert [(type(value), count) for value, count in counted["checked"]].count((bool, 1)) == 1
        assert dict(counted["checked"]) == {True: 1, False: 9}
        assert sum(count for _, count in counted["path"]) == 5
        assert sorted(counted["gsd"]) == [(number / 2, 1) for number in range(10)]

    def test_what_is_deleted_is_found_no_more(self, index):
        vectors = fill(index)
        gone = [100, 150, 299]
        index.delete(gone)
        assert len(index) == COUNT - 3
        assert not set(gone) & set(index.ids().tolist())
        assert not set(gone) & set(index.search(vectors[[0, 50, 199]], 20)[1].flatten().tolist())
        for call in (index.vectors_of, index.entries_of, index.delete):
            with pytest.raises(UnknownItemError, match="150"):
                call([101, 150])
        assert len(index) == COUNT - 3  # 101 stayed
        index.delete([])
        index.delete(index.ids())
        assert len(index) == 0
        assert index.search(vectors[:1], 3)[1].shape == (1, 0)

    def test_upsert_replaces_and_adds(self, index):
        vectors = fill(index)
        turned = -vectors[:2]
        index.upsert(turned, [100, 900], metadata=[{"class": "river"}, {}], boxes=[None, box_of(3)])
        assert len(index) == COUNT + 1
        replaced, added = index.entries_of([100, 900])
        assert replaced.metadata == {"class": "river"} and replaced.box is None
        assert added.metadata == {} and added.box == box_of(3)
        assert index.search(turned, 1)[1].flatten().tolist() == [100, 900]
        assert 100 not in index.search(vectors[:1], 50)[1].flatten().tolist()
        assert index.ids(SearchFilter({"class": "river"})).tolist() == [100]

    def test_of_equals_the_lower_id_comes_first_though_it_was_replaced(self, index):
        vectors = unit_vectors(1).repeat(3, 1)
        ids = index.add(vectors)
        index.upsert(vectors[:1], ids[:1])
        assert index.search(vectors[:1], 3)[1].tolist() == [ids.tolist()]

    def test_an_emptied_index_takes_vectors_of_any_length(self, index):
        if not index.persistent:
            fill(index)
            index.delete(index.ids())
            assert index.dimension is None
            index.add(unit_vectors(2, LENGTH + 1), ids=[1, 2])
            assert index.ids().tolist() == [1, 2]

    def test_all_of_it_comes_back_after_saving(self, index, reopened):
        fill(index)
        index.delete([104])
        index.record = {"model_id": "org/näme", "depth": {"of": [1, 2]}}
        again = reopened(index)
        assert again.record == {"model_id": "org/näme", "depth": {"of": [1, 2]}}
        queries, only = unit_vectors(3, seed=1), SearchFilter({"class": ["airport", "farm"]})
        for filtered in (None, only):
            before = index.search(queries, 9, only=filtered)
            after = again.search(queries, 9, only=filtered)
            torch.testing.assert_close(after[0], before[0])
            assert torch.equal(after[1], before[1])
        assert again.entries_of(again.ids()) == index.entries_of(index.ids())
        assert int(again.add(unit_vectors(1, seed=4))[0]) not in range(100, 300)

    def test_recall_is_stated_and_kept(self, index, reopened):
        fill(index)
        recall = measure_recall(index, sample=50)
        assert recall.value > 0.99
        assert ("50 of its own vectors among 200" if self.approximate else "exact") in recall.how
        assert reopened(index).recall == index.recall == recall

    def test_bad_input_is_named_and_changes_nothing(self, index):
        fill(index)
        one = unit_vectors(1)
        two = unit_vectors(2)
        cases = [
            (lambda: index.add(unit_vectors(1, 4)), IndexMismatchError, r"length 16.*length 4"),
            (lambda: index.search(unit_vectors(1, 4), 3), IndexMismatchError, "length 4"),
            (lambda: index.upsert(unit_vectors(1, 4), [1]), IndexMismatchError, "length 4"),
            (lambda: index.add(one[0]), QueryError, r"shape \(16,\)"),
            (lambda: index.add(3 * one), QueryError, "length 3.*unit vectors"),
            (lambda: index.add(one * torch.nan), QueryError, "length nan"),
            (lambda: index.add(one, ids=[100]), QueryError, "id 100 already.*upsert"),
            (lambda: index.add(two, ids=[1, 1]), QueryError, "id 1 is given twice"),
            (lambda: index.add(two, ids=[1]), QueryError, "1 ids for 2 vectors"),
            (lambda: index.add(one, ids=[-1]), QueryError, "-1; expected a whole number"),
            (lambda: index.add(one, ids=["a"]), QueryError, "'a'; expected a whole number"),
            (lambda: index.add(one, metadata=[{"a": [1]}]), QueryError, r"'a' is \[1\]"),
            (lambda: index.add(one, metadata=[{"a": "x\0"}]), QueryError, "NUL character"),
            (lambda: index.add(one, metadata=[{"a\0": 1}]), QueryError, "NUL character"),
            (lambda: index.ids(SearchFilter({"a": "\0"})), QueryError, "NUL character"),
            (lambda: index.add(one, metadata=[{}, {}]), QueryError, "2 metadata for 1"),
            (
                lambda: index.add(one, boxes=[BoundingBox(179, 0, -179, 1)]),
                QueryError,
                "antimeridian",
            ),
            (lambda: index.search(one, 0), QueryError, "top_k is 0"),
            (lambda: index.vectors_of([5]), UnknownItemError, "id 5"),
        ]
        for call, error, message in cases:
            with pytest.raises(error, match=message):
                call()
        assert index.ids().tolist() == list(range(100, 300))
