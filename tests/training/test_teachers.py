"""Teachers: vectors made once, kept, and looked up by row and sentence."""

import datasets
import pytest
import torch

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import ImageReadError
from rsctir_hf.training import teachers
from rsctir_hf.training.recipe_args import ModelArguments
from rsctir_hf.training.start import build_model
from rsctir_hf.training.teachers import Teacher, Teachers, load_teachers
from tests.miniature import hub_table
from tests.tiny_training import save
from tests.training.test_start import TINY_CMPAGL


@pytest.fixture(scope="module")
def train():
    return {"ucm": hub_table(4), "rsicd": hub_table(3, first=10)}


@pytest.fixture(scope="module")
def sources(tmp_path_factory, train):
    folders = []
    for number in range(2):
        torch.manual_seed(number)
        arguments = ModelArguments(
            image_weights="none", text_weights="none", config={**TINY_CMPAGL}
        )
        folders.append(str(tmp_path_factory.mktemp(f"teacher{number}")))
        save(build_model(arguments, train["ucm"]["captions"]), folders[-1])
    return folders


def test_logits_are_scaled_cosines_of_rows_and_sentences():
    eye = torch.eye(3)
    teachers = Teachers(
        [Teacher(eye, eye[[1, 2]], 5.0), Teacher(eye, eye[[0, 1]], 2.0)], ["a", "b"]
    )
    found = teachers([2, 0], ["B .", "a"])  # compared as normalise_caption has it
    assert torch.equal(found[0], torch.tensor([[5.0, 0.0], [0.0, 0.0]]))
    assert torch.equal(found[1], torch.tensor([[0.0, 0.0], [0.0, 2.0]]))


def test_teachers_see_what_the_models_see(train, sources, tmp_path):
    teachers = load_teachers(sources, train, folder=tmp_path, batch_size=2)
    captions = [train["ucm"][1]["captions"][0], train["rsicd"][2]["captions"][1]]
    found = teachers([1, 6], captions)  # rows are counted through: the third of RSICD
    for source, logits in zip(sources, found, strict=True):
        loaded = Encoder.from_pretrained(source)
        pictures = [train["ucm"][1]["image"], train["rsicd"][2]["image"]]
        inputs = loaded.processor(images=pictures, text=captions, return_tensors="pt")
        with torch.no_grad():
            expected = loaded.model(**inputs).logits_per_image
        torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-3)


def test_what_was_embedded_is_read_back(train, sources, tmp_path, monkeypatch):
    first = load_teachers(sources, train, folder=tmp_path)
    monkeypatch.setattr(teachers, "embed_training_data", None)
    again = load_teachers(sources, train, folder=tmp_path)
    captions = train["ucm"][0]["captions"]
    assert torch.equal(first([0, 5], captions), again([0, 5], captions))
    with pytest.raises(TypeError):  # other data: embedded anew
        load_teachers(sources, {"ucm": train["ucm"]}, folder=tmp_path)


def test_a_picture_no_teacher_can_read_is_named(train, sources, tmp_path):
    table = train["ucm"].cast_column("image", datasets.Image(decode=False))
    broken = table.map(lambda row: {**row, "image": {"bytes": b"no picture", "path": "x.png"}})
    with pytest.raises(ImageReadError, match="A teacher needs every picture"):
        load_teachers(sources[:1], {"ucm": broken}, folder=tmp_path)


def test_other_pictures_with_the_same_captions_are_looked_at_again(sources, tmp_path):
    first, second = hub_table(3), hub_table(3, first=20)
    other = second.remove_columns("captions").add_column("captions", first["captions"])
    found = [
        load_teachers(sources[:1], {"ucm": table}, folder=tmp_path) for table in (first, other)
    ]
    captions = first["captions"][0]
    assert not torch.equal(*(teachers([0, 1, 2], captions) for teachers in found))
