"""The CMPAGL-style processor: values of pixels, limits of sentences, files for other libraries."""

import json

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, BertTokenizer

from rsctir_hf.models.cmpagl import CMPAGLProcessor

VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "river")


@pytest.fixture
def tokenizer():
    return BertTokenizer(vocab={word: number for number, word in enumerate(VOCABULARY)})


def test_pixels_are_normalised_with_the_given_mean_and_std(tokenizer):
    processor = CMPAGLProcessor.build(
        tokenizer, image_size=4, mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25)
    )
    white = processor(images=[Image.new("RGB", (9, 5), "white")], return_tensors="pt")
    expected = torch.tensor([1.0, 1.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    torch.testing.assert_close(white["pixel_values"], expected)


def test_pictures_are_squeezed_and_not_cropped(tokenizer):
    processor = CMPAGLProcessor.build(tokenizer, image_size=8)
    wide = Image.new("RGB", (64, 16), "black")
    wide.paste("white", (0, 0, 8, 16))  # the left eighth, which a centre crop would lose
    pixels = processor(images=[wide], return_tensors="pt")["pixel_values"]
    assert pixels[0, 0, :, 0].min() > 0.5
    assert pixels[0, 0, :, 4].max() < -0.9


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_pictures_of_other_modes_become_rgb(tokenizer, mode):
    processor = CMPAGLProcessor.build(tokenizer, image_size=8)
    picture = Image.new("L", (12, 12), 9).convert(mode)
    pixels = processor(images=[picture], return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, 8, 8)


def test_the_longest_sentence_survives_saving(tokenizer, tmp_path):
    # a limit that the writer of tokenizer.json left behind must not outrank max_length
    tokenizer.init_kwargs["max_length"] = 9
    CMPAGLProcessor.build(tokenizer, image_size=8, max_length=5).save_pretrained(tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    ids = processor(text=["a river " * 20], return_tensors="pt")["input_ids"]
    assert ids.tolist() == [[2, 5, 6, 5, 3]]


def test_defaults_give_way_to_what_the_caller_asks(tokenizer):
    processor = CMPAGLProcessor.build(tokenizer, image_size=8, max_length=6)
    ids = processor(text=["a river"], padding="max_length", return_tensors="pt")["input_ids"]
    assert ids.shape == (1, 6)
    ids = processor(text=["a river " * 20], text_kwargs={"max_length": 4}, return_tensors="pt")
    assert ids["input_ids"].shape == (1, 4)


def test_files_for_sentence_transformers_are_written(tokenizer, tmp_path):
    CMPAGLProcessor.build(tokenizer, image_size=8).save_pretrained(tmp_path)
    modules = json.loads((tmp_path / "modules.json").read_text())
    settings = json.loads((tmp_path / "sentence_bert_config.json").read_text())
    assert modules[0]["type"].endswith("transformer.Transformer")
    assert settings["modality_config"]["image"]["method"] == "get_image_features"
    similarity = json.loads((tmp_path / "config_sentence_transformers.json").read_text())
    assert similarity == {"similarity_fn_name": "cosine"}
