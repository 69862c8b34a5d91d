"""The fine stage on eight pictures, with a tiny random CMPAGL."""

import json

import pytest

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import IndexMismatchError, QueryError, UnsupportedError
from rsctir_hf.evaluation import evaluate_retrieval
from rsctir_hf.reranking import text_gated
from rsctir_hf.search import fine
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.vector_index.opening import open_index
from tests.miniature import draw_picture
from tests.models.tiny_cmpagl import seeded_model, tiny_processor, tiny_stem_config

BANK = ("a river", "many planes", "green tennis courts", "planes beside the river")
QUERY = "many planes beside the river"


@pytest.fixture(scope="module")
def encoder():
    model = seeded_model(tiny_stem_config(stem_skip_levels=True))
    return Encoder(model, tiny_processor(model), id="tiny")


@pytest.fixture
def folder(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(8):
        draw_picture(number, side=64).save(pictures / f"{number}.png")
    return pictures


@pytest.fixture
def retriever(encoder, folder):
    made = Retriever(encoder, bank=BANK)
    made.index(folder)
    return made


def order(hits):
    return [hit.item for hit in hits]


def test_without_patches_it_says_how_to_add_them(retriever):
    with pytest.raises(IndexMismatchError, match=r"no patch tokens.*--tokens.*add_patches"):
        retriever.search(QUERY, rerank="fine")


def test_hits_are_ordered_by_both_stages(retriever, encoder):
    seen = []
    report = retriever.fine.add_patches(progress=lambda done, total: seen.append((done, total)))
    assert (report.indexed, report.skipped, seen[-1]) == (8, (), (8, 8))
    plain = {hit.item: hit for hit in retriever.search(QUERY, top_k=8)}
    hits = retriever.search(QUERY, top_k=8, rerank="fine")
    text = encoder.texts([QUERY])
    for hit in hits:
        (patches,) = (each.vectors for each in encoder.patch_batches([hit.path]))
        score, _ = text_gated(text, patches, temperature=fine.FINE_TEMPERATURE)
        mixed = (1 - fine.FINE_WEIGHT) * hit.score + fine.FINE_WEIGHT * float(score)
        assert hit.rerank_score == pytest.approx(mixed, abs=5e-3)  # patches are rounded
        assert (hit.score, hit.rank_before) == (plain[hit.item].score, plain[hit.item].rank)
    scores = [hit.rerank_score for hit in hits]
    assert scores == sorted(scores, reverse=True)


def test_only_the_first_are_compared_again(retriever, monkeypatch):
    retriever.fine.add_patches()
    plain = order(retriever.search(QUERY, top_k=8))
    monkeypatch.setattr(fine, "FINE_TOP_K", 3)
    found = order(retriever.search(QUERY, top_k=8, rerank="fine"))
    assert found[3:] == plain[3:]
    assert set(found[:3]) == set(plain[:3])


@pytest.mark.parametrize("first", ["patches", "save"])
@pytest.mark.parametrize("engine", ["exact", "hnsw"])
def test_patches_are_kept_beside_the_index(encoder, folder, tmp_path, first, engine):
    made = Retriever(encoder, bank=BANK, index=fine_index(engine))
    made.index(folder)
    if first == "patches":
        made.fine.add_patches()
    made.save(tmp_path / "index")
    if first == "save":
        made.fine.add_patches()
    expected = made.search(QUERY, top_k=8, rerank="fine")
    loaded = Retriever(encoder, bank=BANK, index=fine_index(tmp_path / "index"))
    assert loaded.search(QUERY, top_k=8, rerank="fine") == expected
    assert loaded.fine.add_patches().indexed == 0


def fine_index(place):
    pytest.importorskip("faiss") if place == "hnsw" else None
    return open_index(place)


def test_an_index_that_grows_needs_only_the_new_ones(encoder, retriever, folder, tmp_path):
    retriever.fine.add_patches()
    retriever.save(tmp_path / "index")
    draw_picture(100, side=64).save(folder / "new.png")
    retriever.index(folder)
    with pytest.raises(IndexMismatchError, match="1 of the best 9 pictures"):
        retriever.search(QUERY, rerank="fine")
    assert retriever.fine.add_patches().indexed == 1
    assert len(retriever.search(QUERY, top_k=9, rerank="fine")) == 9


def test_a_picture_that_is_gone_is_named(retriever, folder):
    (folder / "3.png").unlink()
    report = retriever.fine.add_patches()
    assert report.indexed == 7
    assert [each.path for each in report.skipped] == [str(folder / "3.png")]


@pytest.mark.parametrize(
    ("query", "said"),
    [({"image": draw_picture(1)}, "there is no text"), ({"query": [QUERY]}, None)],
)
def test_it_compares_with_a_text(retriever, query, said):
    retriever.fine.add_patches()
    if said is None:
        assert retriever.search(**query, rerank="fine")
        return
    with pytest.raises(QueryError, match=said):
        retriever.search(**query, rerank="fine")


def test_what_is_not_wanted_cannot_be_compared(retriever):
    retriever.fine.add_patches()
    with pytest.raises(QueryError, match="'fine' cannot judge what is not wanted"):
        retriever.search("planes without a river", rerank="fine")


def test_captions_are_reranked_by_the_patches_of_the_picture(retriever, encoder, folder):
    hits = retriever.caption_candidates(folder / "1.png", top_k=4, rerank="fine")
    texts = encoder.texts(list(BANK))
    (patches,) = (each.vectors[0] for each in encoder.patch_batches([folder / "1.png"]))
    scores, _ = text_gated(texts, patches, temperature=fine.FINE_TEMPERATURE)
    for hit in hits:
        mixed = (1 - fine.FINE_WEIGHT) * hit.score + fine.FINE_WEIGHT * float(scores[hit.item])
        assert hit.rerank_score == pytest.approx(mixed, abs=1e-5)


def test_a_model_without_patches_is_refused(tiny_encoder, picture_folder):
    made = Retriever(tiny_encoder, bank=BANK)
    made.index(picture_folder)
    with pytest.raises(UnsupportedError, match="CLIPModel has no get_patch_features"):
        made.fine.add_patches()


def test_an_evaluation_orders_as_a_live_search_does(encoder, folder):
    rows = [
        {"image": str(folder / f"{number}.png"), "captions": [BANK[number % 3]]}
        for number in range(8)
    ]
    report = evaluate_retrieval(encoder, rows, rerank="fine")
    retriever = Retriever(encoder, bank=BANK)
    retriever.index(folder)
    retriever.fine.add_patches()
    found = 0
    for number, row in enumerate(rows):
        best = retriever.search(row["captions"][0], rerank="fine", top_k=1)[0]
        found += best.path == str(folder / f"{number}.png")
    assert report.metrics["t2i_R@1"] == pytest.approx(100 * found / 8)


def test_the_command_line_adds_tokens_and_searches_with_them(encoder, folder, tmp_path, rsctir):
    encoder.model.save_pretrained(tmp_path / "model")
    encoder.processor.save_pretrained(tmp_path / "model")
    made = ("index", "--model", tmp_path / "model", "--images", folder, "--index", tmp_path / "i")
    asked = ("search", "--index", tmp_path / "i", "--text", QUERY, "--rerank", "fine", "--json")
    assert rsctir(*made)[0] == 0
    code, _, err = rsctir(*asked)
    assert code == 2 and "--tokens" in err and "Traceback" not in err
    code, out, _ = rsctir(*made, "--tokens", "--json")
    assert (code, json.loads(out)["tokens"]) == (0, 8)
    code, out, _ = rsctir(*made, "--tokens")
    assert "Patch tokens of 0 added" in out
    code, out, _ = rsctir(*asked)
    hits = json.loads(out)["hits"]
    assert code == 0 and hits[0]["rerank_score"] is not None


def test_a_server_keeps_no_tokens(tmp_path, folder, rsctir):
    engine = ("--engine", tmp_path / "pictures.db", "--tokens")
    code, _, err = rsctir("index", "--model", tmp_path, "--images", folder, *engine)
    assert code == 2 and "--tokens are kept in the folder of an index" in err
