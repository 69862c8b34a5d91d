"""CLIP, SigLIP and Siglip2 of transformers, from folder to results through the doors of ours."""

import json

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import UnsupportedError
from rsctir_hf.evaluation import evaluate_retrieval
from rsctir_hf.search.retriever import Retriever
from tests.foreign_encoders import FOREIGN, LONGEST, save_foreign

BANK = ("boats moored beside a pier", "green tennis courts", "a river")
TOO_LONG = "the green river beside the pier " * 20


@pytest.fixture(scope="module", params=list(FOREIGN))
def folder(request, tmp_path_factory):
    return save_foreign(request.param, tmp_path_factory.mktemp(request.param) / "model")


@torch.no_grad()
def test_vectors_are_those_that_transformers_compares(folder, picture):
    loaded = Encoder.from_pretrained(folder)
    # What model cards of each family say: SigLIP's and Siglip2's texts all have one length.
    masked = {} if loaded.model.config.model_type == "clip" else {"padding": "max_length"}
    words = {"padding": True, "max_length": LONGEST, "truncation": True} | masked
    inputs = loaded.processor(text=list(BANK), images=picture, return_tensors="pt", **words)
    theirs = loaded.model(**inputs)
    ours = loaded.texts(BANK)
    torch.testing.assert_close(ours, F.normalize(theirs.text_embeds, dim=-1))
    image = loaded.image(picture)
    torch.testing.assert_close(image, F.normalize(theirs.image_embeds, dim=-1)[0])


def test_a_text_has_the_same_vector_in_any_company_and_is_cut_where_the_model_ends(folder):
    loaded = Encoder.from_pretrained(folder)
    alone = loaded.texts(["a river"])
    among = loaded.texts([TOO_LONG, "a river", *BANK])
    torch.testing.assert_close(among[1], alone[0])
    assert torch.isfinite(among).all()


def test_an_index_is_made_searched_saved_and_loaded(folder, picture_folder, tmp_path):
    retriever = Retriever.from_pretrained(folder, bank=BANK)
    assert retriever.index(picture_folder).indexed == 8
    Image.new("L", (90, 20), 40).save(picture_folder / "flat.png")  # another shape
    assert retriever.index([picture_folder / "flat.png"]).indexed == 1
    retriever.save(tmp_path / "index")
    again = Retriever.load(tmp_path / "index", bank=BANK)
    for rerank in ("none", "smr", "mr"):
        hits = retriever.search("boats beside a pier", rerank=rerank, top_k=9)
        assert len({hit.path for hit in hits}) == 9
        assert [
            hit.path for hit in again.search("boats beside a pier", rerank=rerank, top_k=9)
        ] == [hit.path for hit in hits]
        found = retriever.caption_candidates(picture_folder / "red.png", rerank=rerank, top_k=3)
        assert {hit.caption for hit in found} == set(BANK)
    best = retriever.search(image=picture_folder / "red.png", top_k=1)[0]
    assert best.path == str(picture_folder / "red.png")
    assert best.score == pytest.approx(1, abs=1e-5)


def test_what_only_our_families_can_do_is_refused_with_the_remedy(folder, picture_folder):
    retriever = Retriever.from_pretrained(folder, bank=BANK)
    retriever.index(picture_folder)
    picture = picture_folder / "red.png"
    with pytest.raises(UnsupportedError, match="has no match"):
        retriever.search("a river", rerank="match")
    with pytest.raises(UnsupportedError, match="has no region graph"):
        retriever.region_graph(picture)
    with pytest.raises(UnsupportedError, match="Use a CMPAGL-style or a GaLR model"):
        retriever.contributions(picture, "a river")


@pytest.mark.parametrize("rerank", ["none", "smr", "mr"])
def test_evaluation_reports_what_it_reports_of_our_own(folder, captioned_rows, rerank):
    loaded = Encoder.from_pretrained(folder)
    report = evaluate_retrieval(loaded, captioned_rows, rerank=rerank, bank=BANK, symmetries=8)
    assert 0 <= report.metrics["mR"] <= 100
    assert (report.images, report.captions) == (4, 8)
    assert report.regions == "none"
    # Siglip2 takes pictures of any size: there is no one side to report.
    flexible = loaded.model.config.model_type == "siglip2"
    assert report.image_size == (None if flexible else 32)
    assert json.dumps(report.to_dict())


def test_the_command_line_indexes_searches_captions_and_evaluates(
    rsctir, folder, picture_folder, tmp_path
):
    index, bank = tmp_path / "index", tmp_path / "bank.txt"
    bank.write_text("\n".join(BANK))
    rows = [
        {"file_name": f"{name}.png", "captions": [f"a {name} river"]} for name in ("red", "blue")
    ]
    (picture_folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    model = ("--model", folder)
    code, out, _ = rsctir("index", *model, "--images", picture_folder, "--index", index)
    assert (code, "8 pictures indexed" in out) == (0, True)
    words = ("--text", "green boats", "--rerank", "smr", "--bank", bank, "--json")
    code, out, _ = rsctir("search", "--index", index, *words)
    answer = json.loads(out)
    assert code == 0 and len(answer["hits"]) == 5
    assert (answer["regions"], answer["detector"]) == ("none", None)
    code, out, _ = rsctir("caption", *model, "--image", picture_folder / "red.png", "--bank", bank)
    assert code == 0 and all(sentence in out for sentence in BANK)
    code, out, _ = rsctir("evaluate", *model, "--data", picture_folder)
    assert code == 0 and "2 pictures, 2 captions" in out
