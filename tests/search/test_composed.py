"""Queries of several parts: how they are weighed, and what a retriever makes of them."""

from math import exp, inf, log1p, nan

import pytest
import torch
from torch.nn.functional import normalize

from rsctir_hf.errors import QueryError
from rsctir_hf.search.composed import Fusion, Term, composed_scores, summed
from rsctir_hf.search.confidence import WORDS, ScoreScale
from rsctir_hf.search.query import QueryPart
from rsctir_hf.search.retriever import Retriever, confidence
from rsctir_hf.vector_index.opening import open_index

X, Y = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
SCALE = ScoreScale(low=0.0, high=1.0, cuts=WORDS)  # a place is the cosine itself
FUSION = Fusion(enough=0.5, softness=0.1, beside=0.4)


@pytest.fixture
def retriever(tiny_encoder, picture_folder):
    made = Retriever(tiny_encoder, bank=("a river",))
    made.index(picture_folder)
    return made


def softened(place):
    """0.1 * log sigmoid((place - 0.5) / 0.1), by hand."""
    return -0.1 * log1p(exp(-(place - 0.5) / 0.1))


def test_the_picture_is_enough_from_a_place_on_and_words_count_in_proportion():
    terms = (Term(X, 1.0, picture=True), Term(Y, 2.0, picture=False))
    seen = torch.tensor([[0.6, 0.8], [0.8, 0.6]])
    expected = [softened(0.6) + 2 * 0.4 * 0.8, softened(0.8) + 2 * 0.4 * 0.6]
    found = composed_scores(terms, seen, scale=SCALE, fusion=FUSION)
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    assert found[0] > found[1]  # both are like the picture; more of the word decides


def test_words_without_a_picture_are_the_main_part_and_what_is_not_wanted_is_taken_off():
    terms = (Term(X, 1.0, picture=False), Term(Y, -0.5, picture=False))
    found = composed_scores(terms, torch.tensor([[0.6, 0.8]]), scale=SCALE, fusion=FUSION)
    assert found.item() == pytest.approx(softened(0.6) - 0.5 * 0.4 * 0.8, abs=1e-6)


def test_a_picture_that_is_not_wanted_is_no_main_part():
    terms = (Term(X, -1.0, picture=True), Term(Y, 1.0, picture=False))
    found = composed_scores(terms, torch.tensor([[0.6, 0.8]]), scale=SCALE, fusion=FUSION)
    assert found.item() == pytest.approx(softened(0.8) - 0.4 * 0.6, abs=1e-6)


def test_without_a_scale_the_sum_decides():
    terms = (Term(X, 3.0, picture=True), Term(Y, -4.0, picture=False))
    assert summed(terms).tolist() == pytest.approx([0.6, -0.8])
    found = composed_scores(terms, torch.stack([X, Y]), scale=None)
    assert found.tolist() == pytest.approx([0.6, -0.8])


def test_parts_that_cancel_are_refused():
    with pytest.raises(QueryError, match="cancel each other"):
        summed((Term(X, 1.0, picture=True), Term(X, -1.0, picture=False)))


def vector_of(retriever, *parts):
    """The unit vector of a weighted sum, by hand."""
    encoder = retriever.encoder
    return normalize(
        sum(
            weight * (encoder.texts([one])[0] if isinstance(one, str) else encoder.image(one))
            for one, weight in parts
        ),
        dim=0,
    )


def test_hits_have_the_cosine_with_the_sum_and_the_score_that_orders(retriever, picture_folder):
    red = picture_folder / "red.png"
    parts = [QueryPart(image=red), QueryPart("a pier", weight=0.5), QueryPart("sand", wanted=False)]
    hits = retriever.search(parts, top_k=8)
    expected = vector_of(retriever, (red, 1.0), ("a pier", 0.5), ("sand", -1.0))
    vectors = retriever.engine.vectors_of([hit.item for hit in hits])
    assert [hit.score for hit in hits] == pytest.approx((vectors @ expected).tolist(), abs=1e-5)
    ordering = [hit.rerank_score for hit in hits]
    assert ordering == sorted(ordering, reverse=True)
    assert [hit.rank for hit in hits] == list(range(1, 9))
    assert confidence(hits) is None and retriever.score_scale(parts) is None


def test_every_engine_gives_the_same_order(tiny_encoder, picture_folder):
    asked = ["a pier", picture_folder / "red.png", QueryPart("sand", wanted=False)]
    found = []
    for engine in ("exact", "hnsw"):
        made = Retriever(tiny_encoder, bank=("a river",), index=open_index(engine))
        made.index(picture_folder)
        found.append([hit.path for hit in made.search(asked, top_k=5)])
    assert found[0] == found[1]


def test_wanted_words_of_one_weight_are_one_sentence(retriever):
    joined = retriever.search("boats and a pier", top_k=8)
    assert retriever.search(["boats", "a pier."], top_k=8) == joined
    apart = retriever.search(["boats", QueryPart("a pier", weight=0.5)], top_k=8)
    assert apart[0].rerank_score is not None


def test_a_denial_is_the_same_as_a_part_that_is_not_wanted(retriever):
    parts = ["boats", QueryPart("sand", wanted=False)]
    assert retriever.search("boats without sand", top_k=8) == retriever.search(parts, top_k=8)


def test_only_what_is_not_wanted_finds_the_least_like_it(retriever):
    least = retriever.search("no boats", top_k=8)
    like = retriever.search("boats", top_k=8)
    assert [hit.item for hit in least] == [hit.item for hit in like][::-1]
    assert [hit.score for hit in least] == pytest.approx([-h.score for h in like[::-1]], abs=1e-5)


@pytest.mark.parametrize("rerank", ["smr", "mr"])
def test_a_rerank_takes_the_sum(retriever, rerank):
    hits = retriever.search("boats without sand", rerank=rerank, top_k=8)
    assert sorted(hit.rank_before for hit in hits) == list(range(1, 9))


def test_ten_parts_are_answered(retriever):
    parts = [QueryPart(f"thing {number}", weight=number) for number in range(1, 10)]
    assert len(retriever.search([*parts, "a pier"], top_k=8)) == 8


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (lambda: ["boats", QueryPart("Boats .", wanted=False)], "contradicts itself"),
        (lambda: "boats without boats", "contradicts itself"),
        (lambda: [QueryPart(image="a.png"), QueryPart(image="./a.png", wanted=False)], "contradic"),
        (lambda: [f"thing {number}" for number in range(21)], "21 parts; at most 20"),
        (list, "There is no query"),
        (lambda: ["boats", " "], "The query is empty"),
        (QueryPart, "this has neither"),
        (lambda: QueryPart("boats", "a.png"), "this has both"),
        (lambda: QueryPart(" "), "The query is empty"),
        *(
            (lambda weight=weight: QueryPart("boats", weight=weight), "number above 0")
            for weight in (0, -1, nan, inf, "1", None, True)
        ),
    ],
)
def test_bad_parts_are_named(retriever, asked, message):
    with pytest.raises(QueryError, match=message):
        retriever.search(asked())


def test_match_cannot_judge_what_is_not_wanted(retriever):
    with pytest.raises(QueryError, match="what is not wanted"):
        retriever.search("boats without sand", rerank="match")
