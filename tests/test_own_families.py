"""Both of our model families behind the retriever and the evaluation."""

import pytest
import torch
from PIL import Image
from transformers import BertConfig, BertTokenizer

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.prepare import region_source
from rsctir_hf.errors import QueryError
from rsctir_hf.evaluation import evaluate_retrieval
from rsctir_hf.models.cmpagl import CMPAGLConfig, CMPAGLModel, CMPAGLProcessor
from rsctir_hf.regions.proposer import Regions
from rsctir_hf.search.matcher import image_states, match_weight, pair_probabilities
from rsctir_hf.search.retriever import Retriever
from tests.tiny_galr import tiny_galr

BANK = ["boats beside a pier", "green tennis courts", "many planes", "a river"]
WORDS = sorted({word for sentence in BANK for word in sentence.split()})


class WholePicture:
    """Proposes one region: the left half."""

    name = "left-half"

    def __call__(self, image):
        box = torch.tensor([[0.0, 0.0, image.width / 2, image.height]])
        return Regions(boxes=box, scores=torch.ones(1))


@pytest.fixture
def galr():
    return tiny_galr(BANK)


@pytest.fixture
def cmpagl():
    torch.manual_seed(0)
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    vocabulary = {word: number for number, word in enumerate((*special, *WORDS))}
    text = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=20,
    )
    config = CMPAGLConfig(
        image_size=32,
        embed_dim=8,
        depths=[2, 2],
        num_heads=[2, 2],
        window_size=2,
        projection_dim=12,
        fusion_layers=1,
        text_config=text,
        match_weight=0.5,
    )
    tokenizer = BertTokenizer(vocab=vocabulary, model_max_length=16)
    return CMPAGLModel(config).eval(), CMPAGLProcessor.build(tokenizer, image_size=32)


@pytest.fixture
def pictures():
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (4, 8, 8, 3), dtype=torch.uint8, generator=generator)
    return [Image.fromarray(p.numpy()).resize((48, 48), Image.Resampling.NEAREST) for p in pixels]


def rows_of(pictures):
    return [{"image": p, "captions": [text]} for p, text in zip(pictures, BANK, strict=True)]


def test_galr_is_evaluated_with_its_own_regions_without_and_with_a_detectors(galr, pictures):
    model, processor = galr
    vectors = []
    for regions, name in (("model", "model"), ("none", "none"), (WholePicture(), "left-half")):
        assert region_source(model, regions).name == name
        vectors.append(Encoder(model, processor, regions=regions).images(pictures).vectors)
        report = evaluate_retrieval(Encoder(model, processor, regions=regions), rows_of(pictures))
        assert report.regions == name
        turned = [p.transpose(Image.Transpose.ROTATE_90) for p in pictures]
        averaged = [
            Encoder(model, processor, regions=regions).images(given, symmetries=8).vectors
            for given in (pictures, turned)
        ]
        torch.testing.assert_close(*averaged, atol=1e-5, rtol=0)
    assert not torch.allclose(vectors[0], vectors[1])
    assert not torch.allclose(vectors[1], vectors[2])


def test_galr_answers_words_it_does_not_know(galr, pictures):
    retriever = Retriever(Encoder(*galr), bank=BANK)
    retriever.index(pictures)
    for query in ("🚢🌊", "码头", "zeppelin", "boats " * 300):
        hits = retriever.search(query, rerank="smr")
        assert len(hits) == 4
        assert all(abs(hit.score) <= 1.001 for hit in hits)
    # one sentence without known words beside another one
    assert Encoder(*galr).texts(["🚢", "a river"]).isfinite().all()


def test_galr_shows_its_region_graph(galr, pictures):
    graph, _ = Encoder(*galr).region_graph(pictures[0])
    assert graph.boxes.shape[-1] == 4
    assert graph.adjacency.shape[0] == 1


def test_galr_gives_its_region_graph_to_pyg(galr, pictures):
    torch_geometric = pytest.importorskip("torch_geometric")
    retriever = Retriever(Encoder(*galr))
    data = retriever.region_graph(pictures[0])
    dense, _ = retriever.encoder.region_graph(pictures[0])
    assert isinstance(data, torch_geometric.data.Data)
    assert data.num_nodes == int(dense.mask.sum()) > 0
    assert torch.equal(data.salience, dense.salience[0, dense.mask[0]])
    assert len(data.reasons) == data.num_nodes


@pytest.mark.parametrize("regions", ["model", "none", WholePicture()])
def test_contributions_of_galrs_own_regions_explain_the_score_of_a_hit(galr, pictures, regions):
    retriever = Retriever(Encoder(*galr, regions=regions))
    retriever.index(pictures)
    hit = retriever.search("a river", top_k=1)[0]
    found = retriever.contributions(pictures[hit.item], "a river")
    assert float(found.whole) == pytest.approx(hit.score, abs=1e-5)
    graph, _ = retriever.encoder.region_graph(pictures[hit.item])
    assert torch.equal(found.boxes, graph.boxes[0, graph.mask[0]])
    assert (len(found) > 0) == (regions != "none")
    assert found.values.isfinite().all()
    if len(found):
        assert found.values.abs().max() > 1e-6


