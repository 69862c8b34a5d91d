"""A search and an evaluation with a model that scores pairs by AMFMN's text-guided scores."""

import pytest
import torch
from PIL import Image

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import UnsupportedError
from rsctir_hf.evaluation import evaluate_retrieval, similarity_matrix
from rsctir_hf.export import export_onnx
from rsctir_hf.metrics import directional_metrics
from rsctir_hf.models.galr import GaLRConfig, GaLRModel
from rsctir_hf.reranking import smr_single
from rsctir_hf.search import session
from rsctir_hf.search.retriever import Retriever
from tests.tiny_galr import tiny_galr

BANK = ("many boats", "a river", "green trees")
COLOURS = ("red", "green", "blue", "white", "black", "yellow", "cyan", "orange")


@pytest.fixture
def folder(tmp_path):
    for number, colour in enumerate(COLOURS):
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{number}.png")
    return tmp_path


def encoder_of(form):
    plain, processor = tiny_galr(BANK)
    torch.manual_seed(3)
    model = GaLRModel(GaLRConfig(**{**plain.config.to_dict(), "text_guidance": form})).eval()
    for each in model.text_guidance.maps:  # far from the even gates of a new model
        torch.nn.init.normal_(each.weight, std=3)
    return Encoder(model, processor, id="tiny")


@pytest.mark.parametrize("form", ["soft", "fusion", "sim"])
def test_a_search_by_words_ranks_by_the_models_own_score(form, folder):
    encoder = encoder_of(form)
    retriever = Retriever(encoder, bank=BANK)
    retriever.index(folder)
    hits = retriever.search("many boats", top_k=8)
    vectors = encoder.images(sorted(map(str, folder.glob("*.png")))).vectors
    with torch.no_grad():
        words = encoder.texts(["many boats"])
        scores = encoder.model.pair_scores(vectors, words)[:, 0]
    assert [hit.item for hit in hits] == scores.argsort(descending=True).tolist()
    assert [hit.score for hit in hits] == pytest.approx(
        scores.sort(descending=True).values.tolist(), abs=1e-5
    )
    assert hits[0].item != int((vectors @ words[0]).argmax()) or form != "soft"
    assert {hit.level for hit in hits} == {None}  # cosines of the yardstick say nothing of these


def test_forms_that_look_at_pairs_judge_the_best_by_cosine_and_those_stay_ahead(
    folder, monkeypatch
):
    monkeypatch.setattr(session, "RERANK_POOL", 3)
    encoder = encoder_of("sim")
    retriever = Retriever(encoder, bank=BANK)
    retriever.index(folder)
    hits = retriever.search("many boats", top_k=8)
    vectors, words = encoder.images(sorted(folder.glob("*.png"))).vectors, encoder.texts(BANK)
    order = (vectors @ words[0]).argsort(descending=True).tolist()
    assert {hit.item for hit in hits[:3]} == set(order[:3])
    assert [hit.item for hit in hits[3:]] == order[3:]


def test_smr_of_a_search_is_over_the_models_own_scores(folder):
    encoder = encoder_of("soft")
    retriever = Retriever(encoder, bank=BANK)
    retriever.index(folder)
    hits = retriever.search("many boats", top_k=8, rerank="smr", temperature=0.1)
    vectors = encoder.images(sorted(folder.glob("*.png"))).vectors
    words = encoder.texts(BANK)
    with torch.no_grad():
        scores = encoder.model.pair_scores(vectors, words).T  # (3, 8)
    hubs = (scores[1:] / 0.1).logsumexp(0)
    expected = smr_single(scores[0], hubs, temperature=0.1)
    assert [hit.item for hit in hits] == expected.argsort(descending=True).tolist()


def test_files_that_would_give_cosines_only_are_not_exported(tmp_path):
    with pytest.raises(UnsupportedError, match="text_guidance 'soft'"):
        export_onnx(encoder_of("soft"), tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


@pytest.mark.parametrize("form", ["soft", "fusion"])
def test_an_evaluation_is_over_the_models_own_scores(form):
    encoder = encoder_of(form)
    rows = [
        {"image": Image.new("RGB", (64, 64), colour), "captions": [BANK[n % 3], f"{colour} roof"]}
        for n, colour in enumerate(COLOURS)
    ]
    data = similarity_matrix(encoder, rows)
    with torch.no_grad():
        expected = encoder.model.pair_scores(data.image_vectors, encoder.texts(data.captions))
    torch.testing.assert_close(data.similarity, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        data.distinct_scores, encoder.compare(data.image_vectors, data.text_vectors)
    )
    report = evaluate_retrieval(encoder, rows)
    both = (data.similarity, data.similarity)
    assert report.metrics == pytest.approx(directional_metrics(*both, data.image_of_caption))
    assert evaluate_retrieval(encoder, rows, rerank="smr", bank=BANK).bank_metrics
