"""A launch on an index: of pictures, of embeddings, of rasters; and what is none."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from gradio import EventData

from rsctir_hf.scene import index_rasters
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.ui.endpoints import Endpoints
from rsctir_hf.ui.server.workbench import Phase, Workbench
from rsctir_hf.ui.tabs.controls import rerank_offer
from rsctir_hf.ui.tabs.search_answers import SearchHandlers, Visit
from rsctir_hf.ui.views.address import Asked
from rsctir_hf.ui.views.header import header
from rsctir_hf.ui.views.results import ShownHits, picture_results
from rsctir_hf.ui.views.samples import sample_strip
from rsctir_hf.ui.views.thumbnails import _PLACEHOLDER
from tests.geo.rasters import picture, write
from tests.models.tiny_cmpagl import seeded_model, tiny_processor, tiny_stem_config
from tests.ui.conftest import wait_until_over
from tests.ui.tiny_models import PICTURES


@pytest.fixture(scope="module")
def model(settings):
    return Retriever.from_pretrained(settings.model, bank=["a river"])


@pytest.fixture
def index(settings, model, tmp_path):
    """An index of the launch's gallery, with a caption each."""
    retriever = model.with_empty_gallery()
    paths = sorted(Path(settings.gallery).glob("block*.png"))
    captions = [f"caption of {path.stem}" for path in paths]
    retriever.index(paths, captions=captions, metadata=[{"category": "block"}] * len(paths))
    retriever.save(tmp_path / "my_index")
    return tmp_path / "my_index"


def launched(settings, gallery, **changed):
    bench = Workbench(replace(settings, gallery=str(gallery), **changed))
    bench.start()
    wait_until_over(bench)
    return bench


def refused(settings, gallery, **changed):
    bench = launched(settings, gallery, **changed)
    assert bench.status.phase is Phase.FAILED
    return bench.status.message


def test_an_index_is_searched_with_the_model_that_made_it(settings, index, bench):
    opened = launched(settings, index, model="no/such/model", model_named=False)
    assert opened.status.phase is Phase.READY, opened.status.message
    assert len(opened.retriever()) == opened.status.done == PICTURES
    assert opened.model_name == "cmpagl"
    assert "20 pictures" in header(opened)
    asked = ("boats beside a pier", "none", 5)
    found = Endpoints(opened).find_pictures(*asked)
    right = Endpoints(bench).find_pictures(*asked)
    assert found["model"] == "cmpagl"
    for one, other in zip(found["results"], right["results"], strict=True):
        assert one["file"] == other["file"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)
        assert one["caption"] == f"caption of {Path(one['file']).stem}"
    first = str(opened.gallery.paths[0])
    assert opened.gallery.record(first).category == "block"
    assert sample_strip(opened.gallery).count("<img") == 8


def test_a_model_that_is_named_must_be_the_one_that_made_it(settings, index):
    assert launched(settings, index).status.phase is Phase.READY
    message = refused(settings, index, model=settings.region_model)
    assert "was made with" in message
    assert "rsctir index" in message


def test_embeddings_are_a_gallery_too(settings, model, tmp_path, rsctir):
    arguments = ("--model", settings.model, "--images", settings.gallery)
    assert rsctir("embed", *arguments, "--output", tmp_path / "vectors")[0] == 0
    opened = launched(settings, tmp_path / "vectors", model_named=False)
    assert len(opened.retriever()) == PICTURES
    first = opened.retriever().search("a river", top_k=1)[0]
    assert first.caption == f"coloured block {int(Path(first.path).stem[-2:])}"


def test_tiles_of_rasters_are_shown(settings, model, tmp_path):
    (tmp_path / "rasters").mkdir()
    write(tmp_path / "rasters" / "town.tif", picture())
    retriever = model.with_empty_gallery()
    index_rasters(retriever, tmp_path / "rasters", tile=64, overlap=0.0)
    retriever.save(tmp_path / "tiles")
    opened = launched(settings, tmp_path / "tiles")
    assert opened.status.phase is Phase.READY, opened.status.message
    hits = opened.retriever().search("a river", top_k=4)
    shown = picture_results(ShownHits(tuple(hits), gallery=opened.gallery), label="x")
    assert shown.count("data:image/jpeg") == 4
    assert _PLACEHOLDER not in shown


