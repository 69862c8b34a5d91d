"""The retriever on eight pictures of one colour each, with a tiny random CLIP."""

import json
import shutil
from math import inf
from statistics import fmean

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image
from transformers import CLIPModel

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import (
    DataLayoutError,
    ImageReadError,
    IndexMismatchError,
    ModelLoadError,
    QueryError,
    RsctirError,
    UnsupportedError,
)
from rsctir_hf.sample import read_caption_bank
from rsctir_hf.search.confidence import OFF_TOPIC, typical_sentences
from rsctir_hf.search.gallery import PictureNotes
from rsctir_hf.search.retriever import Hit, Retriever, confidence, describe_query
from rsctir_hf.vector_index.contract import SearchFilter
from rsctir_hf.vector_index.opening import open_index

BANK = ("boats moored beside a pier", "green tennis courts", "many planes", "a river")


class MatchingCLIP(CLIPModel):
    """A CLIP that says every pair with a green picture matches."""

    calls = 0

    def match(self, input_ids, attention_mask=None, *, pixel_values=None, image_tokens=None):
        MatchingCLIP.calls += len(input_ids)
        red, green, _ = pixel_values.mean(dim=(2, 3)).unbind(dim=1)
        return (green > red + 0.5).float()


@pytest.fixture
def retriever(tiny_clip, tiny_clip_processor, picture_folder):
    made = Retriever(Encoder(tiny_clip, tiny_clip_processor, id="tiny"), bank=BANK)
    made.index(picture_folder)
    return made


@pytest.fixture
def matching(tiny_clip, tiny_clip_processor, picture_folder):
    model = MatchingCLIP(tiny_clip.config)
    model.load_state_dict(tiny_clip.state_dict())
    made = Retriever(Encoder(model, tiny_clip_processor), bank=BANK)
    made.index(picture_folder)
    return made


@pytest.mark.parametrize("kept", [False, True])
def test_of_a_file_given_twice_the_last_counts(
    tiny_clip, tiny_clip_processor, picture_folder, tmp_path, kept
):
    green, red = picture_folder / "green.png", picture_folder / "red.png"
    made = Retriever(Encoder(tiny_clip, tiny_clip_processor, id="tiny"), bank=BANK)
    report = made.index(
        [green, red, str(green)],
        captions=["first", "red", "last"],
        embeddings=tmp_path / "vectors" if kept else None,
    )
    assert (report.indexed, len(made)) == (2, 2)
    assert {hit.caption for hit in made.search(green, top_k=2)} == {"last", "red"}


def test_a_picture_finds_itself_first(retriever, picture_folder):
    hits = retriever.search(picture_folder / "green.png", top_k=3)
    assert hits[0].path == str(picture_folder / "green.png")
    assert hits[0].score == pytest.approx(1.0, abs=1e-5)
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert [hit.score for hit in hits] == sorted((h.score for h in hits), reverse=True)
    assert retriever.items[hits[0].item].path == hits[0].path


def test_text_and_picture_together_give_the_mean_of_both(retriever, picture_folder):
    text, image = (
        {hit.item: hit.score for hit in retriever.search(query, top_k=8)}
        for query in ("a river", picture_folder / "red.png")
    )
    both = retriever.search("a river", image=picture_folder / "red.png", top_k=8)
    # mean of unit vectors, renormalised: cos = (s_text + s_image) / |text + image|
    ratios = [hit.score / (text[hit.item] + image[hit.item]) for hit in both]
    assert ratios == pytest.approx([ratios[0]] * 8, abs=1e-4)


@pytest.mark.parametrize("rerank", ["smr", "mr"])
def test_rerank_moves_ranks_and_keeps_cosines(retriever, rerank):
    plain = retriever.search("many boats", top_k=8)
    moved = retriever.search("many boats", top_k=8, rerank=rerank)
    assert {h.item: h.score for h in moved} == {h.item: h.score for h in plain}
    assert {h.item: h.rank_before for h in moved} == {h.item: h.rank for h in plain}
    assert sorted(hit.rank for hit in moved) == list(range(1, 9))
    ordered = [hit.rerank_score for hit in moved]
    assert ordered == sorted(ordered, reverse=True)


