"""Search by labels on eight pictures of one colour each, with a head that knows their colours."""

import pytest
import torch

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import IndexMismatchError, QueryError
from rsctir_hf.labels.code_network import LabelCoder
from rsctir_hf.labels.label_head import LabelHead
from rsctir_hf.search import session
from rsctir_hf.search.confidence import Level
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.vector_index.contract import SearchFilter
from rsctir_hf.vector_index.opening import open_index

BANK = ("boats moored beside a pier", "a river")
SHOWS = {
    "bright": {"white", "yellow", "orange"},
    "primary": {"red", "green", "blue"},
    "warm": {"red", "yellow", "orange"},
}
SURE = 4.0  # the logit of what a picture shows


def made(clip, processor, folder, engine="exact"):
    retriever = Retriever(Encoder(clip, processor, id=""), bank=BANK, index=open_index(engine))
    retriever.index(folder)
    return retriever


def knowing(retriever):
    """A head that tells these labels of the indexed pictures, to the number."""
    stems = [item.path.rpartition("/")[2].removesuffix(".png") for item in retriever.items]
    vectors = retriever.engine.vectors_of(retriever.engine.ids().tolist())
    told = torch.tensor(
        [[SURE if stem in SHOWS[name] else -SURE for name in SHOWS] for stem in stems]
    )
    coder = LabelCoder(vectors.shape[1], len(SHOWS), code=vectors.shape[1])
    with torch.no_grad():
        coder.picture.weight.copy_(torch.eye(vectors.shape[1]))
        coder.picture.bias.zero_()
        coder.classes.weight.copy_((torch.linalg.pinv(vectors.double()) @ told.double()).T)
        coder.classes.weight.div_(vectors.shape[1] ** 0.5)
        coder.classes.bias.zero_()
    return LabelHead(tuple(SHOWS), coder, retriever.encoder.made_by)


@pytest.fixture
def retriever(tiny_clip, tiny_clip_processor, picture_folder):
    return made(tiny_clip, tiny_clip_processor, picture_folder)


@pytest.fixture
def head(retriever):
    return knowing(retriever)


def stems(hits):
    return [hit.path.rpartition("/")[2].removesuffix(".png") for hit in hits]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("warm", {"red", "yellow", "orange"}),
        ("warm and bright", {"yellow", "orange"}),
        ("warm and not bright", {"red"}),
        ("bright or primary", {"white", "yellow", "orange", "red", "green", "blue"}),
        ("not (bright or primary)", {"black", "purple"}),
        ("primary and not warm or bright and not warm", {"green", "blue", "white"}),
    ],
)
def test_the_pictures_that_fulfil_it_come_first_and_fit(retriever, head, asked, expected):
    hits = retriever.labels.find(asked, head=head, top_k=8)
    assert set(stems(hits)[: len(expected)]) == expected and len(hits) == 8
    fitting = {hit.path for hit in hits if hit.level is Level.FITS}
    assert fitting == {hit.path for hit in hits[: len(expected)]}
    assert [hit.rank for hit in hits] == list(range(1, 9))
    assert all(hit.rerank_score is None for hit in hits)


def test_a_score_is_the_likelihood(retriever, head):
    (first,) = retriever.labels.find("warm and not bright", head=head, top_k=1)
    sure = torch.tensor(SURE).sigmoid().item()
    assert first.score == pytest.approx(sure**2, abs=1e-4) and stems([first]) == ["red"]
    assert (
        retriever.labels.find("warm and primary and bright", head=head)[0].level is not Level.FITS
    )


def test_a_filter_and_a_fold_hold(retriever, head, picture_folder):
    retriever.index([picture_folder / "red.png"], metadata=[{"kind": "x"}])
    only = SearchFilter({"kind": "x"})
    assert stems(retriever.labels.find("bright", head=head, only=only)) == ["red"]
    assert retriever.labels.find("bright", head=head, only=SearchFilter({"kind": "y"})) == []
    folded = retriever.folding("none").labels.find("warm", head=head)
    assert stems(folded) == stems(retriever.labels.find("warm", head=head))


@pytest.mark.parametrize("asked", ["warm and not bright", "bright or primary", "not bright"])
def test_an_approximate_engine_finds_the_same(
    tiny_clip, tiny_clip_processor, picture_folder, retriever, head, asked, monkeypatch
):
    other = made(tiny_clip, tiny_clip_processor, picture_folder, "hnsw")
    for pool, same in ((1000, 8), (2, 2)):
        monkeypatch.setattr(session, "RERANK_POOL", pool)
        exact, found = (
            [(hit.path, hit.score) for hit in each.labels.find(asked, head=head, top_k=2)]
            for each in (retriever, other)
        )
        assert len(found) == min(same, 2)
        assert [score for _, score in found] == pytest.approx(
            [score for _, score in exact], abs=1e-4
        )


def test_a_head_beside_the_model_is_found(clip_folder, picture_folder, tmp_path):
    retriever = Retriever.from_pretrained(clip_folder, bank=BANK)
    retriever.index(picture_folder)
    with pytest.raises(QueryError, match=r"No label head lies beside .*'rsctir fit-labels"):
        retriever.labels.find("warm")
    knowing(retriever).save(clip_folder / "labels.safetensors")
    assert set(stems(retriever.labels.find("warm", top_k=3))) == SHOWS["warm"]
    assert retriever.labels.head().labels == tuple(SHOWS)
    knowing(retriever).save(tmp_path / "head.safetensors")
    assert stems(retriever.labels.find("warm", head=tmp_path / "head.safetensors")) == stems(
        retriever.labels.find("warm")
    )


def test_an_unnamed_model_has_no_head_of_its_own(retriever):
    with pytest.raises(QueryError, match=r"beside the model \(unnamed\)"):
        retriever.labels.find("warm")


def test_what_cannot_be_asked_is_refused(retriever, head, tiny_clip, tiny_clip_processor):
    with pytest.raises(QueryError, match=r"No label is called 'river'\. Did you mean '\w+'"):
        retriever.labels.find("river", head=head)
    with pytest.raises(QueryError, match="'warm' is wanted and not wanted"):
        retriever.labels.find("warm and not warm", head=head)
    with pytest.raises(QueryError, match="top_k is 0"):
        retriever.labels.find("warm", head=head, top_k=0)
    with pytest.raises(QueryError, match="Nothing is indexed yet"):
        retriever.with_empty_gallery().labels.find("warm", head=head)
    clone = Retriever(Encoder(type(tiny_clip)(tiny_clip.config), tiny_clip_processor), bank=BANK)
    with pytest.raises(IndexMismatchError, match="label head was fitted on vectors of"):
        clone.labels.head(head)
