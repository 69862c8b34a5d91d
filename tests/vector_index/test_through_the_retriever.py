"""Every engine behind the retriever and the command line, on eight pictures and a tiny CLIP."""

import json
import os

import pytest
import torch
from PIL import Image
from transformers import CLIPModel

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import IndexMismatchError, QueryError, UnsupportedError
from rsctir_hf.search import session
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.vector_index.contract import BoundingBox, SearchFilter
from rsctir_hf.vector_index.opening import open_index

BANK = ("boats moored beside a pier", "green tennis courts", "many planes", "a river")


SERVERS = [pytest.param(name, marks=pytest.mark.slow) for name in ("postgres", "milvus")]


@pytest.fixture(params=["exact", "hnsw", *SERVERS])
def engine(request, tmp_path):
    if request.param == "postgres":
        return request.getfixturevalue("new_uri")()
    return str(tmp_path / "pictures.db") if request.param == "milvus" else request.param


@pytest.fixture(params=SERVERS)
def server_uri(request, tmp_path):
    if request.param == "postgres":
        return request.getfixturevalue("new_uri")()
    return str(tmp_path / "others.db")


@pytest.fixture
def retriever(clip_folder, picture_folder, engine):
    made = Retriever.from_pretrained(clip_folder, bank=BANK, engine=engine)
    pictures = sorted(picture_folder.iterdir())
    made.index(
        pictures,
        captions=[path.stem for path in pictures],
        metadata=[{"dark": path.stem in ("black", "blue"), "year": 2000} for path in pictures],
        boxes=[BoundingBox(west, 0, west + 1, 1) for west in range(8)],
    )
    yield made
    made.engine.close()


@pytest.fixture
def exact(tiny_encoder, picture_folder):
    made = Retriever(tiny_encoder, bank=BANK)
    made.index(sorted(picture_folder.iterdir()))
    return made


def own_hit(hits, name):
    """Return the one hit of the picture `name`, which was the query.

    Another colour may come first: some processors' random model tells colours apart by less than
    half precision does.
    """
    (hit,) = (hit for hit in hits if hit.path.endswith(f"/{name}"))
    assert len(hits) == 8
    assert hit.score == pytest.approx(1, abs=2e-3)
    assert hit.score == pytest.approx(max(hit.score for hit in hits), abs=2e-3)
    return hit


def test_every_engine_answers_like_the_exact_one(retriever, exact, picture_folder):
    for query in ({"query": "a river"}, {"image": picture_folder / "red.png"}):
        for rerank in ("none", "smr", "mr"):
            found, expected = (
                made.search(**query, rerank=rerank, top_k=8) for made in (retriever, exact)
            )
            assert sorted(hit.path for hit in found) == sorted(hit.path for hit in expected)
            same = {hit.path: hit for hit in expected}
            for hit in found:
                assert hit.score == pytest.approx(same[hit.path].score, abs=2e-3)
                if rerank == "smr":  # divided by a temperature of 0.1
                    near = pytest.approx(same[hit.path].rerank_score, abs=0.1)
                    assert hit.rerank_score == near
            ordered = [hit.rerank_score or hit.score for hit in found]
            assert ordered == sorted(ordered, reverse=True)


def test_captions_are_reranked_against_the_pictures_of_any_engine(retriever, exact, picture_folder):
    red = picture_folder / "red.png"
    found, expected = (
        [hit.caption for hit in made.caption_candidates(red, rerank="smr", top_k=1)]
        for made in (retriever, exact)
    )
    assert found == expected


def test_filters_hold_with_and_without_a_rerank(retriever):
    cases = [
        (SearchFilter({"dark": True}), {"black", "blue"}),
        (SearchFilter({"dark": True, "year": 1999}), set()),
        (SearchFilter(box=BoundingBox(0.5, 0.5, 1.5, 5)), {"black", "blue"}),
        (SearchFilter({"dark": False}, BoundingBox(2, -5, 2.5, 5)), {"green"}),
    ]
    for only, names in cases:
        for rerank in ("none", "smr", "mr"):
            hits = retriever.search("a river", top_k=8, rerank=rerank, only=only)
            assert {hit.caption for hit in hits} == names, (only, rerank)
            assert [hit.rank for hit in hits] == list(range(1, len(names) + 1))
    hit = retriever.search("a river", only=cases[-1][0])[0]
    assert hit.metadata == {"dark": False, "year": 2000}
    assert hit.box == BoundingBox(2, 0, 3, 1)