def test_the_querys_own_sentence_is_left_out_of_the_bank(tiny_encoder, picture_folder):
    with_it, without = (Retriever(tiny_encoder, bank=bank) for bank in (BANK, BANK[1:]))
    for retriever in (with_it, without):
        retriever.index(picture_folder)
    query = "Boats moored beside a pier."
    left_out, absent = (made.search(query, rerank="smr") for made in (with_it, without))
    assert [hit.item for hit in left_out] == [hit.item for hit in absent]
    expected = [hit.rerank_score for hit in absent]
    assert [hit.rerank_score for hit in left_out] == pytest.approx(expected, abs=1e-5)


def test_hubness_is_computed_anew_when_the_gallery_grows(retriever, tmp_path):
    retriever.search("many boats", rerank="smr")
    Image.new("RGB", (9, 9), "pink").save(tmp_path / "pink.png")
    retriever.index([tmp_path / "pink.png"])
    assert len(retriever.search("many boats", rerank="smr", top_k=20)) == 9


@pytest.mark.parametrize("rerank", ["none", "smr", "mr"])
def test_captions_come_from_the_bank(retriever, picture_folder, rerank):
    hits = retriever.caption_candidates(picture_folder / "red.png", top_k=3, rerank=rerank)
    assert len(hits) == 3
    assert {hit.caption for hit in hits} <= set(BANK)
    assert all(hit.path is None for hit in hits)


def test_the_bank_that_ships_is_there_unless_another_is_given(tiny_encoder):
    plain = Retriever(tiny_encoder)
    assert plain.bank == tuple(read_caption_bank())
    assert len(plain.caption_candidates(Image.new("RGB", (9, 9)), top_k=2)) == 2


def test_a_hit_and_a_retriever_say_what_they_are_in_one_line(retriever, picture_folder):
    hit = Hit(0, "a.png", None, 0.123456789, rank=1, rank_before=3, rerank_score=None)
    assert repr(hit) == "Hit(item=0, path='a.png', score=0.1235, rank=1, rank_before=3)"
    assert repr(retriever) == "<Retriever of 8 pictures, tiny>"


@pytest.mark.parametrize("rerank", ["smr", "mr"])
def test_picture_queries_rerank_against_the_gallery(retriever, picture_folder, rerank):
    hits = retriever.search(picture_folder / "red.png", rerank=rerank, top_k=8)
    assert len(hits) == 8


def test_match_judges_the_candidates_and_moves_them(matching, picture_folder):
    hits = matching.search("a river", rerank="match", top_k=2)
    assert "green.png" in {hit.path.rsplit("/", 1)[-1] for hit in hits}
    assert hits[0].rerank_score == pytest.approx(hits[0].score + 1.0)
    captions = matching.caption_candidates(picture_folder / "green.png", rerank="match")
    assert captions[0].rerank_score == pytest.approx(captions[0].score + 1.0)


def test_match_judges_no_more_than_the_top_k(matching, tmp_path):
    pictures = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in range(40)]
    matching.index(pictures)
    MatchingCLIP.calls = 0
    assert len(matching.search("a river", rerank="match", top_k=48)) == 48
    assert MatchingCLIP.calls == 16


def test_match_goes_on_without_pictures_that_are_gone(matching, picture_folder, caplog):
    before = matching.search("a river", top_k=8)
    (picture_folder / "red.png").unlink()
    (picture_folder / "blue.png").write_bytes(b"damaged")
    hits = matching.search("a river", rerank="match", top_k=8)
    assert hits[0].path.endswith("green.png")
    assert {hit.path: hit.score for hit in hits} == {hit.path: hit.score for hit in before}
    assert all(
        hit.rerank_score == hit.score for hit in hits if hit.path.endswith(("red.png", "blue.png"))
    )
    assert caplog.text.count("2 pictures could not be judged") == 1
    shutil.rmtree(picture_folder)  # as a drive that is unmounted
    matching._search.forget()
    hits = matching.search("a river", rerank="match", top_k=8)
    assert [hit.path for hit in hits] == [hit.path for hit in before]


def test_what_is_gone_from_a_folder_is_known_and_may_be_forgotten(retriever, picture_folder):
    assert retriever.gone(picture_folder) == []
    (picture_folder / "red.png").unlink()
    (picture_folder / "blue.png").unlink()
    (gone, other) = retriever.gone(picture_folder)
    paths = {item.path for item in retriever._gallery.items_of([gone, other])}
    assert paths == {str(picture_folder / "red.png"), str(picture_folder / "blue.png")}
    assert retriever.gone(picture_folder / "red") == []  # a name that only begins alike
    retriever.engine.delete([gone, other])
    assert retriever.gone(picture_folder) == []
    assert len(retriever) == 6


