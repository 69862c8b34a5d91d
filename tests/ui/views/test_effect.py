"""What the regions did for a result, in one sentence that is true to the numbers."""

from dataclasses import replace

import networkx as nx
import pytest
import torch

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import UnsupportedError
from rsctir_hf.files.pictures import read_image
from rsctir_hf.regions.contribution import NodeMaskingModel
from rsctir_hf.regions.graph import to_networkx
from rsctir_hf.regions.proposer import Regions
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.ui.tabs.region_tab import GraphShown, measure_effect
from rsctir_hf.ui.views.region_figures import effect_sentence
from tests.ui.tiny_models import BANK, OnlyEmbeds


def explained_graph(*contributions, **facts):
    made = nx.Graph(words="a pier", whole=0.41, **facts)
    for node, value in enumerate(contributions):
        made.add_node(node, number=node + 1, kept=True, contribution=value)
    return made


def one_within_another(picture):
    """Propose three regions of which each lower threshold keeps fewer, the faint ones first."""
    boxes = torch.tensor([[28.0, 28, 36, 36], [24, 24, 40, 40], [8, 8, 56, 56]])
    return Regions(boxes, torch.tensor([0.9, 0.8, 0.7]))


one_within_another.name = "one within another"


def test_the_region_that_moves_the_score_most_is_named_with_both_scores():
    assert effect_sentence(explained_graph(0.02, 0.06, -0.03)) == (
        "For “a pier”, leaving out region #2 lowers the score from 0.41 to 0.35."
    )


def test_a_reason_speaks_for_the_words_though_another_region_moves_the_score_more():
    sentence = effect_sentence(explained_graph(0.02, -0.05, noise=0.015))
    assert sentence == ("For “a pier”, leaving out region #1 lowers the score from 0.41 to 0.39.")


def test_a_region_that_speaks_against_the_words_is_named_where_none_speaks_for_them():
    graph = explained_graph(0.02, -0.05, noise=0.03)
    graph.nodes[1]["label"] = "structure"
    assert effect_sentence(graph) == (
        "For “a pier”, no region decides, and leaving out region #2 (structure) raises the score "
        "from 0.41 to 0.46."
    )


def test_no_region_decides_where_none_moves_the_score_beyond_the_noise_of_a_random_mask():
    quiet, loud = (
        explained_graph(0.04, -0.05, noise=0.039),
        explained_graph(0.04, -0.05, noise=0.06),
    )
    assert "leaving out region #1 lowers the score" in effect_sentence(quiet)
    assert effect_sentence(loud) == (
        "For “a pier”, no single region decides: none moves the score of 0.41 by more than 0.06, "
        "the noise of a random mask."
    )


def test_small_moves_are_said_to_be_small_and_all_regions_together_are_told():
    sentence = effect_sentence(explained_graph(0.004, -0.01, without_any=0.33))
    assert sentence == (
        "For “a pier”, no single region decides: none moves the score of 0.41 by more than 0.01, "
        "too little to be a reason; without any region it would be 0.33."
    )


def test_a_region_counts_where_the_model_that_made_the_result_used_it():
    graph = explained_graph(0.2, 0.05, 0.3, without_any=0.3)
    graph.nodes[0]["kept"] = False  # by the region model, which did not make the result
    del graph.nodes[2]["contribution"]  # not used for the result
    assert effect_sentence(graph) == (
        "For “a pier”, leaving out region #1 lowers the score from 0.41 to 0.21; "
        "without any region it would be 0.30."
    )
    del graph.nodes[0]["contribution"]
    # One region is left: without it is without any.
    assert effect_sentence(graph) == (
        "For “a pier”, leaving out region #2 lowers the score from 0.41 to 0.36."
    )


@pytest.mark.parametrize("role", ["retriever", "region_retriever"])
def test_the_slider_leaves_the_sentence_as_it_is(bench, role):
    galr, picture = bench.region_retriever(), read_image(bench.gallery.paths[2])
    finder = Retriever(replace(galr.encoder, regions=one_within_another))
    config, found = galr.encoder.config, finder.encoder.region_graph(picture)[0]
    asked = finder if role == "region_retriever" else bench.retriever()
    effect = measure_effect(asked, picture, found, BANK[0], input_side=config.image_size)
    shown = GraphShown(picture, found, config, words=BANK[0], effect=effect)
    graphs = [to_networkx(shown.data(alike)) for alike in (-1.0, config.denoise_similarity, 1.0)]
    kept = [sum(node["kept"] for node in graph.nodes.values()) for graph in graphs]
    assert kept[0] < kept[2] == 3
    assert len({effect_sentence(graph) for graph in graphs}) == 1


def test_a_picture_without_regions_gets_its_score():
    for graph in (explained_graph(), explained_graph(without_any=0.41)):
        assert effect_sentence(graph) == (
            "For “a pier”, the score is 0.41, and there is no region to leave out."
        )


@pytest.mark.parametrize("role", ["retriever", "region_retriever"])
def test_the_model_that_made_the_result_is_asked(bench, role):
    asked = getattr(bench, role)()
    picture = read_image(bench.gallery.paths[2])
    found, _ = bench.region_retriever().encoder.region_graph(picture)
    side = bench.region_retriever().encoder.model.config.image_size
    effect = measure_effect(asked, picture, found, BANK[0], input_side=side)
    asked_alone = asked.with_empty_gallery()
    asked_alone.index([picture])
    hit = asked_alone.search(BANK[0], top_k=1)[0]
    assert float(effect.whole[0]) == pytest.approx(hit.score, abs=1e-5)
    assert effect.numbers.tolist() == (found.mask[0].nonzero().flatten() + 1).tolist()
    assert (effect.without_any is not None) == isinstance(asked.encoder.model, NodeMaskingModel)


def test_a_model_that_can_leave_nothing_out_is_refused(bench):
    picture = read_image(bench.gallery.paths[2])
    found, _ = bench.region_retriever().encoder.region_graph(picture)
    asked = bench.retriever()
    plain = Retriever(Encoder(OnlyEmbeds(asked.encoder.model), asked.encoder.processor))
    with pytest.raises(UnsupportedError, match="cannot leave out"):
        measure_effect(plain, picture, found, BANK[0], input_side=64)