def test_marks_lead_to_the_same_with_every_engine(retriever, exact):
    marks = {"good": ["green.png"], "bad": ["red.png", "blue.png"]}
    found, expected = (
        made.concepts.find(made.concepts.learn("a river", **marks), top_k=8)
        for made in (retriever, exact)
    )
    assert [hit.path for hit in found] == [hit.path for hit in expected]
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=2e-3)
    concept = retriever.concepts.learn("a river", **marks)
    dark = retriever.concepts.find(concept, only=SearchFilter({"dark": True}))
    assert [hit.caption for hit in dark] == ["black"]  # blue is marked
    first = retriever.concepts.find(concept, top_k=8, marked="first")
    assert first[0].caption == "green" and len(first) == 6


def test_a_picture_indexed_again_takes_its_own_place(retriever, picture_folder):
    report = retriever.index([picture_folder / "red.png"] * 2, captions=["older", "newer"])
    assert report.indexed == 1
    assert len(retriever) == 8
    hit = own_hit(retriever.search(picture_folder / "red.png", top_k=8), "red.png")
    assert (hit.caption, hit.metadata, hit.box) == ("newer", {}, None)


def test_another_model_and_other_regions_are_refused_with_both_names(
    retriever, engine, tiny_encoder, tiny_clip, tiny_clip_processor, tmp_path
):
    place = engine
    if not retriever.engine.persistent:
        place = tmp_path / "index"
        retriever.save(place)
    torch.manual_seed(1)
    other = Encoder(CLIPModel(tiny_clip.config), tiny_clip_processor, id="other")
    with pytest.raises(IndexMismatchError, match=r"made with .*tiny-clip.*at hand is other"):
        Retriever(other, index=open_index(place))
    if retriever.engine.persistent:
        with pytest.raises(IndexMismatchError, match=r"made with .*tiny-clip.*at hand is other"):
            Retriever(other, index=retriever.engine)
    retriever.engine.record = {**retriever.engine.record, "regions": "a detector"}
    with pytest.raises(IndexMismatchError, match=r"regions a detector.*regions none"):
        Retriever(tiny_encoder, index=retriever.engine)


def test_an_index_that_does_not_say_who_made_it_is_refused(tiny_encoder):
    index = open_index("exact")
    index.add(torch.eye(16))
    with pytest.raises(IndexMismatchError, match="memory holds no index"):
        Retriever(tiny_encoder, index=index)


def test_only_the_best_of_an_approximate_engine_are_reranked(retriever, engine, monkeypatch):
    monkeypatch.setattr(session, "RERANK_POOL", 3)
    plain = [hit.item for hit in retriever.search("a river", top_k=3)]
    moved = [hit.item for hit in retriever.search("a river", top_k=3, rerank="smr")]
    if engine == "exact":
        assert len(retriever.search("a river", top_k=8, rerank="smr")) == 8
    else:
        assert sorted(moved) == sorted(plain)


def test_pictures_that_moved_are_found_and_known_again(retriever, picture_folder, tmp_path, engine):
    place = engine
    if not retriever.engine.persistent:
        place = tmp_path / "index"
        retriever.save(place)
    retriever.engine.close()
    moved = picture_folder.rename(tmp_path / "moved")
    again = Retriever.load(place, images=moved, bank=BANK)
    hits = again.search(moved / "red.png", top_k=8, rerank="mr")
    assert sorted(hit.path for hit in hits) == sorted(map(str, moved.iterdir()))
    own_hit(hits, "red.png")
    again.engine.close()


def test_a_server_is_not_saved_to_a_folder(retriever, tmp_path):
    if retriever.engine.persistent:
        with pytest.raises(UnsupportedError, match="not in a folder"):
            retriever.save(tmp_path / "index")


def test_pictures_of_memory_keep_their_place(tiny_encoder, engine):
    made = Retriever(tiny_encoder, bank=BANK, index=open_index(engine))
    made.index([Image.new("RGB", (9, 9), colour) for colour in ("red", "green")])
    hits = made.search(Image.new("RGB", (9, 9), "red"), top_k=2)
    assert [hit.path for hit in hits] == [None, None]
    first, second = sorted(hit.item for hit in hits)
    assert made._gallery.read(first).getpixel((0, 0)) == (255, 0, 0)
    assert made._gallery.read(second).getpixel((0, 0)) == (0, 128, 0)
    made.engine.close()