def test_match_needs_a_text_and_a_matcher(retriever, matching, picture_folder):
    with pytest.raises(QueryError, match="there is no text"):
        matching.search(picture_folder / "red.png", rerank="match")
    with pytest.raises(UnsupportedError, match="CLIPModel has no match"):
        retriever.search("a river", rerank="match")


def test_broken_files_are_listed_and_the_rest_is_indexed(tiny_encoder, picture_folder):
    (picture_folder / "empty.jpg").touch()
    (picture_folder / "notes.png").write_text("not a picture")
    Image.new("RGB", (1, 1)).save(picture_folder / "dot.png")
    Image.new("CMYK", (20, 20)).save(picture_folder / "cmyk.jpg")
    told = []
    retriever = Retriever(tiny_encoder)
    report = retriever.index(picture_folder, progress=lambda *done: told.append(done))
    assert report.indexed == len(retriever) == 9
    skipped = {skip.path.rsplit("/", 1)[-1]: skip.reason for skip in report.skipped}
    assert set(skipped) == {"empty.jpg", "notes.png", "dot.png"}
    assert told[-1] == (12, 12)


def test_a_saved_index_answers_alike_after_loading(clip_folder, picture_folder, tmp_path):
    made = Retriever.from_pretrained(clip_folder, bank=BANK)
    made.index(picture_folder, captions=[f"picture {n}" for n in range(8)])
    made.save(tmp_path / "index")
    made.save(tmp_path / "index")
    left = {path.name.partition("-")[0] for path in (tmp_path / "index").iterdir()}
    assert left == {"index.json", "entries", "shards", ".lock"}
    assert len(list((tmp_path / "index").iterdir())) == 4  # one folder of entries
    assert len(list((tmp_path / "index" / "shards").iterdir())) == 1
    loaded = Retriever.load(tmp_path / "index", bank=BANK)
    assert loaded.search("a river", rerank="smr") == made.search("a river", rerank="smr")
    assert loaded.search("a river")[0].caption.startswith("picture")


def test_a_moved_gallery_and_model_are_found_where_the_caller_says(
    clip_folder, picture_folder, tmp_path
):
    made = Retriever.from_pretrained(clip_folder)
    made.index(picture_folder)
    made.save(tmp_path / "index")
    for folder in (clip_folder, picture_folder):
        shutil.move(folder, tmp_path / "elsewhere" / folder.name)
    loaded = Retriever.load(
        tmp_path / "index",
        model=tmp_path / "elsewhere" / clip_folder.name,
        images=tmp_path / "elsewhere" / picture_folder.name,
    )
    hit = loaded.search("a river")[0]
    assert loaded.search(image=hit.path)[0].path == hit.path


def test_an_index_of_another_model_is_refused(retriever, tiny_clip, tiny_clip_processor, tmp_path):
    retriever.save(tmp_path / "index")
    torch.manual_seed(1)
    other = Encoder(CLIPModel(tiny_clip.config), tiny_clip_processor, id="other")
    with pytest.raises(IndexMismatchError, match=r"made with tiny.*at hand is other"):
        Retriever(other, index=open_index(tmp_path / "index"))


@pytest.mark.parametrize("named", ["..", ".", "", "entries-0123abcd/../..", "pictures", "x\n"])
def test_a_manifest_cannot_name_a_folder_elsewhere(retriever, tmp_path, named):
    folder = tmp_path / "kept" / "index"
    retriever.save(folder)
    (folder / "pictures").mkdir()
    fields = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(fields | {"entries": named}))
    with pytest.raises(IndexMismatchError, match="names its entries"):
        open_index(folder)
    retriever.save(folder)  # nothing that the manifest named is deleted
    assert (folder / "pictures").is_dir() and folder.is_dir()
    assert len(open_index(folder)) == 8


