"""Marks, concepts and their files, on eight pictures of one colour each."""

import base64
import copy
import json
import logging
import shutil

import pytest
import torch
from PIL import Image

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import ImageReadError, IndexMismatchError, QueryError, UnknownItemError
from rsctir_hf.search.concept import Concept
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.vector_index.contract import SearchFilter
from rsctir_hf.vector_index.opening import open_index

BANK = ("boats moored beside a pier", "green tennis courts", "many planes", "a river")


def made(clip, processor, folder, engine="exact"):
    retriever = Retriever(Encoder(clip, processor, id="tiny"), bank=BANK, index=open_index(engine))
    retriever.index(folder)
    return retriever


@pytest.fixture
def retriever(tiny_clip, tiny_clip_processor, picture_folder):
    return made(tiny_clip, tiny_clip_processor, picture_folder)


def names(hits):
    return [hit.path.rpartition("/")[2] for hit in hits]


def test_marks_are_ids_paths_and_paths_below_the_folder(retriever, picture_folder):
    green = str(picture_folder / "green.png")
    number = next(hit.item for hit in retriever.search("a", top_k=8) if hit.path == green)
    found = [
        retriever.concepts.learn(good=[one], bad=["red.png"])
        for one in (number, green, picture_folder / "green.png", "green.png")
    ]
    for concept in found:
        assert [(mark.path, mark.good) for mark in concept.marks] == [
            (green, True),
            (str(picture_folder / "red.png"), False),
        ]
        assert torch.equal(concept.direction, found[0].direction)


def test_marked_pictures_are_left_out_or_the_good_ones_first(retriever, picture_folder):
    concept = retriever.concepts.learn("a river", good=["green.png"], bad=["red.png", "blue.png"])
    out = retriever.concepts.find(concept, top_k=8)
    assert len(out) == 5 and not {"green.png", "red.png", "blue.png"} & set(names(out))
    assert [hit.rank for hit in out] == [1, 2, 3, 4, 5]
    first = retriever.concepts.find(concept, top_k=8, marked="first")
    assert names(first) == ["green.png", *names(out)]
    assert all(hit.level is None and hit.rerank_score is None for hit in first)
    assert out[0].score == pytest.approx(
        float(concept.direction @ retriever.engine.vectors_of([out[0].item])[0]), abs=1e-6
    )
    with pytest.raises(QueryError, match=r"marked is 'top'; expected out or first"):
        retriever.concepts.find(concept, marked="top")


def test_words_alone_are_a_concept_that_finds_what_the_words_find(retriever):
    concept = retriever.concepts.learn("a river")
    assert names(retriever.concepts.find(concept, top_k=8)) == names(
        retriever.search("a river", top_k=8)
    )


def test_a_filter_holds(retriever, picture_folder):
    retriever.index([picture_folder / "red.png"], metadata=[{"kind": "x"}])
    concept = retriever.concepts.learn(good=["green.png"])
    only = SearchFilter({"kind": "x"})
    assert names(retriever.concepts.find(concept, top_k=8, only=only)) == ["red.png"]
    marked = retriever.concepts.learn(good=["green.png"], bad=["red.png"])
    assert retriever.concepts.find(marked, only=only) == []


def test_an_approximate_engine_gives_the_same(
    retriever, tiny_clip, tiny_clip_processor, picture_folder
):
    other = made(tiny_clip, tiny_clip_processor, picture_folder, "hnsw")
    marks = {"good": ["green.png"], "bad": ["red.png", "blue.png"]}
    answers = [
        each.concepts.find(each.concepts.learn("a river", **marks), top_k=3)
        for each in (retriever, other)
    ]
    assert names(answers[0]) == names(answers[1])
    assert [hit.score for hit in answers[0]] == pytest.approx(
        [hit.score for hit in answers[1]], abs=1e-5
    )


