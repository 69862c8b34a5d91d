"""The likeliest scene of a picture: by a trained head, or by names; stored, shown and asked for."""

import pytest
import torch
from torch import nn

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import QueryError
from rsctir_hf.search.facets import facets
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.search.scene_labels import PROBABILITY, SCENE, SceneLabels, scene_in_words
from rsctir_hf.vector_index.contract import SearchFilter


@pytest.fixture
def encoder(tiny_clip, tiny_clip_processor):
    return Encoder(tiny_clip, tiny_clip_processor, id="tiny")


def test_a_trained_head_is_asked_at_the_models_temperature(encoder):
    model = encoder.model
    dim = model.config.projection_dim
    model.scene_head, model.config.scene_classes = nn.Linear(dim, 3), ["a", "b", "c"]
    try:
        found = SceneLabels.of(encoder)
        vectors = torch.nn.functional.normalize(torch.randn(4, dim), dim=-1)
        expected = (model.logit_scale.exp() * model.scene_head(vectors)).softmax(-1)
        torch.testing.assert_close(found.probabilities(vectors), expected)
        assert found.names == ("a", "b", "c")
    finally:
        del model.scene_head, model.config.scene_classes


def test_without_a_head_the_names_are_asked_in_sentences(encoder):
    found = SceneLabels.of(encoder, ["storageTanks", "harbor", "harbor"])
    assert found.names == ("storage tanks", "harbor")
    # A picture that says just what the sentences of a name say is of that name.
    sentences = ["an aerial photograph of harbor", "a satellite image of harbor",
                 "harbor seen from above", "an overhead view of harbor",
                 "there is harbor in this remote sensing image"]  # fmt: skip
    centre = nn.functional.normalize(encoder.texts(sentences).mean(0), dim=-1)
    scale = encoder.model.logit_scale.exp()
    torch.testing.assert_close(found.weights[1], (scale * centre).detach())
    (row,) = found.metadata(centre[None])
    assert row[SCENE] == "harbor"
    chance = (found.weights @ centre).softmax(0)[1].item()
    assert row[PROBABILITY] == pytest.approx(chance, abs=5e-4)


def test_neither_head_nor_names_are_no_labels_and_one_name_is_refused(encoder):
    assert SceneLabels.of(encoder) is None
    with pytest.raises(QueryError, match="only name of a scene is 'harbor'"):
        SceneLabels.of(encoder, ["harbor"])


def test_an_index_keeps_them_for_hits_filters_and_facets(encoder, picture_folder):
    retriever = Retriever(encoder)
    retriever.scenes = SceneLabels.of(encoder, ["red", "river"])
    retriever.index(picture_folder)
    hits = retriever.search("a river", top_k=8)
    assert len(hits) == 8
    for hit in hits:
        (expected,) = retriever.scenes.metadata(encoder.image(hit.path)[None])
        assert hit.metadata == expected
    counted = {facet.name: facet for facet in facets(retriever.engine)}
    assert counted[SCENE].count == counted[PROBABILITY].count == 8
    scene = hits[0].metadata[SCENE]
    only = retriever.search("a river", top_k=8, only=SearchFilter({SCENE: scene}))
    assert [hit.path for hit in only] == [hit.path for hit in hits if hit.metadata[SCENE] == scene]


def test_a_scene_in_words():
    assert scene_in_words({SCENE: "harbor", PROBABILITY: 0.934}) == "harbor 93 %"
    assert scene_in_words({SCENE: "harbor"}) == "harbor"
    assert scene_in_words({"class": "harbor"}) == ""
