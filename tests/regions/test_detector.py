"""Any object detector of transformers as a proposer, with tiny ones built on the spot."""

import shutil

import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessor, YolosModel

from rsctir_hf.errors import ModelLoadError, RegionsError, UnsupportedError
from rsctir_hf.loading.checks import weights_fingerprint
from rsctir_hf.regions.detector import MAX_REGIONS, THRESHOLD, choose_regions, load_detector
from tests.tiny_detectors import CLASSES, FAMILIES, always_this_box, save_detector, yolos


@pytest.fixture
def folder(tmp_path):
    return save_detector(tmp_path / "detector")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_detector_of_any_family_finds_regions_in_the_picture(tmp_path, family, picture):
    folder = save_detector(tmp_path / family, family)
    found = load_detector(folder, threshold=0.0)(picture)
    width, height = picture.size
    assert 1 < len(found.boxes) <= MAX_REGIONS
    assert len(found.scores) == len(found.labels) == len(found.boxes)
    assert (found.boxes >= 0).all() and (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    assert (found.boxes[:, 2:] <= torch.tensor([width, height])).all()
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert set(found.labels) <= set(CLASSES)
    again = load_detector(folder, threshold=0.0)(picture)
    assert torch.equal(found.boxes, again.boxes) and torch.equal(found.scores, again.scores)
    assert found.labels == again.labels


@pytest.mark.parametrize("size", [(50, 30), (30, 50), (64, 64)])
def test_boxes_stand_in_pixels_of_the_picture(tmp_path, size):
    folder = save_detector(tmp_path / "d", change=always_this_box(0.5, 0.25, 0.5, 0.25))
    found = load_detector(folder, threshold=0.0)(Image.new("RGB", size, "red"))
    width, height = size
    # centre (1/2, 1/4) and sides (1/2, 1/4): from 1/4 to 3/4 across, from 1/8 to 3/8 down
    expected = [width / 4, height / 8, width * 3 / 4, height * 3 / 8]
    assert found.boxes[0].tolist() == pytest.approx(expected, abs=1e-3)
    assert len(found.boxes) == MAX_REGIONS  # of 30 queries


def test_boxes_beyond_the_rim_end_at_the_rim(tmp_path, picture):
    folder = save_detector(tmp_path / "d", change=always_this_box(0.9, 0.9, 0.8, 0.8))
    found = load_detector(folder, threshold=0.0)(picture)
    width, height = picture.size
    expected = [width / 2, height / 2, width, height]
    assert found.boxes[0].tolist() == pytest.approx(expected, abs=1e-3)


def test_boxes_that_are_no_numbers_are_left_out(tmp_path, picture):
    def change(model):
        model.bbox_predictor.layers[-1].bias.fill_(float("nan"))

    folder = save_detector(tmp_path / "d", change=change)
    found = load_detector(folder, threshold=0.0)(picture)
    assert found.boxes.shape == (0, 4) and found.labels == ()


def test_scores_that_are_no_numbers_are_left_out(tmp_path, picture):
    def change(model):
        model.class_labels_classifier.layers[-1].bias.fill_(float("nan"))

    folder = save_detector(tmp_path / "d", change=change)
    assert len(load_detector(folder, threshold=0.0)(picture).boxes) == 0


def test_threshold_and_number_keep_the_strongest(folder, picture):
    every = load_detector(folder, threshold=0.0)(picture)
    middle = float(every.scores[:10].mean())
    strong = load_detector(folder, threshold=middle)(picture)
    assert 0 < len(strong.scores) < len(every.scores)
    assert strong.scores.tolist() == every.scores[every.scores > middle].tolist()
    three = load_detector(folder, threshold=0.0, max_regions=3)(picture)
    assert torch.equal(three.boxes, every.boxes[:3]) and three.labels == every.labels[:3]
    assert len(load_detector(folder, threshold=1.0)(picture).boxes) == 0


def test_the_record_says_what_identifies_a_detector(folder, tmp_path):
    detector = load_detector(folder, max_regions=7)
    record = detector.record
    assert detector.name == record.source == str(folder)
    assert record.fingerprint == weights_fingerprint(detector.model)
    assert (record.threshold, record.max_regions, record.revision) == (THRESHOLD, 7, None)
    assert record.fingerprint in str(record) and "0.5 or more, at most 7" in str(record)
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert record.finds_the_same(load_detector(moved, max_regions=7).record)
    other = save_detector(tmp_path / "other", seed=1)
    for changed in (
        load_detector(folder),
        load_detector(folder, max_regions=7, threshold=0.4),
        load_detector(other, max_regions=7),
    ):
        assert not record.finds_the_same(changed.record)


def test_another_kind_of_model_is_refused_in_a_sentence(clip_folder):
    with pytest.raises(ModelLoadError, match=r"type 'clip'.*no object detector.*yolos") as caught:
        load_detector(clip_folder)
    assert len(str(caught.value)) < 500


def test_a_detector_without_its_heads_is_refused(folder):
    torch.manual_seed(0)
    YolosModel(yolos()[0].config).save_pretrained(folder)
    with pytest.raises(ModelLoadError, match=r"weights are missing"):
        load_detector(folder)


def test_the_image_processor_of_another_kind_of_model_is_refused(folder):
    CLIPImageProcessor().save_pretrained(folder)
    with pytest.raises(ModelLoadError, match=r"CLIPImageProcessor.*belongs to the detector"):
        load_detector(folder)


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("config.json", "config.json"),
        ("model.safetensors", "model.safetensors"),
        ("preprocessor_config.json", "processor_config.json"),
    ],
)
def test_a_missing_file_is_named(folder, name, missing):
    (folder / name).unlink()
    with pytest.raises(ModelLoadError, match=f"detector folder .* lacks {missing}"):
        load_detector(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_a_damaged_file_gives_one_clear_error(folder, name):
    (folder / name).write_bytes(b"{ damaged")
    with pytest.raises(ModelLoadError, match="Copy the folder again"):
        load_detector(folder)


def test_places_that_hold_nothing_are_named(tmp_path):
    for source in (tmp_path / "absent", "./absent", ""):
        with pytest.raises(ModelLoadError, match="neither a detector folder nor a Hub id"):
            load_detector(source)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelLoadError, match=r"lacks config.json, model.safetensors"):
        load_detector(tmp_path / "empty")


