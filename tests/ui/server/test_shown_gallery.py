"""Galleries: drawn scenes, folders, data sets of the Hub."""

import json

import pytest
from datasets import Dataset
from PIL import Image

from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.metadata import PictureRow
from rsctir_hf.search.retriever import Hit
from rsctir_hf.ui.server import shown_gallery
from rsctir_hf.ui.server.shown_gallery import open_gallery
from rsctir_hf.ui.views.results import ShownHits, picture_detail, picture_results
from tests.ui.tiny_models import PICTURES


def test_a_folder_brings_captions_categories_and_places(settings):
    gallery = open_gallery(settings.gallery)
    assert len(gallery.paths) == PICTURES + 1  # the broken file is skipped by the index, not here
    assert gallery.paths[0].name == "aa_broken.png"
    record = gallery.record(str(gallery.paths[1]))
    assert record.captions == ("coloured block 0", "block number 0")
    assert record.crs == "EPSG:32632"


def test_a_relative_folder_has_the_captions_of_all_its_subfolders(tmp_path, monkeypatch):
    for folder in (tmp_path / "mine", tmp_path / "mine" / "north"):
        folder.mkdir()
        Image.new("RGB", (32, 32)).save(folder / "a.png")
        row = {"file_name": "a.png", "captions": [f"seen from {folder.name}"]}
        (folder / "metadata.jsonl").write_text(json.dumps(row))
    monkeypatch.chdir(tmp_path)
    gallery = open_gallery("mine")
    hits = [str(tmp_path / "mine" / name) for name in ("a.png", "north/a.png")]  # are absolute
    assert [gallery.record(hit).captions for hit in hits] == [
        ("seen from mine",),
        ("seen from north",),
    ]