def test_pictures_that_moved_are_found_where_the_launch_says(settings, model, tmp_path):
    shutil.copytree(settings.gallery, tmp_path / "before")
    retriever = model.with_empty_gallery()
    retriever.index(tmp_path / "before")
    retriever.save(tmp_path / "my_index")
    (tmp_path / "before").rename(tmp_path / "after")
    assert "If they moved, say where to: --images" in refused(settings, tmp_path / "my_index")
    opened = launched(settings, tmp_path / "my_index", images=tmp_path / "after")
    hit = opened.retriever().search("a river", top_k=1)[0]
    assert Path(hit.path).parent == tmp_path / "after"
    assert opened.gallery.record(hit.path).file_name == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "has format 2; this version reads"),
        ({"fingerprint": "0" * 16}, "was made with"),
        ({"engine": "future"}, "'future'"),
        ({"entries": "../elsewhere"}, "is damaged"),
        ({"root": 7}, "is damaged"),
        ({"model_id": None}, "is damaged (model_id is None)"),
        ({"model_id": "gone/model"}, "--model"),
        ({"model_id": ""}, "--model"),
    ],
)
def test_an_index_that_cannot_be_used_is_refused_in_one_sentence(settings, index, change, said):
    record = index / "index.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | change))
    message = refused(settings, index, model_named="model_id" not in change)
    assert said in message
    assert "Error:" not in message
    assert str(index.parent) not in message


def test_a_damaged_or_empty_index_and_a_folder_that_is_none_are_refused(settings, index, model):
    next(index.rglob("*.parquet")).write_bytes(b"PAR1")
    assert "missing or damaged" in refused(settings, index)
    (index / "index.json").write_text("{")
    assert "is damaged" in refused(settings, index)
    (index / "index.json").unlink()
    assert "holds no pictures and no index" in refused(settings, index)


def test_an_index_without_pictures_is_refused(settings, index, model):
    retriever = Retriever.load(index, bank=["a river"])
    retriever.engine.delete(retriever.engine.ids())
    retriever.save(index)
    assert "holds nothing, so there is nothing to show" in refused(settings, index)


def test_a_server_s_password_is_not_shown(settings):
    bench = Workbench(replace(settings, gallery="postgresql://me:secret@host/db?table=t"))
    assert "secret" not in header(bench)


def test_the_fine_rerank_is_offered_over_an_index_with_patch_tokens(settings, tmp_path):
    model = seeded_model(tiny_stem_config(stem_skip_levels=True))
    for part in (model, tiny_processor(model)):
        part.save_pretrained(tmp_path / "model")
    retriever = Retriever.from_pretrained(tmp_path / "model", bank=["a river"])
    retriever.index(settings.gallery)
    retriever.save(tmp_path / "plain")
    plain = launched(settings, tmp_path / "plain", model_named=False)
    assert "fine" not in plain.reranks and len(rerank_offer(plain.reranks)["choices"]) == 4
    refused, _, _, shown, *_ = SearchHandlers(plain).search("a river", "fine", 4)
    assert "no patch tokens" in refused and "--tokens" in refused and not shown.hits
    retriever.fine.add_patches()
    retriever.save(tmp_path / "fine")
    opened = launched(settings, tmp_path / "fine", model_named=False)
    offered = rerank_offer(opened.reranks)
    assert ("Fine", "fine") in offered["choices"] and "patches" in offered["info"]
    found = SearchHandlers(opened).search("a river", "fine", 4)
    assert len(found[3].hits) == 4 and "Reranking" in found[0]


def test_a_rerank_that_an_address_asks_for_and_nobody_offers_is_not_left_in_the_switch(bench):
    asked = Asked(q="a river", rerank="fine")
    answer = SearchHandlers(bench).restore(Visit(), EventData(None, {"address": asked.address}))
    assert answer[1:3] == (False, "none") and "cannot be answered" in answer[9]