def test_contributions_to_cmpagl_are_of_boxes_in_pixels_of_the_picture(cmpagl, pictures):
    retriever = Retriever(Encoder(*cmpagl), bank=BANK)
    retriever.index(pictures)
    wide = pictures[0].resize((96, 48))
    regions = WholePicture()(wide)
    side = cmpagl[0].config.image_size
    caption = retriever.caption_candidates(wide, top_k=1)[0]
    for query, score in ((caption.caption, caption.score), (wide, 1.0)):
        found = retriever.contributions(wide, query, regions=regions)
        assert found.boxes.tolist() == [[0, 0, side / 2, side]]
        assert float(found.whole) == pytest.approx(score, abs=1e-5)
        assert found.values.abs().max() > 1e-6
    with pytest.raises(QueryError, match="has no regions of its own"):
        retriever.contributions(wide, "a river")
    with pytest.raises(QueryError, match="empty"):
        retriever.contributions(wide, " ", regions=regions)


def test_cmpagl_searches_in_two_stages(cmpagl, pictures):
    model, processor = cmpagl
    retriever = Retriever(Encoder(model, processor), bank=BANK)
    retriever.index(pictures)
    for hits, texts in (
        (retriever.search("a river", rerank="match"), ["a river"] * 4),
        (retriever.caption_candidates(pictures[1], rerank="match"), None),
    ):
        for hit in hits:
            picture = pictures[hit.item] if texts else pictures[1]
            inputs = processor(
                images=[picture], text=[hit.caption or "a river"], return_tensors="pt"
            )
            inputs.pop("token_type_ids", None)
            with torch.no_grad():
                chance = float(model.match(**inputs))
            assert hit.rerank_score == pytest.approx(hit.score + 0.5 * chance, abs=1e-5)


def test_pictures_are_read_one_batch_at_a_time_for_matching(cmpagl, pictures, monkeypatch):
    model, processor = cmpagl
    read, seen = [], []
    whole = model.get_image_tokens

    def spy(pixel_values):
        seen.append(len(read))
        return whole(pixel_values)

    monkeypatch.setattr(model, "get_image_tokens", spy)
    lazy = (read.append(number) or picture for number, picture in enumerate(pictures))
    states = image_states(Encoder(model, processor), lazy, batch_size=2)
    assert seen == [2, 4] and len(states) == 4
    read.clear()
    seen.clear()
    monkeypatch.setattr(
        "rsctir_hf.search.second_stages.read_image", lambda p: read.append(p) or p.convert("RGB")
    )
    many = rows_of(pictures) * 5
    evaluate_retrieval(Encoder(model, processor), many, rerank="match")
    assert seen == [16, 20]


def test_a_sentence_is_encoded_once_for_all_its_pairs_beside_those_of_its_length(
    cmpagl, pictures, monkeypatch
):
    model, processor = cmpagl
    states = image_states(Encoder(model, processor), pictures)
    pairs = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    expected = []
    for picture, text in pairs.tolist():
        inputs = processor(images=[pictures[picture]], text=[BANK[text]], return_tensors="pt")
        inputs.pop("token_type_ids", None)
        with torch.no_grad():
            expected.append(model.match(**inputs))
    encoded = []
    whole = CMPAGLModel.get_text_features
    monkeypatch.setattr(
        CMPAGLModel,
        "get_text_features",
        lambda self, ids, *rest, **asked: (
            encoded.append(tuple(ids.shape)) or whole(self, ids, *rest, **asked)
        ),
    )
    found = pair_probabilities(Encoder(model, processor), states, BANK, pairs=pairs, batch_size=8)
    torch.testing.assert_close(found, torch.cat(expected), atol=1e-6, rtol=1e-5)
    # The shortest two of 2 words, then those of 3 and 4, each between [CLS] and [SEP].
    assert encoded == [(2, 4), (2, 6)]


@pytest.mark.parametrize(("chosen", "used"), [(0.25, 0.25), (0.0, 1.0), (None, 1.0)])
def test_a_match_weight_that_was_never_chosen_counts_as_one(cmpagl, monkeypatch, chosen, used):
    monkeypatch.setattr(cmpagl[0].config, "match_weight", chosen)
    assert match_weight(cmpagl[0]) == used


def test_cmpagl_is_evaluated_in_two_stages(cmpagl, pictures):
    report = evaluate_retrieval(Encoder(*cmpagl), rows_of(pictures), rerank="match")
    assert report.match_weight == 0.5
    assert report.regions == "none"
    assert 0 <= report.metrics["mR"] <= 100


def test_pairs_are_judged_on_the_picture_as_it_is_whatever_the_symmetries(
    cmpagl, pictures, monkeypatch
):
    judged = []
    states = CMPAGLModel.get_image_tokens
    monkeypatch.setattr(
        CMPAGLModel,
        "get_image_tokens",
        lambda self, pixel_values: judged.append(pixel_values) or states(self, pixel_values),
    )
    for symmetries in (1, 8):
        evaluate_retrieval(
            Encoder(*cmpagl), rows_of(pictures), rerank="match", symmetries=symmetries
        )
    assert len(judged) == 2
    assert torch.equal(*judged)