@pytest.mark.parametrize("damage", ["{", "[]", '{"items": 3}', '{"items": []}'])
def test_a_damaged_manifest_is_refused_and_can_be_replaced(retriever, tmp_path, damage):
    retriever.save(tmp_path)
    (tmp_path / "index.json").write_text(damage)
    with pytest.raises(IndexMismatchError, match="damaged"):
        open_index(tmp_path)
    retriever.save(tmp_path)
    assert len(Retriever(retriever.encoder, index=open_index(tmp_path))) == 8


def test_a_folder_without_index_says_how_to_make_one(tmp_path):
    with pytest.raises(IndexMismatchError, match="rsctir index"):
        Retriever.load(tmp_path)


def test_every_hit_is_judged_by_the_scale_of_its_gallery(retriever):
    for rerank in ("none", "smr"):
        hits = retriever.search("a river", rerank=rerank, top_k=8)
        scale = retriever.score_scale("a river")
        assert [hit.level for hit in hits] == [scale.level(hit.score) for hit in hits]
    # The best scores of the two kinds of sentences, asked one by one.
    best = {
        text: retriever.search(text, top_k=1)[0].score
        for text in (*OFF_TOPIC, *typical_sentences())
    }
    assert scale.low == pytest.approx(fmean(best[text] for text in OFF_TOPIC), abs=1e-5)
    typical = torch.tensor([best[text] for text in typical_sentences()])
    assert scale.high == pytest.approx(typical.quantile(0.98).item(), abs=1e-5)
    assert confidence(hits) == max(hits, key=lambda hit: hit.score).level


def test_a_picture_is_judged_by_its_own_cuts_and_words_with_a_picture_not_at_all(retriever):
    picture = retriever.items[0].path
    (best,) = retriever.search(image=picture, top_k=1)
    assert best.level == retriever.score_scale(image=picture).level(best.score) == "fits"
    both = retriever.search("a river", image=picture)
    assert confidence(both) is None and both[0].level is None


def test_nothing_is_judged_while_the_gallery_grows(retriever):
    other = retriever.with_empty_gallery()
    red = Image.new("RGB", (9, 9), "red")
    vectors = other.encoder.images([red, red]).vectors
    for image in vectors:
        other.add(image[None], [red], PictureNotes.of(1))
        assert confidence(other.search("a river")) is None
    other.finish_adding()
    assert confidence(other.search("a river")) == other.search("a river")[0].level is not None


def test_a_scale_is_of_the_pictures_that_pass_the_filter(retriever):
    path = retriever.items[3].path
    only = SearchFilter({"path": path})
    alone = retriever.with_empty_gallery()
    alone.index([path])
    scale = alone.score_scale("a river")
    found = retriever.score_scale("a river", only=only)
    assert (found.low, found.high) == pytest.approx((scale.low, scale.high), abs=1e-6)
    assert retriever.score_scale("a river") != alone.score_scale("a river")
    nowhere = SearchFilter({"path": "nowhere"})
    assert retriever.score_scale("a river", only=nowhere) is None
    assert confidence(retriever.search("a river", only=nowhere)) is None


def test_an_empty_gallery_on_the_same_model_shares_the_bank(retriever):
    other = retriever.with_empty_gallery()
    assert len(other) == 0
    assert other.bank == BANK
    other.index([Image.new("RGB", (9, 9), "red")])
    assert other.search("a river", rerank="smr")[0].path is None
    assert len(retriever) == 8


def test_long_and_foreign_queries_are_answered(retriever):
    for query in ("boats " * 300, "🚢🌊", "码头旁边的船"):
        assert describe_query(query)
        assert len(retriever.search(query)) == 5


def test_bad_input_is_named(retriever, tiny_encoder, tmp_path):
    bare = Retriever(tiny_encoder, bank=())
    (tmp_path / "nothing").mkdir()
    (tmp_path / "broken.png").touch()
    cases = [
        (lambda: bare.search("a river"), QueryError, "Nothing is indexed"),
        (lambda: bare.index(tmp_path / "nothing"), DataLayoutError, ".tiff"),
        (lambda: bare.index(tmp_path / "absent"), DataLayoutError, "does not exist"),
        (lambda: bare.caption_candidates(Image.new("RGB", (9, 9))), QueryError, "caption bank"),
        (lambda: bare.region_graph(Image.new("RGB", (9, 9))), UnsupportedError, "GaLR"),
        (lambda: bare.index([], captions=["one"]), QueryError, "1 captions for 0 pictures"),
        (lambda: retriever.search("  "), QueryError, "empty"),
        (lambda: retriever.search("a river", top_k=0), QueryError, "1 or more"),
        (lambda: retriever.search("a river", rerank="best"), QueryError, "none, smr, mr, match"),
        (lambda: retriever.search("a", rerank="smr", temperature=-1), QueryError, "above 0"),
        (lambda: retriever.search("a", rerank="smr", temperature=inf), QueryError, "finite"),
        (lambda: retriever.search(image=tmp_path / "broken.png"), ImageReadError, "0 bytes"),
    ]
    for call, error, message in cases:
        with pytest.raises(error, match=message) as caught:
            call()
        assert isinstance(caught.value, RsctirError)
    bare.index([Image.new("RGB", (9, 9))])
    with pytest.raises(QueryError, match="caption bank"):
        bare.search("a river", rerank="smr")