def test_a_picture_from_elsewhere_may_be_marked(retriever, tmp_path):
    Image.new("RGB", (32, 32), (0, 250, 10)).save(tmp_path / "mine.png")
    from_file = retriever.concepts.learn(good=[tmp_path / "mine.png"])
    from_memory = retriever.concepts.learn(good=[Image.open(tmp_path / "mine.png")])
    assert torch.allclose(from_file.direction, from_memory.direction)
    assert [mark.path for mark in from_file.marks] == [str(tmp_path / "mine.png")]
    assert from_memory.marks[0].path is None
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ImageReadError):
        retriever.concepts.learn(good=[tmp_path / "broken.png"])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, r"No picture is marked good, and there are no words"),
        ({"bad": ["red.png", "blue.png"]}, r"No picture is marked good, and there are no words"),
        ({"words": "  "}, r"The query is empty"),
        ({"good": ["red.png"], "bad": ["red.png"]}, r"Marked both good and bad: .*red\.png\. Mark"),
        (
            {"good": ["gren.png"]},
            r"gren\.png is not in the index, and no such file. Did you mean \S*/green\.png",
        ),
        ({"good": ["zzzzzz"]}, r"zzzzzz is not in the index, and no such file\.$"),
    ],
)
def test_marks_that_make_no_sense_are_refused(retriever, asked, said):
    with pytest.raises(QueryError, match=said):
        retriever.concepts.learn(**asked)


def test_an_id_and_a_path_of_one_picture_contradict_each_other(retriever):
    number = retriever.search("a river", top_k=1)[0]
    with pytest.raises(QueryError, match="both good and bad"):
        retriever.concepts.learn(good=[number.item], bad=[number.path])
    with pytest.raises(UnknownItemError):
        retriever.concepts.learn(good=[99])


def test_a_mark_twice_counts_once(retriever):
    once = retriever.concepts.learn(good=["green.png"], bad=["red.png"])
    twice = retriever.concepts.learn(good=["green.png", "green.png"], bad=["red.png"])
    assert torch.equal(once.direction, twice.direction)


def test_an_empty_gallery_is_said(retriever):
    concept = retriever.concepts.learn(good=["green.png"])
    empty = retriever.with_empty_gallery()
    for ask in (lambda: empty.concepts.find(concept), lambda: empty.concepts.learn("a river")):
        with pytest.raises(QueryError, match="Nothing is indexed yet"):
            ask()


def test_a_thousand_marks_are_read_at_once(tiny_clip, tiny_clip_processor, tmp_path, monkeypatch):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(12):
        Image.new("RGB", (8, 8), (number * 20, 0, 0)).save(folder / f"{number}.png")
    retriever = made(tiny_clip, tiny_clip_processor, folder)
    asked = []
    plain = retriever.engine.ids
    monkeypatch.setattr(
        retriever.engine, "ids", lambda *args, **how: asked.append(args) or plain(*args, **how)
    )
    retriever.concepts.learn(good=[f"{one}.png" for one in range(6)], bad=["7.png", "8.png"])
    assert len(asked) <= 3  # good ones, bad ones, the sample of the gallery; not one a mark


def test_one_goes_on_with_a_concept_and_a_newer_mark_counts(retriever):
    first = retriever.concepts.learn("a river", good=["green.png"], bad=["red.png"], name="water")
    then = retriever.concepts.learn(start=first, good=["red.png", "blue.png"])
    at_once = retriever.concepts.learn("a river", good=["green.png", "red.png", "blue.png"])
    assert (then.words, then.name) == ("a river", "water")
    assert torch.allclose(then.direction, at_once.direction, atol=1e-6)