def test_options_out_of_range_are_refused(folder):
    for threshold in (-0.1, 1.1, float("nan")):
        with pytest.raises(RegionsError, match="expected a score from 0 to 1"):
            load_detector(folder, threshold=threshold)
    for count in (0, 21):
        with pytest.raises(RegionsError, match=f"max_regions is {count}; expected 1 to 20"):
            load_detector(folder, max_regions=count)
    with pytest.raises(ModelLoadError, match="cannot run on device 'nonsense'"):
        load_detector(folder, device="nonsense")


def test_a_picture_too_narrow_for_the_detector_is_named(folder):
    detector = load_detector(folder)
    with pytest.raises(UnsupportedError, match=r"cannot look at .* 4 x 400 pixels") as caught:
        detector(Image.new("RGB", (4, 400)))
    assert "less narrow" in str(caught.value) and "must contain" not in str(caught.value)


def test_a_lack_of_memory_is_not_blamed_on_the_picture(folder, picture, monkeypatch):
    detector = load_detector(folder)

    def full(**_):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(detector.model, "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        detector(picture)


def test_words_and_folders_are_told_apart(folder):
    assert choose_regions("model") == "model"
    assert choose_regions("none") == "none"
    made = choose_regions(str(folder), 0.3)
    assert made.record.threshold == 0.3
    assert choose_regions(str(folder)).record.threshold == THRESHOLD
    like = load_detector(folder, threshold=0.2, max_regions=4).record
    assert choose_regions(str(folder), like=like).record == like
    assert choose_regions(str(folder), 0.6, like=like).record.threshold == 0.6
    with pytest.raises(RegionsError, match=r"threshold is 0.3 and regions is 'model'"):
        choose_regions("model", 0.3)