@pytest.mark.parametrize("bad", ["no json", "[1]", "{}", '{"a":' * 50_000])
def test_an_unreadable_metadata_line_is_refused_with_its_number(bad, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    good = json.dumps({"file_name": "a.png", "text": "a field"})
    (tmp_path / "metadata.jsonl").write_text(f"{good}\n{bad}\n")
    with pytest.raises(DataLayoutError, match=r"Line 2 of .*metadata\.jsonl"):
        open_gallery(str(tmp_path))
    (tmp_path / "metadata.jsonl").write_text(good)
    gallery = open_gallery(str(tmp_path))
    assert gallery.record(str(tmp_path / "a.png")).captions == ("a field",)
    assert gallery.record("unknown") == PictureRow()


@pytest.mark.parametrize("source", ["/nowhere/at/all", "misspelt", "checkpoints/absent"])
def test_a_gallery_that_does_not_exist_is_refused_with_the_remedy(source):
    with pytest.raises(DataLayoutError, match="RSCTIR_GALLERY"):
        open_gallery(source)


def test_a_folder_without_pictures_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(DataLayoutError, match="--gallery sample"):
        open_gallery(str(tmp_path))


def test_a_hub_data_set_becomes_files_below_the_cache(tmp_path, monkeypatch):
    picture = tmp_path / "p.png"
    Image.new("RGB", (8, 8), "green").save(picture)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    rows = {"image": [str(picture), str(tmp_path / "bad.png")], "captions": [["grass"], ["x"]]}
    dataset = Dataset.from_dict(rows).cast_column("image", shown_gallery.ImageFeature())
    monkeypatch.setattr(shown_gallery, "HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(shown_gallery, "load_dataset", lambda name, split: dataset)
    gallery = open_gallery("org/scenes", split="valid")
    assert len(gallery.paths) == 1
    assert gallery.paths[0].is_relative_to(tmp_path / "cache")
    assert gallery.record(str(gallery.paths[0])).captions == ("grass",)
    assert gallery.origin == "valid split of org/scenes on the Hugging Face Hub."


def test_what_a_hub_data_set_says_in_another_way_is_logged(tmp_path, monkeypatch, caplog):
    Image.new("RGB", (8, 8)).save(tmp_path / "p.png")
    rows = {"image": [str(tmp_path / "p.png")] * 2}
    rows["sentences"] = [[{"said": "a pier", "raw": None}], [{"said": None, "raw": "a pier"}]]
    dataset = Dataset.from_dict(rows).cast_column("image", shown_gallery.ImageFeature())
    monkeypatch.setattr(shown_gallery, "HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(shown_gallery, "load_dataset", lambda name, split: dataset)
    gallery = open_gallery("org/scenes")
    assert gallery.record(str(gallery.paths[0])).captions is None
    assert gallery.record(str(gallery.paths[1])).captions == ("a pier",)  # as in Karpathy's files
    assert caplog.text.count("captions that are no texts") == 1


def test_a_new_revision_of_a_hub_data_set_does_not_meet_old_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(shown_gallery, "HF_HOME", str(tmp_path / "cache"))
    folders = []
    for colour in ("green", "blue", "blue"):
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{colour}.png")
        rows = {"image": [str(tmp_path / f"{colour}.png")]}
        dataset = Dataset.from_dict(rows).cast_column("image", shown_gallery.ImageFeature())
        monkeypatch.setattr(shown_gallery, "load_dataset", lambda name, split, got=dataset: got)
        folders.append(open_gallery("org/scenes").paths[0].parent)
    assert folders[0] != folders[1]
    assert folders[1] == folders[2]


@pytest.mark.parametrize(("asked", "there"), [("validation", "valid"), ("valid", "validation")])
def test_the_validation_split_goes_by_two_names(asked, there, tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "p.png")
    rows = {"image": [str(tmp_path / "p.png")]}
    dataset = Dataset.from_dict(rows).cast_column("image", shown_gallery.ImageFeature())

    def load(name, split):
        if split != there:
            raise ValueError(f'Unknown split "{split}".')
        return dataset

    monkeypatch.setattr(shown_gallery, "HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(shown_gallery, "load_dataset", load)
    assert open_gallery("org/scenes", split=asked).origin.startswith(f"{there} split")
    with pytest.raises(DataLayoutError, match="could not be loaded"):
        open_gallery("org/scenes", split="training")


def test_a_hub_data_set_without_pictures_is_refused(monkeypatch):
    dataset = Dataset.from_dict({"text": ["a"]})
    monkeypatch.setattr(shown_gallery, "load_dataset", lambda name, split: dataset)
    with pytest.raises(DataLayoutError, match="no image column"):
        open_gallery("org/words")


def test_a_hub_that_cannot_be_reached_is_an_error_with_the_remedy(monkeypatch):
    def refuse(name, split):
        raise ConnectionError("offline")

    monkeypatch.setattr(shown_gallery, "load_dataset", refuse)
    with pytest.raises(DataLayoutError, match="Check the id, the split"):
        open_gallery("org/scenes")


def test_markup_among_what_is_known_stays_text(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "<b>.png")
    markup = "<script>alert(1)</script>"
    row = {"file_name": "<b>.png", "captions": [" ", markup], "category": markup}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row))
    gallery = open_gallery(str(tmp_path))
    path = str(tmp_path / "<b>.png")
    assert gallery.record(path).captions == (markup,)
    hit = Hit(0, path, None, 0.5, 1, 1, None)
    hits = ShownHits((hit,), gallery=gallery)
    shown = picture_detail(hit, hits) + picture_results(hits, label=markup)
    assert "<script" not in shown and "<b>" not in shown
    assert "&lt;script&gt;" in shown and "&lt;b&gt;.png" in shown


def test_the_predicted_scene_of_a_hit_is_shown_large_with_its_probability(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    path = str(tmp_path / "a.png")
    for metadata, said in (
        ({"predicted_scene": "harbor", "scene_probability": 0.93}, True),
        ({}, False),
    ):
        hit = Hit(0, path, None, 0.5, 1, 1, None, metadata)
        shown = picture_detail(hit, ShownHits((hit,)))
        assert ("Predicted scene" in shown and "harbor 93 %" in shown) == said


def test_links_out_of_a_gallery_are_not_shown(tmp_path):
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    for folder in (tmp_path, gallery):
        Image.new("RGB", (8, 8)).save(folder / "a.png")
    (gallery / "b.png").symlink_to(tmp_path / "a.png")
    assert [path.name for path in open_gallery(str(gallery)).paths] == ["a.png"]


def test_a_metadata_csv_beside_the_pictures_is_read(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_text("file_name,title,class\na.png,a pier,harbor\n")
    gallery = open_gallery(str(tmp_path))
    row = gallery.record(str(tmp_path / "a.png"))
    assert (row.caption, row.category) == ("a pier", "harbor")