def test_a_concept_goes_through_its_file_and_finds_the_same_elsewhere(
    retriever, tiny_clip, tiny_clip_processor, picture_folder, tmp_path
):
    concept = retriever.concepts.learn("a river", good=["green.png"], bad=["red.png"])
    concept.save(tmp_path / "water.json")
    (tmp_path / "water.json").chmod(0o644)
    read = Concept.load(tmp_path / "water.json")
    assert str(read) == "water ('a river'): 1 good, 1 bad"
    assert torch.equal(read.direction, concept.direction)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(picture_folder, elsewhere)
    for name in ("green.png", "red.png"):
        (elsewhere / name).unlink()
        (picture_folder / name).unlink()  # the marked pictures are gone altogether
    other = made(tiny_clip, tiny_clip_processor, elsewhere)
    assert names(other.concepts.find(read, top_k=6)) == names(
        retriever.concepts.find(concept, top_k=6)
    )
    further = other.concepts.learn(start=read, bad=["blue.png"])  # and it can be gone on with
    assert len(further.marks) == 3


def test_a_concept_of_another_model_is_refused_and_made_anew(
    retriever, tiny_clip, tiny_clip_processor, picture_folder, caplog
):
    concept = retriever.concepts.learn(
        "a river", good=["green.png", "white.png"], bad=["red.png"], name="water"
    )
    another = copy.deepcopy(tiny_clip)
    for parameter in another.parameters():
        parameter.data += 0.01 * torch.randn(parameter.shape)
    other = made(another, tiny_clip_processor, picture_folder)
    for ask in (other.concepts.find, lambda each: other.concepts.learn(start=each)):
        with pytest.raises(IndexMismatchError) as refused:
            ask(concept)
        for made_by in (retriever.encoder.made_by, other.encoder.made_by):
            assert made_by.fingerprint in str(refused.value)
        assert "--remake" in str(refused.value) and "'water'" in str(refused.value)
    other.engine.delete(other.concepts._marks.ids_of(concept.marks[:1]))
    (picture_folder / "green.png").unlink()
    with caplog.at_level(logging.WARNING):
        anew = other.concepts.relearn(concept)
    assert "1 of 3 marked pictures are gone and left out" in caplog.text
    assert "green.png" in caplog.text
    assert anew.made_by.fingerprint == other.encoder.made_by.fingerprint
    assert [(m.path.rpartition("/")[2], m.good) for m in anew.marks] == [
        ("white.png", True),
        ("red.png", False),
    ]
    assert (anew.words, anew.name) == ("a river", "water")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "", "no concept, or damaged"),
        (lambda text: text[: len(text) // 2], "no concept, or damaged"),
        (lambda text: "[]", "it holds no direction"),
        (lambda text: "{}", "it holds no direction"),
        (lambda text: text.replace('"version": 1', '"version": 7'), "version 7; this program"),
        (lambda text: text.replace('"good": true', '"good": "yes"'), "'yes' is no bool"),
        (lambda text: text.replace('"words"', '"said"'), "it has no 'words'"),
        (lambda text: text.replace('"marks": [', '"marks": 3, "x": ['), "damaged"),
        (lambda text: text.replace('"direction": "', '"direction": "?'), "no base64"),
        (lambda text: text.replace('"fingerprint"', '"print"'), "damaged"),
    ],
)
def test_a_damaged_file_is_refused(retriever, tmp_path, change, said):
    file = tmp_path / "water.json"
    retriever.concepts.learn("a river", good=["green.png"]).save(file)
    file.write_text(change(file.read_text()))
    with pytest.raises(QueryError, match=said):
        Concept.load(file)


@pytest.mark.parametrize("numbers", [[2.0, 0], [float("nan"), 0], [1.0]])
def test_vectors_that_are_none_are_refused(retriever, tmp_path, numbers):
    file = tmp_path / "water.json"
    retriever.concepts.learn("a river", good=["green.png"]).save(file)
    content = json.loads(file.read_text())
    raw = torch.tensor(numbers).numpy().tobytes()
    content["marks"][0]["vector"] = base64.b64encode(raw).decode()
    file.write_text(json.dumps(content))
    with pytest.raises(QueryError, match="damaged"):
        Concept.load(file)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(QueryError, match=r"cannot be read: No such file"):
        Concept.load(tmp_path / "none.json")
