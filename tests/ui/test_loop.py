"""The analyst's loop of the page and its endpoints, on tiny models."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pyarrow.parquet as pq
import pytest
import torch

from rsctir_hf.collection.collected import Collection
from rsctir_hf.collection.take_home import FORMATS
from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.metadata import PictureRow
from rsctir_hf.search.annotations import notes_of_rows
from rsctir_hf.search.concept import Concept
from rsctir_hf.ui.loop_endpoints import LoopEndpoints
from rsctir_hf.ui.server import exports, marked
from rsctir_hf.ui.server.kept_gallery import notes_of
from rsctir_hf.ui.server.marked import Marks, concept_text, read_concept
from rsctir_hf.ui.tabs.loop_answers import (
    AND,
    NOT,
    LoopHandlers,
    controls_of,
    drawn_box,
    read_rows,
    type_condition,
)
from rsctir_hf.ui.tabs.search_answers import ANY_TYPE, GALLERY, Visit
from rsctir_hf.ui.views.address import Asked, AskedPart, read_address
from rsctir_hf.ui.views.strips import place_map
from rsctir_hf.vector_index.contract import BoundingBox
from tests.ui.tiny_models import BANK


@pytest.fixture
def handlers(bench):
    return LoopHandlers(bench)


def controls(asked=None, marks=None, top_k=6):
    asked, marks = asked or Asked(), Marks() if marks is None else marks
    return ["none", top_k, ANY_TYPE, None, GALLERY, None, Visit(), asked, marks]


def press(handlers, shown, marks, collection, item, act, asked=None):
    event = gr.EventData(None, {"item": item, "act": act})
    return handlers.act(shown, asked or Asked(q=BANK[0]), marks, collection, event)


@pytest.fixture
def shown(handlers):
    return handlers.search(BANK[0], *controls())[3]


def names(shown):
    return [shown.name_of(hit) for hit in shown.hits]


def test_every_result_can_be_marked_and_collected(handlers):
    grid = handlers.search(BANK[0], *controls())[1]
    assert grid.count('data-act="good"') == grid.count('data-act="keep"') == 6
    assert 'data-key="block_' in grid


def test_marked_pictures_leave_the_next_answer_and_can_be_taken_back(handlers, shown):
    marks, collection = Marks(), Collection()
    press(handlers, shown, marks, collection, 0, "good")
    strip, *_ = press(handlers, shown, marks, collection, 1, "bad")
    assert "1 good, 1 bad" in strip and f'data-of="{names(shown)[0]}"' in strip
    message, _, _, again, asked, _ = handlers.search_marked(BANK[0], *controls(marks=marks))
    assert "with 2 marks" in message and asked.marked and "marked" not in asked.address
    assert set(names(shown)[:2]).isdisjoint(names(again)) and len(again.hits) == 6
    strip = handlers.take_back(shown, marks, collection, gr.EventData(None, {"item": 0}))
    assert "0 good, 1 bad" in strip
    press(handlers, shown, marks, collection, 1, "bad")  # once more takes it back
    assert len(marks) == 0


def test_a_picture_that_was_good_is_bad_once_that_is_pressed(handlers, shown):
    marks = Marks()
    press(handlers, shown, marks, Collection(), 0, "good")
    press(handlers, shown, marks, Collection(), 0, "bad")
    assert list(marks.kinds.values()) == [False]


@pytest.mark.parametrize("data", [{"item": 99, "act": "good"}, {"act": "good"}, None])
def test_a_mark_of_what_is_not_shown_is_refused(handlers, shown, data):
    with pytest.raises(gr.Error, match="not shown any more"):
        handlers.act(shown, Asked(), Marks(), Collection(), gr.EventData(None, data))


def test_marks_that_cannot_be_learnt_from_are_said_in_one_line(handlers, shown, monkeypatch):
    marks = Marks({shown.hits[0].path: False})
    assert "marked good" in handlers.search_marked("", *controls(marks=marks))[0]
    assert "Nothing is marked" in handlers.search_marked("", *controls())[0]
    composed = Asked(q="a pier", parts=(AskedPart("sand", wanted=False),))
    assert "words alone" in handlers.search_marked("a pier", *controls(composed, marks))[0]
    like = handlers.search_marked("", *controls(Asked(like=names(shown)[3]), marks))
    assert "with 2 marks" in like[0]  # the picture whose likes were asked for is good
    monkeypatch.setattr(marked, "MOST_MARKS", 1)
    with pytest.raises(gr.Error, match="1 pictures are marked"):
        press(handlers, shown, marks, Collection(), 1, "good")


def test_a_concept_is_saved_without_folders_and_opened_again(handlers, shown, bench):
    marks = Marks({shown.hits[0].path: True, shown.hits[1].path: False})
    file = Path(handlers.save_concept(BANK[0], "my boats", *controls(marks=marks)))
    assert file.name == "my_boats.json"
    assert str(bench.gallery.root) not in file.read_text()
    concept = Concept.load(file)
    assert concept.made_by.model_id == "cmpagl"
    assert concept.name == "my boats" and concept.words == BANK[0]
    opened = Marks()
    strip, words, *_ = handlers.open_concept(str(file), Collection(), *controls(marks=opened))
    assert words == BANK[0] and opened.kinds == marks.kinds and "1 good, 1 bad" in strip
    again = handlers.open_concept(str(file), Collection(), *controls(marks=Marks()))[5]
    assert names(again)[0] == names(shown)[0]  # a saved concept alone puts the good ones first
    more = handlers.search_marked(BANK[0], *controls(marks=opened))
    assert "with 2 marks" in more[0]


def test_files_that_are_no_concept_of_this_model_are_refused(handlers, shown, bench, tmp_path):
    other = bench.retriever().concepts.learn(BANK[0], good=[shown.hits[0].path], name="pier")
    made_by = replace(other.made_by, fingerprint="0" * 8, model_id="other/one")
    other = replace(other, made_by=made_by)
    short = replace(other, made_by=bench.retriever().encoder.made_by, marks=())
    short = replace(short, direction=torch.ones(4) / 2)
    (tmp_path / "short.json").write_text(concept_text(short, bench.gallery))
    (tmp_path / "other.json").write_text(concept_text(other, bench.gallery))
    (tmp_path / "broken.json").write_text('{"direction": "x", "version": 1}')
    (tmp_path / "picture.json").write_bytes(b"\x89PNG\r\n")
    told = {"other": "other/one", "broken": "broken.json", "picture": "no concept"}
    told |= {"short": "4 numbers a vector"}
    for name, said in told.items():
        answer = handlers.open_concept(
            str(tmp_path / f"{name}.json"), Collection(), *controls(marks=Marks())
        )
        assert said in answer[2] and "not opened" in answer[2]
        assert str(tmp_path) not in answer[2]
    assert "no upload" in handlers.open_concept("/etc/passwd", Collection(), *controls())[2]


def test_rows_add_to_the_query_and_take_from_it(handlers, bench, shown):
    rows = [AND, "trees", None, 0.5, NOT, "sand", None, 1, AND, " ", None, 1, NOT, "", None, None]
    parts = read_rows(rows)
    assert parts == (AskedPart("trees", weight=0.5), AskedPart("sand", wanted=False))
    *_, found, asked, _ = handlers.compose("a pier", *controls(), *rows)
    assert len(found.hits) == 6 and asked.parts == parts
    assert read_address(asked.address) == asked
    with_picture = list(rows)
    with_picture[10] = str(bench.gallery.paths[2])
    *_, asked, _ = handlers.compose("", *controls(Asked(like=names(shown)[0])), *with_picture)
    assert asked.like and "block" not in asked.address.replace(asked.like, "")


def test_what_is_liked_and_composed_leaves_the_picture_itself_out(handlers, shown):
    liked = names(shown)[0]
    rows = [AND, "trees", None, 1] + [AND, "", None, 1] * 3
    found = handlers.compose("", *controls(Asked(like=liked)), *rows)[3]
    assert len(found.hits) == 6 and liked not in names(found)


def test_contradictions_and_odd_weights_are_refused_in_words(handlers):
    rows = [NOT, "a pier", None, 1] + [AND, "", None, 1] * 3
    assert "contradicts itself" in handlers.compose("a pier", *controls(), *rows)[0]
    rows = [AND, "trees", None, -1] + [AND, "", None, 1] * 3
    assert "weight of &#x27;trees&#x27; is -1" in handlers.compose("a pier", *controls(), *rows)[0]


def test_filters_narrow_answers_and_the_gallery(handlers):
    found = handlers.narrow(*controls(Asked(q="a pier")), ["category=test_block"], "", "", "", True)
    assert "Best of 20 pictures" in found[0] and found[4].where == ("category=test_block",)
    assert found[4].fold == "all" and read_address(found[4].address) == found[4]
    labels = [label for label, _ in found[6]["choices"]]
    assert "category: test_block (20)" in labels
    browsed = handlers.narrow(*controls(), ["category=test_block"], "", "", "", False)
    assert "Browse 20" in browsed[0]
    kept = handlers.search("boats", *controls(found[4]))
    assert kept[4].where == ("category=test_block",) and kept[4].q == "boats"
    assert (
        handlers.narrow(*controls(found[4]), list(found[4].where), "", "", "", True)[0] == gr.skip()
    )
    nothing = handlers.narrow(*controls(Asked(q="a pier")), ["category=sea"], "", "", "", False)
    assert "Nothing passes the filters" in nothing[0] and nothing[1].count("rs-card") == 0


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ((["nonsense"], "", "", "", False), "expected NAME=VALUE"),
        (([], "1,2,3", "", "", False), "four numbers"),
        (([], "", "May", "", False), "The date is"),
        (([], "", "2024", "", False), "does not say when"),
    ],
)
def test_filters_that_make_no_sense_are_refused(handlers, filters, said):
    assert said in handlers.narrow(*controls(Asked(q="a pier")), *filters)[0]


def test_a_box_is_drawn_on_the_map_of_places():
    boxes = [BoundingBox(8, 53, 8.1, 53.1), BoundingBox(9, 54, 9.1, 54.1)]
    drawn = place_map(boxes, BoundingBox(8, 53, 8.5, 53.5), made_up="")
    assert drawn.count("<circle") == 2 and drawn.count("<rect") == 1
    assert "do not say where" in place_map([], None, made_up="")
    box = [8.123456789, 53, 9, 54]
    assert drawn_box(gr.EventData(None, {"box": box})) == "8.12346,53,9,54"
    assert drawn_box(gr.EventData(None, {"box": []})) == ""
    for data in (None, {"box": ["a"]}, {}):
        with pytest.raises(gr.Error, match="No box"):
            drawn_box(gr.EventData(None, data))


def test_what_the_gallery_says_of_its_pictures_can_be_filtered_by(bench):
    gallery = bench.gallery
    rows = {str(gallery.paths[1]): PictureRow(metadata={"a": 1}, bounding_box=(8, 53, 8.1, 53.1))}
    notes = notes_of(replace(gallery, records=rows), gallery.paths)
    assert notes.metadata[1] == {"a": 1} and notes.boxes[1].corners == (8, 53, 8.1, 53.1)
    assert notes.boxes[0] is None and set(notes.captions) == {None}


def test_a_place_that_is_none_leaves_the_picture_in_the_gallery(bench, caplog):
    gallery, (first, second, *_) = bench.gallery, bench.gallery.paths
    rows = {str(first): PictureRow(bounding_box=(8, 95, 9, 96), metadata={"a": 1})}
    rows |= {str(second): PictureRow(bounding_box=(8, 53, 9, 54))}
    notes = notes_of(replace(gallery, records=rows), [first, second])
    assert notes.boxes == [None, BoundingBox(8, 53, 9, 54)] and notes.metadata[0] == {"a": 1}
    assert "1 places are left out" in caplog.text and "no place on the Earth" in caplog.text
    with pytest.raises(DataLayoutError, match="no place on the Earth"):
        notes_of_rows(rows, [first])


def test_an_address_fills_rows_and_filters():
    asked = read_address("?text=a+pier&not=sand&where=class%3Dharbor&after=2024&fold=all&top_k=8")
    assert asked == Asked(
        q="a pier", results=8, where=("class=harbor",), after="2024", fold="all",
        parts=(AskedPart("sand", wanted=False),),
    )  # fmt: skip
    conditions, _, after, _, fold, sign, words, picture, weight, *_ = controls_of(asked)
    assert conditions["value"] == ["class=harbor"] and (after, fold) == ("2024", True)
    assert (sign, words, picture, weight) == (NOT, "sand", None, 1)
    assert controls_of(Asked())[5::4] == [AND, NOT, AND, NOT]


def test_pictures_that_an_address_names_have_a_row(handlers, shown):
    liked, other = names(shown)[:2]
    parts = (AskedPart(image=liked, weight=5.0), AskedPart(image=other, wanted=False))
    asked = read_address(Asked(q="a pier", parts=parts).address)
    assert asked.parts == parts
    rows = controls_of(asked)[5:]
    assert rows[:8] == [AND, f"image: {liked}", None, 5, NOT, f"image: {other}", None, 1]
    answer = handlers.compose("a pier", *controls(asked), *rows)
    assert answer[4].parts == parts and len(answer[3].hits) == 6
    assert read_rows([AND, "image:", None, 1]) == (AskedPart("image:"),)
    unknown = handlers.compose("", *controls(), *[AND, "image: blok_01.png", None, 1], *rows[4:])
    assert "Did you mean block_01.png" in unknown[0]


def test_copies_are_folded_for_marks_as_for_words(handlers, shown, bench, monkeypatch):
    asked = []
    plain = type(bench.retriever()).folding
    monkeypatch.setattr(
        type(bench.retriever()), "folding", lambda own, fold: asked.append(fold) or plain(own, fold)
    )
    marks = Marks({shown.hits[0].path: True})
    found = handlers.search_marked("", *controls(Asked(fold="all"), marks))[3]
    assert asked == ["all"] and len(found.hits) == 6


def test_a_link_asks_the_same_of_the_command_line(bench):
    parts = (AskedPart("sand", wanted=False), AskedPart("boats", weight=0.5))
    link = Asked(q="a pier", parts=parts, where=("a=1",)).link("class=harbor")
    assert link == (
        "?text=a+pier&text=boats&not=sand&weight=1&weight=0.5&weight=1&where=a%3D1"
        "&where=class%3Dharbor&top_k=12"
    )
    assert type_condition(bench.gallery, "test_block") == ["category=test_block"]


def test_pictures_are_collected_noted_undone_and_exported(handlers, shown, bench):
    marks, collection = Marks(), Collection()
    press(handlers, shown, marks, collection, 0, "keep")
    _, rows, said = press(handlers, shown, marks, collection, 1, "keep")
    assert [row[0] for row in rows] == names(shown)[:2] and "2 pictures collected" in said
    handlers.note([[*rows[1][:2], "look again"], rows[0]], shown, collection)  # sorted meanwhile
    assert collection.features[1]["properties"]["note"] == "look again"
    assert collection.features[0]["properties"]["link"].startswith("?text=boats")
    press(handlers, shown, marks, collection, 0, "keep")  # once more takes it out
    assert len(collection) == 1
    _, rows, _ = handlers.undo(shown, marks, collection)
    assert len(rows) == 2
    for form in set(FORMATS) - {"stac"}:
        file, said = handlers.take_home("my piers", form, collection, GALLERY, None)
        assert Path(file).name.startswith("my_piers")
        assert str(bench.gallery.root).encode() not in Path(file).read_bytes()
        if form == "geoparquet":
            table = pq.read_table(file)
            assert table["path"].to_pylist() == names(shown)[:2]
            assert len(table["embedding"][0]) == bench.retriever().engine.dimension
        if form == "zip":
            with zipfile.ZipFile(file) as archive:
                assert "look again" in archive.read("metadata.csv").decode()
                assert str(bench.gallery.root) not in archive.read("metadata.csv").decode()
                assert len(archive.namelist()) == 3
    with pytest.raises(gr.Error, match="place on earth"):
        handlers.take_home("", "stac", collection, GALLERY, None)


def test_a_collection_on_the_earth_goes_home_as_stac_items(handlers, shown, bench):
    placed = [
        replace(hit, box=BoundingBox(8 + n, 53, 8.1 + n, 53.1), metadata={"date": "2024-05-02"})
        for n, hit in enumerate(shown.hits)
    ]
    shown, collection = replace(shown, hits=tuple(placed)), Collection()
    for item in range(2):
        press(handlers, shown, Marks(), collection, item, "keep")
    file, said = handlers.take_home("my piers", "stac", collection, GALLERY, None)
    assert Path(file).name == "my_piers.zip" and "2 pictures" in said
    with zipfile.ZipFile(file) as archive:
        read = {name: archive.read(name) for name in archive.namelist()}
    assert not [name for name, text in read.items() if str(bench.gallery.root).encode() in text]
    whole = json.loads(read["collection.json"])
    assert whole["emb:dimensions"] == bench.retriever().engine.dimension
    first = json.loads(next(text for name, text in read.items() if "items/0001" in name))
    assert first["bbox"] == [8, 53, 8.1, 53.1]
    assert first["properties"]["datetime"] == "2024-05-02T00:00:00Z"
    assert first["assets"]["image"]["href"] == names(shown)[0]


def test_collections_that_cannot_be_are_refused(handlers, shown, monkeypatch):
    with pytest.raises(gr.Error, match="Nothing is collected"):
        handlers.take_home("", "zip", Collection(), GALLERY, None)
    with pytest.raises(gr.Error, match="nothing to undo"):
        handlers.undo(shown, Marks(), Collection())
    monkeypatch.setattr(exports, "MOST_COLLECTED", 0)
    with pytest.raises(gr.Error, match="at most 0 pictures"):
        press(handlers, shown, Marks(), Collection(), 0, "keep")
    monkeypatch.setattr(exports, "MOST_COLLECTED", 10)
    monkeypatch.setattr(exports, "has_room", lambda: False)
    collection = Collection()
    press(handlers, shown, Marks(), collection, 0, "keep")
    with pytest.raises(gr.Error, match="no room"):
        handlers.take_home("", "csv", collection, GALLERY, None)


def test_a_program_asks_in_parts_and_filters(bench):
    calls = LoopEndpoints(bench)
    first = calls.find_composed("a pier\nnot: sand | 0.5\nimage: block_03.png", top_k=4)
    assert [hit["rank"] for hit in first["results"]] == [1, 2, 3, 4]
    assert str(bench.gallery.root) not in json.dumps(first)
    own = calls.find_composed("", str(bench.gallery.paths[4]), "category=test_block", top_k=1)
    assert own["results"][0]["name"] == bench.gallery.paths[4].name
    listed = calls.list_filters()
    assert listed["pictures"] == listed["passing"] == 20
    assert {"name": "category", "count": 20}.items() <= listed["columns"][0].items()
    assert calls.list_filters("category=sea")["passing"] == 0
    assert "No picture" in calls.find_composed("a pier", only="category=sea")["hint"]
    for parts, said in (
        ("", "no query"), ("a pier | much", "no number"), ("image: block_3.png", "Did you mean"),
        ("a pier\nnot: a pier", "contradicts"), ("a pier | 0", "weight"),
    ):  # fmt: skip
        with pytest.raises(gr.Error, match=said):
            calls.find_composed(parts)
    with pytest.raises(gr.Error, match="does not say when"):
        calls.find_composed("a pier", only="after=2024")


def test_a_program_marks_searches_again_and_takes_home(bench):
    calls = LoopEndpoints(bench)
    first = calls.search_again(BANK[0], "block_01.png\nblock_02.png", "block_03.png", top_k=3)
    assert {"block_01.png", "block_02.png", "block_03.png"}.isdisjoint(
        hit["name"] for hit in first["results"]
    )
    concept = read_concept(first["concept"])
    assert concept.words == BANK[0] and len(concept.marks) == 3
    then = calls.search_again(concept=first["concept"], bad="block_04.png")
    assert len(read_concept(then["concept"]).marks) == 4
    for given, said in (
        ({"bad": "block_01.png"}, "marked good"), ({}, "Nothing is marked"),
        ({"good": "a.png"}, "no picture a.png"), ({"concept": "{}"}, "no concept"),
        ({"good": "block_01.png", "bad": "block_01.png"}, "both good and bad"),
    ):  # fmt: skip
        with pytest.raises(gr.Error, match=said):
            calls.search_again(**given)
    file = calls.export_pictures("block_01.png | near\nblock_02.png", "geoparquet", "two")
    assert pq.read_table(file)["note"].to_pylist() == ["near", ""]
    with pytest.raises(gr.Error, match="expected one of"):
        calls.export_pictures("block_01.png", "pdf")