def test_the_command_line_indexes_and_searches_with_any_engine(
    rsctir, engine, clip_folder, picture_folder, tmp_path
):
    lines = [
        {"file_name": "red.png", "captions": ["a red field"], "class": "field", "tiles": [1]},
        {"file_name": "blue.png", "class": "sea", "bounding_box": [8, 53, 9, 54], "year": 2001},
    ]
    (picture_folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    is_server = engine not in ("exact", "hnsw")
    place = engine if is_server else tmp_path / "index"
    (tmp_path / "bank.txt").write_text("\n".join(BANK))
    made = ("index", "--model", clip_folder, "--images", picture_folder, "--engine", engine)
    code, out, err = rsctir(*made, *(() if is_server else ("--index", place)))
    assert code == 0, err
    assert "8 pictures indexed" in out
    assert ("exact" in out) == (engine == "exact")
    cases = [
        (("--where", "class=field"), ["red.png"]),
        (("--where", "class=sea", "--where", "class=field"), ["blue.png", "red.png"]),
        (("--where", "year=2001", "--bbox", "8.5,50,20,60"), ["blue.png"]),
        (("--where", 'year="2001"'), []),
        (("--bbox", "-9,-9,-8,-8"), []),
    ]
    for options, names in cases:
        search = ("search", "--index", place, "--text", "a river", "--rerank", "smr", "--json")
        code, out, err = rsctir(*search, "--bank", tmp_path / "bank.txt", *options)
        assert code == 0, err
        assert sorted(hit["path"].rsplit("/", 1)[-1] for hit in json.loads(out)["hits"]) == names
    search = ("search", "--index", place, "--text", "a river", "--where", "class=moon")
    code, out, err = rsctir(*search)
    assert (code, out) == (0, "") and "No picture passes the filter." in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--engine", "exact"), "say where to save it, --output"),
        (("--engine", "quantum", "--index", "x"), "'quantum'; expected exact, hnsw"),
        (("--engine", "postgresql://host/db", "--index", "x"), "Leave --output out here"),
        (("--engine", "postgresql://127.0.0.1:1/db?connect_timeout=2"), "PostgreSQL (127.0.0.1"),
    ],
)
def test_places_that_make_no_sense_are_one_line(rsctir, clip_folder, options, message):
    code, _, err = rsctir("index", "--model", clip_folder, "--images", "sample", *options)
    assert code == 2 and "Traceback" not in err
    assert message in err.splitlines()[-1]


def test_a_file_that_is_not_there_is_not_made_by_searching_it(rsctir, tmp_path):
    file = tmp_path / "pictures.db"
    code, _, err = rsctir("search", "--index", file, "--text", "a river")
    assert code == 2 and f"--engine {file}" in err
    assert not file.exists()


def test_filters_that_make_no_sense_are_one_line(rsctir, tmp_path):
    for options in (("--where", "class"), ("--bbox", "1,2,3"), ("--bbox", "1,50,2,40")):
        code, _, err = rsctir("search", "--index", tmp_path, "--text", "a river", *options)
        assert code == 2 and err.count("\n") == 1
        assert "expected" in err


def test_a_damaged_line_of_annotations_is_named(rsctir, clip_folder, picture_folder, tmp_path):
    for line in ("{", '{"class": "sea"}', '{"file_name": "a", "bounding_box": [1]}', "[]"):
        (picture_folder / "metadata.jsonl").write_text("\n" + line)
        code, _, err = rsctir(
            *("index", "--model", clip_folder, "--images", picture_folder),
            *("--index", tmp_path / "index"),
        )
        assert code == 2 and "Line 2 of" in err
    with pytest.raises(QueryError):
        SearchFilter({"class": []})


def test_an_index_on_a_server_says_how_many_of_its_entries_are_gone(
    rsctir, clip_folder, picture_folder, server_uri
):
    said = ("index", "--model", clip_folder, "--images", picture_folder, "--engine", server_uri)
    said = (*said, "--json")
    code, out, err = rsctir(*said)
    assert (code, json.loads(out)["gone"]) == (0, 0), err
    (picture_folder / "red.png").unlink()
    (picture_folder / "blue.png").unlink()
    code, out, err = rsctir(*said[:-1])
    assert code == 0, err
    assert "6 pictures indexed" in out
    assert "2 of its entries are gone from there" in out


def test_a_server_keeps_names_that_are_no_utf_8(tiny_encoder, picture_folder, server_uri):
    odd = picture_folder / os.fsdecode(b"caf\xe9.png")
    (picture_folder / "red.png").rename(odd)
    made = Retriever(tiny_encoder, index=open_index(server_uri))
    for _ in range(2):
        made.index(picture_folder)
        assert len(made) == 8
    hit = own_hit(made.search(odd, top_k=8), r"caf\xe9.png")
    assert hit.path == rf"{picture_folder}/caf\xe9.png"
    assert made._gallery.read(hit.item).getpixel((0, 0)) == (255, 0, 0)
    made.engine.close()
