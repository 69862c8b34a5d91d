"""The GaLR processor and its word tokenizer."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file
from transformers import AutoProcessor

from rsctir_hf.models.cmpagl import processing_cmpagl
from rsctir_hf.models.galr import GaLRProcessor, build_word_tokenizer, processing_galr

CAPTIONS = (
    "Many planes are parked at the airport.",
    "Many green trees; a winding river!",
    "the river",
)


def processor_of(size=32, **settings):
    return GaLRProcessor.build(build_word_tokenizer(CAPTIONS), image_size=size, **settings)


def regions_of(boxes, scores, labels=()):
    return SimpleNamespace(
        boxes=torch.tensor(boxes).reshape(-1, 4), scores=torch.tensor(scores), labels=labels
    )


def test_vocabulary_starts_with_padding_unknown_and_the_commonest_words():
    vocabulary = build_word_tokenizer(CAPTIONS).get_vocab()
    by_id = sorted(vocabulary, key=vocabulary.get)
    assert by_id[:6] == ["<pad>", "<unk>", "many", "river", "the", "a"]  # counts 2, 2, 2, 1 ...
    assert len(by_id) == 2 + 12


def test_case_and_punctuation_do_not_matter_and_stop_words_stay():
    tokenizer = build_word_tokenizer(CAPTIONS)
    assert tokenizer("THE river!").input_ids == tokenizer("...the, 'river'").input_ids
    assert 1 not in tokenizer("many planes at the airport").input_ids


def test_unknown_words_and_emoji():
    tokenizer = build_word_tokenizer(CAPTIONS)
    assert tokenizer("zeppelin river").input_ids == [1, tokenizer.get_vocab()["river"]]
    assert tokenizer("🛩️ ...").input_ids in ([], [1])


def test_rare_words_and_stop_words_become_unknown_when_asked():
    tokenizer = build_word_tokenizer(CAPTIONS, min_count=2, stop_words=["the"])
    assert set(tokenizer.get_vocab()) == {"<pad>", "<unk>", "many", "river"}
    assert tokenizer("the river").input_ids[0] == 1


def test_a_vocabulary_without_words_is_refused():
    with pytest.raises(ValueError, match="No word occurs 9 times"):
        build_word_tokenizer(CAPTIONS, min_count=9)


def test_captions_are_padded_and_cut_by_default():
    tokenizer = build_word_tokenizer(CAPTIONS, model_max_length=5)
    processor = GaLRProcessor.build(tokenizer, image_size=32)
    inputs = processor(text=["river " * 9, "river"])
    assert inputs["input_ids"].shape == (2, 5)
    assert inputs["attention_mask"].tolist() == [[1] * 5, [1, 0, 0, 0, 0]]
    assert inputs["input_ids"][1, 1:].tolist() == [0] * 4


def test_pictures_are_resized_to_the_square_without_a_crop():
    picture = Image.new("RGB", (90, 30), (255, 0, 0))
    picture.paste((0, 0, 255), (0, 0, 45, 30))  # left half blue
    pixels = processor_of()(images=picture)["pixel_values"]
    assert pixels.shape == (1, 3, 32, 32)
    assert pixels[0, 2, :, :14].min() > 0.9 and pixels[0, 0, :, 18:].min() > 0.9


@pytest.mark.parametrize("form", ["PIL", "array"])
def test_boxes_are_scaled_from_original_to_model_pixels(form):
    picture = Image.new("RGB", (128, 64))
    given = regions_of([[32.0, 16, 96, 48]], [0.5])
    images = [picture] if form == "PIL" else [torch.zeros(3, 64, 128).numpy()]
    inputs = processor_of()(images=images, regions=[given])
    assert inputs["region_boxes"].tolist() == [[[8, 8, 24, 24]]]  # x by 32 / 128, y by 32 / 64


def test_sets_of_regions_are_padded_to_the_largest():
    sets = [regions_of([[0.0, 0, 8, 8], [1, 1, 4, 4]], [0.9, 0.4]), regions_of([], [])]
    inputs = processor_of()(images=[Image.new("RGB", (32, 32))] * 2, regions=sets)
    assert inputs["region_mask"].tolist() == [[True, True], [False, False]]
    assert inputs["region_scores"].tolist() == [[pytest.approx(0.9), pytest.approx(0.4)], [0, 0]]
    assert "region_labels" not in inputs


def test_no_regions_at_all_still_make_tensors():
    inputs = processor_of()(images=[Image.new("RGB", (32, 32))], regions=[regions_of([], [])])
    assert inputs["region_boxes"].shape == (1, 1, 4)
    assert not inputs["region_mask"].any()


def test_labels_are_numbered_by_the_vocabulary_of_the_model():
    sets = [regions_of([[0.0, 0, 8, 8]] * 3, [0.9, 0.8, 0.7], ("ship", "plane", "tree"))]
    pictures = [Image.new("RGB", (32, 32))]
    named = processor_of(region_labels=("plane", "ship"))(images=pictures, regions=sets)
    assert named["region_labels"].tolist() == [[1, 0, -1]]
    free = processor_of()(images=pictures, regions=sets)
    assert free["region_labels"].unique().numel() == 3


def test_one_set_of_regions_per_picture_is_asked_for():
    with pytest.raises(ValueError, match="2 sets of regions were given for 1 pictures"):
        processor_of()(images=[Image.new("RGB", (9, 9))], regions=[regions_of([], [])] * 2)


def test_region_labels_survive_saving(tmp_path):
    processor_of(region_labels=("plane", "ship")).save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert loaded.region_labels == ["plane", "ship"]
    assert loaded.tokenizer.get_vocab() == processor_of().tokenizer.get_vocab()
    assert loaded.tokenizer.model_max_length == 48


def test_both_families_write_the_same_files_for_sentence_transformers():
    # A leaf folder may not import the other, so the constant stands in both.
    ours, other = processing_galr, processing_cmpagl
    assert ours.SENTENCE_TRANSFORMERS_FILES == other.SENTENCE_TRANSFORMERS_FILES


@pytest.mark.parametrize("form", [np.asarray, torch.as_tensor])
def test_precomputed_nodes_become_float32_tensors(form):
    nodes, edges = np.random.default_rng(0).random((2, 2, 20, 20))  # float64
    inputs = processor_of()(
        images=[Image.new("RGB", (9, 9))] * 2,
        region_features=form(nodes),
        region_adjacency=form(edges),
    )
    assert inputs["region_features"].dtype == inputs["region_adjacency"].dtype == torch.float32
    np.testing.assert_allclose(inputs["region_features"].numpy(), nodes, atol=1e-7)
    np.testing.assert_allclose(inputs["region_adjacency"].numpy(), edges, atol=1e-7)


def test_a_converted_release_file_is_read_as_the_module_says(tmp_path):
    rows = {f"{stem}.txt": np.random.default_rng(stem).random((20, 20)) for stem in (3, 7)}
    local = {"local_rep": rows, "adj_matrix": {name: row.T for name, row in rows.items()}}
    arrays = {f"{part}/{name}": local[part][name] for part in local for name in local[part]}
    save_file(arrays, tmp_path / "local.safetensors")
    local = load_file(tmp_path / "local.safetensors")
    inputs = processor_of()(
        images=[Image.new("RGB", (9, 9))] * 2,
        region_features=np.stack([local[f"local_rep/{stem}.txt"] for stem in (7, 3)]),
        region_adjacency=np.stack([local[f"adj_matrix/{stem}.txt"] for stem in (7, 3)]),
    )
    np.testing.assert_allclose(inputs["region_features"][0].numpy(), rows["7.txt"], atol=1e-7)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"region_features": torch.rand(1, 20, 20)}, "give both"),
        (
            {"region_features": torch.rand(2, 4, 6), "region_adjacency": torch.rand(2, 4, 4)},
            r"\(2, 4, 6\).*for 1 pictures; expected \(1, N, F\)",
        ),
        (
            {"region_features": torch.rand(1, 4, 6), "region_adjacency": torch.rand(1, 4, 6)},
            r"\(1, N, N\)",
        ),
        (
            {"region_features": torch.rand(4, 6), "region_adjacency": torch.rand(4, 4)},
            r"\(1, N, N\)",
        ),
        (
            {
                "region_features": torch.full((1, 4, 6), float("nan")),
                "region_adjacency": torch.rand(1, 4, 4),
            },
            "not finite",
        ),
        (
            {"region_features": torch.rand(1, 4, 6), "regions": [regions_of([], [])]},
            "Both regions and region_features",
        ),
    ],
)
def test_precomputed_nodes_that_do_not_fit_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        processor_of()(images=[Image.new("RGB", (9, 9))], **given)
