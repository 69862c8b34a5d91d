"""Single-query reranks against the full-matrix functions they stand in for."""

import pytest
import torch
from torch.nn import functional as F

from rsctir_hf.errors import QueryError
from rsctir_hf.reranking import hubness, multivariate_rerank, smr
from rsctir_hf.search.other_queries import OtherQueries


def unit(count, seed):
    return F.normalize(torch.randn(count, 8, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.fixture
def queries():
    return unit(300, 0)  # more than fit one block


@pytest.fixture
def candidates():
    return unit(12, 1)


def test_smr_equals_the_full_matrix_when_the_query_is_one_of_the_others(queries, candidates):
    full = smr((queries @ candidates.T).T, temperature=0.1)[1]  # (candidates, queries)
    others = OtherQueries(queries, candidates)
    for row in (0, 255, 299):
        scores = candidates @ queries[row]
        alone = others.rerank(scores, rerank="smr", temperature=0.1)
        torch.testing.assert_close(alone, full[:, row], atol=1e-5, rtol=0)


def test_mr_equals_the_full_matrix_when_the_query_is_left_out_of_the_others(queries, candidates):
    full = multivariate_rerank((queries @ candidates.T).T)[1]
    scores = candidates @ queries[7]
    alone = OtherQueries(queries, candidates).rerank(
        scores, rerank="mr", temperature=0.1, left_out=[7]
    )
    torch.testing.assert_close(alone, full[:, 7], atol=1e-5, rtol=0)


def test_a_query_left_out_does_not_count(queries, candidates):
    scores = candidates @ queries[0]
    without = OtherQueries(queries[2:], candidates).rerank(scores, rerank="smr", temperature=0.1)
    left_out = OtherQueries(queries, candidates)
    for _ in range(2):  # the hubness over all queries is kept and must not be mixed in
        left_out.rerank(scores, rerank="smr", temperature=0.1)
        alone = left_out.rerank(scores, rerank="smr", temperature=0.1, left_out=[0, 1])
        torch.testing.assert_close(alone, without)


def test_a_picture_does_not_count_as_its_own_hub(candidates):
    others = OtherQueries(candidates, candidates, own_candidates=range(len(candidates)))
    scores = candidates[0] * 0 + 1  # any query
    found = others.rerank(candidates @ scores, rerank="smr", temperature=0.1)
    matrix = candidates @ candidates.T
    matrix[range(12), range(12)] = matrix.amin(dim=0)
    expected = 2 * (candidates @ scores).double() / 0.1 - hubness(matrix, temperature=0.1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_nothing_but_the_query_itself_is_refused(queries, candidates):
    with pytest.raises(QueryError, match="other queries and there are none"):
        OtherQueries(queries[:1], candidates).rerank(
            candidates @ queries[0], rerank="smr", temperature=0.1, left_out=[0]
        )