def test_one_picture_a_generator_and_an_image_column_can_be_indexed(tiny_encoder, picture_folder):
    made = Retriever(tiny_encoder)
    assert made.index(picture_folder / "red.png").indexed == 1
    assert made.index(Image.new("RGB", (9, 9))).indexed == 1
    assert made.index(path for path in picture_folder.iterdir()).indexed == 8
    column = Dataset.from_list([{"image": Image.new("RGB", (9, 9), "red")}] * 2)["image"]
    assert made.index(column).indexed == 2


def test_rows_and_arrays_in_place_of_pictures_are_refused_with_what_to_pass(retriever):
    with pytest.raises(QueryError, match=r"given as a dict; .*dataset\['image'\]"):
        retriever.index([{"image": Image.new("RGB", (9, 9))}])
    with pytest.raises(QueryError, match=r"given as a ndarray; .*Image.fromarray"):
        retriever.index(np.zeros((2, 9, 9, 3), np.uint8))


@pytest.mark.parametrize("path", ["/etc/passwd", "../../../../etc/passwd", "ROOT/../secret.png"])
def test_an_index_reads_no_file_outside_of_the_folder_of_its_pictures(
    matching, picture_folder, tmp_path, path
):
    matching.save(tmp_path / "index")
    (records,) = (tmp_path / "index").glob("entries-*/records.jsonl")
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    for row in rows:
        row["metadata"]["path"] = path.replace("ROOT", str(picture_folder))
    records.write_text("".join(json.dumps(row) + "\n" for row in rows))
    spoilt = open_index(tmp_path / "index")
    with pytest.raises(IndexMismatchError, match="outside of the folder"):
        Retriever(matching.encoder, index=spoilt).search("a river", rerank="match")
    moved = Retriever(matching.encoder, index=spoilt, images=picture_folder)
    with pytest.raises(IndexMismatchError, match="outside of the folder"):
        moved.search("a river")


@pytest.mark.parametrize(("field", "value"), [("path", 956), ("caption", True), ("root", ["a"])])
def test_an_index_that_names_no_text_for_a_picture_is_refused(retriever, tmp_path, field, value):
    retriever.save(tmp_path / "index")
    (records,) = (tmp_path / "index").glob("entries-*/records.jsonl")
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    for row in rows:
        row["metadata"][field] = value if field != "root" else 1
    records.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if field == "root":
        said = json.loads((tmp_path / "index" / "index.json").read_text())
        (tmp_path / "index" / "index.json").write_text(json.dumps(said | {"root": value}))
    with pytest.raises(IndexMismatchError, match=f"damaged: .*{field}"):
        spoilt = Retriever(retriever.encoder, index=open_index(tmp_path / "index"))
        spoilt.search("a river")


def test_an_index_finds_its_model_from_any_folder_and_says_where_it_was(
    clip_folder, picture_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(clip_folder.parent)
    retriever = Retriever.from_pretrained(clip_folder.name, bank=["a"])
    retriever.index(picture_folder)
    retriever.save(tmp_path / "made")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made").rename(tmp_path / "moved")
    assert len(Retriever.load("moved", bank=["a"])) == len(retriever)
    away = clip_folder.rename(tmp_path / "away")
    with pytest.raises(ModelLoadError, match=f"'{clip_folder}'.*--model") as gone:
        Retriever.load("moved", bank=["a"])
    assert "The index in moved was made with this model" in str(gone.value)
    assert len(Retriever.load("moved", bank=["a"], model="away")) == len(retriever)
    away.rename(clip_folder)
