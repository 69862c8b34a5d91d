"""Adaptation without captions: its recipe, what is learnt, what stays, and what is written down."""

import json
from dataclasses import replace

import pytest
import torch
import yaml
from PIL import Image

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import DataLayoutError, RecipeError
from rsctir_hf.sample import read_caption_bank
from rsctir_hf.training import adaptation_data
from rsctir_hf.training.adaptation_args import (
    AdaptationArguments,
    PictureArguments,
    learns_from_pictures,
    parse_adaptation,
)
from rsctir_hf.training.adaptation_data import SAMPLE, Lesson, load_pictures, prepare_lesson
from rsctir_hf.training.adaptation_trainer import AdaptationTrainer, picture_side
from rsctir_hf.training.objectives.label_free import label_free_loss
from rsctir_hf.training.pseudo_captions import caption_loss
from rsctir_hf.training.sets import TrainingData
from tests import miniature
from tests.conftest import ROOT
from tests.tiny_galr import tiny_galr
from tests.tiny_recipes import flags_of, load_door
from tests.tiny_training import QUICK, save, tiny_model

RECIPE = ROOT / "training" / "recipes" / "adapt.yaml"


@pytest.fixture
def encoder(processor):
    return Encoder(tiny_model(processor).eval(), processor)


@pytest.fixture
def folder(tmp_path):
    return miniature.write_pictures(tmp_path / "mine", [f"{n}.png" for n in range(7)])


@pytest.fixture(autouse=True)
def few_scenes(monkeypatch, tmp_path_factory):
    """Eight scenes stand for the drawn gallery."""
    root = miniature.write_imagefolder(tmp_path_factory.mktemp("scenes"), {"scenes": 8}, first=40)
    monkeypatch.setattr(adaptation_data, "sample_folder", lambda: root / "scenes")


def arguments_for(folder, output, **options):
    args = AdaptationArguments(
        output_dir=str(output),
        without_captions=True,
        **(
            QUICK
            | {
                "num_train_epochs": 2,
                "per_device_train_batch_size": 4,
                "save_strategy": "no",
                "learning_rate": 1e-2,
                "matching_weight": 0.0,
            }
            | options
        ),
    )
    return PictureArguments(data=str(folder)), args


def trainer_for(encoder, data_args, args):
    pictures = load_pictures(data_args)
    data, lesson = prepare_lesson(encoder, pictures, data_args, args)
    return AdaptationTrainer(
        encoder, args, data=data, lesson=lesson, two_sensors=pictures.two_sensors
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["adapt.yaml"], True),
        (["other.yaml"], False),
        (["other.yaml", "--without_captions", "true"], True),
        (["adapt.yaml", "--without_captions=false"], False),
        (["--without_captions", "--data", "x"], True),
        (["--data", "x"], False),
        ([], False),
    ],
)
def test_a_recipe_or_a_flag_says_that_there_are_no_captions(words, expected, tmp_path):
    (tmp_path / "adapt.yaml").write_text("without_captions: true\n")
    (tmp_path / "other.yaml").write_text("family: galr\n")
    words = [str(tmp_path / word) if word.endswith(".yaml") else word for word in words]
    assert learns_from_pictures(words) is expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"initial_model": ""}, "No initial_model is named"),
        ({"data": ""}, "No data is named"),
        ({"base_share": "validation"}, "nothing can be chosen"),
        ({"load_best_model_at_end": True, "eval_strategy": "epoch"}, "load_best_model_at_end"),
        ({"bank_weight": -1}, "bank_weight is -1"),
        ({"assignment_temperature": 0}, "assignment_temperature is 0"),
        ({"neighbours": -1}, "neighbours is -1"),
        ({"benchmark": "ucm"}, "unknown keys"),
        ({"data_name": "UCM-Captions"}, "readers of its card"),
    ],
)
def test_what_cannot_be_without_captions_is_refused(changes, said, tmp_path):
    recipe = tmp_path / "r.yaml"
    content = yaml.safe_load(RECIPE.read_text()) | {"data": "mine"} | changes
    recipe.write_text(yaml.safe_dump(content))
    with pytest.raises(RecipeError, match=said):
        parse_adaptation([str(recipe)])


@pytest.mark.parametrize("family", ["cmpagl", "galr"])
def test_the_picture_side_is_all_that_a_pictures_vector_hangs_on(family, encoder):
    if family == "galr":
        encoder = Encoder(*tiny_galr(["many boats"]))
    used = picture_side(encoder, [miniature.draw_picture(0)])
    names = {name for name, _ in encoder.model.named_parameters()}
    words = {name for name in names if name.startswith(("text_", "logit_scale", "match"))}
    assert words and not used & words
    parts = {name.split(".")[0] for name in used}
    expected = {"image_model", "image_projection"} if family == "cmpagl" else {"backbone", "mvsa"}
    assert expected <= parts


def test_words_and_scale_stay_and_pictures_move(encoder, folder, tmp_path):
    before = {name: value.clone() for name, value in encoder.model.named_parameters()}
    trainer = trainer_for(encoder, *arguments_for(folder, tmp_path / "out"))
    used = picture_side(encoder, [miniature.draw_picture(0)])
    trainer.train()
    after = dict(trainer.model.named_parameters())
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed and changed <= used


def test_a_run_learns_what_was_assigned(encoder, folder, tmp_path):
    data_args, args = arguments_for(
        folder, tmp_path / "out", num_train_epochs=30, label_free_weight=0.0, anchor_weight=0.0,
        crop_scale=[], average_decay=0.0,
    )  # fmt: skip
    trainer = trainer_for(encoder, data_args, args)
    lesson = trainer.data_collator.lesson
    sources = [str(folder / f"{n}.png") for n in range(7)]

    def cost():
        similarity = encoder.images(sources).vectors @ lesson.bank.T
        scale = encoder.model.logit_scale.exp().item()
        return caption_loss(similarity, lesson.assignments.float(), scale=scale).item()

    before = cost()
    trainer.train()
    assert cost() < before


def test_the_loss_is_the_weighted_sum_of_its_terms(encoder, folder, tmp_path):
    weights = {"bank_weight": 2.0, "label_free_weight": 0.5, "anchor_weight": 3.0}
    trainer = trainer_for(encoder, *arguments_for(folder, tmp_path / "out", **weights))
    vectors = torch.nn.functional.normalize(torch.randn(8, 8), dim=1)
    anchors = torch.nn.functional.normalize(torch.randn(4, 8), dim=1)
    assigned = torch.rand(4, len(trainer.bank)).softmax(dim=1)
    found = trainer.picture_loss(vectors, assigned, anchors, scale=torch.tensor(7.0))
    views = vectors[:4], vectors[4:]
    expected = sum(
        caption_loss(view @ trainer.bank.T, assigned, scale=7.0)
        + 1.5 * (1 - (view * anchors).sum(dim=1)).mean()
        for view in views
    ) + 0.5 * label_free_loss(*views)
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)


def test_two_sensors_are_taught_by_the_first_and_read_the_second(encoder, tmp_path):
    names = [f"{n}.png" for n in range(6)]
    rgb = miniature.write_pictures(tmp_path / "rgb", names)
    grey = tmp_path / "grey"
    grey.mkdir()
    for name in names:
        Image.open(rgb / name).convert("L").resize((16, 16)).save(grey / name)
    taught = encoder.images([str(rgb / name) for name in names]).vectors

    def distance():
        seen = encoder.images([str(grey / name) for name in names]).vectors
        return (1 - (seen * taught).sum(dim=1)).mean().item()

    data_args, args = arguments_for(
        rgb, tmp_path / "out", num_train_epochs=100, bank_weight=0.0, anchor_weight=3.0,
        label_free_weight=1.0, average_decay=0.0, crop_scale=[], logging_steps=100,
    )  # fmt: skip
    trainer = trainer_for(encoder, replace(data_args, second_data=str(grey)), args)
    assert torch.allclose(trainer.data_collator.lesson.anchors, taught, atol=1e-6)
    batch = trainer.data_collator([trainer.view[0], trainer.view[1]])
    assert len(batch["pixel_values"]) == 2  # one view of each
    before = distance()
    trainer.train()
    assert distance() < 0.7 * before


def test_pictures_that_cannot_be_read_are_left_out_and_named(encoder, folder, tmp_path, caplog):
    (folder / "4.png").write_bytes(b"no picture")
    data_args, args = arguments_for(folder, tmp_path / "out")
    data, lesson = prepare_lesson(encoder, load_pictures(data_args), data_args, args)
    assert data.counts == {"mine": 6} and "4.png" in caplog.text
    names = data.train["mine"]["file_name"][:]
    assert names == [f"{n}.png" for n in (0, 1, 2, 3, 5, 6)]
    assert lesson.anchors.shape == (6, 8) and len(lesson.bank) == len(read_caption_bank())
    assert torch.allclose(lesson.assignments.float().sum(dim=1), torch.ones(6), atol=1e-2)
    assert data.describe() == "mine (own data, without captions), 6 pictures"
    assert list(data.validation) == [SAMPLE] and len(data.validation[SAMPLE]) == 8


def test_folders_of_which_little_can_be_read_are_refused(encoder, tmp_path):
    one = miniature.write_pictures(tmp_path / "one", ["a.png"])
    with pytest.raises(DataLayoutError, match="one has 1 picture"):
        load_pictures(PictureArguments(data=str(one)))
    (one / "b.png").write_bytes(b"no picture")
    data_args, args = arguments_for(one, tmp_path / "out")
    with pytest.raises(DataLayoutError, match="Of 2 pictures 1 can be read"):
        prepare_lesson(encoder, load_pictures(data_args), data_args, args)


def test_a_picture_that_is_held_out_is_not_learnt_from(encoder, folder, tmp_path):
    kept = miniature.write_imagefolder(tmp_path / "kept", {"train": 2, "test": 3}, first=5)
    data_args, args = arguments_for(folder, tmp_path / "out")
    data_args = replace(data_args, keep_data={"ucm": str(kept)}, complete=False)
    # Numbers 7 to 9 are its test split, 0 to 6 those of the folder.
    data, _ = prepare_lesson(encoder, load_pictures(data_args), data_args, args)
    assert len(data.kept["ucm"]["test"]) == 3
    miniature.write_pictures(folder, ["again.png"], first=8)
    with pytest.raises(DataLayoutError, match=r"again\.png"):
        prepare_lesson(encoder, load_pictures(data_args), data_args, args)


def test_lessons_are_alike_whatever_a_run_does_to_the_model(encoder, folder, tmp_path):
    data_args, args = arguments_for(folder, tmp_path / "out")
    trainer = trainer_for(encoder, data_args, args)
    lesson = trainer.data_collator.lesson
    kept = Lesson(lesson.anchors.clone(), lesson.bank.clone(), lesson.assignments.clone())
    trainer.train()
    for name in ("anchors", "bank", "assignments"):
        assert torch.equal(getattr(lesson, name), getattr(kept, name))
    assert isinstance(trainer.data, TrainingData)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["cmpagl", "galr"])
def test_the_recipe_makes_a_whole_model_whose_record_and_card_say_what_it_is(
    family, encoder, folder, tmp_path, caplog
):
    encoder = encoder if family == "cmpagl" else Encoder(*tiny_galr(["many boats", "two courts"]))
    encoder.model.config.training_images = "UCM-Captions train, 6 pictures"
    save(encoder, tmp_path / "start")
    out = tmp_path / "out"
    options = {
        "data": folder,
        "initial_model": tmp_path / "start",
        "output_dir": out,
        "num_train_epochs": "1",
        "per_device_train_batch_size": "3",
        "frozen_epochs": "{}",
        "data_licence": "cc-by-4.0",
        "report_to": "none",
        "use_cpu": "true",
    }
    with caplog.at_level("INFO"):
        load_door("run").main([str(RECIPE), *flags_of(options)])
    record = json.loads((out / "results.json").read_text())
    assert record["training_sets"] == {"mine": 7}
    assert record["own_data"]["mine"]["captioned"] is False
    assert [row["data"] for row in record["before_after"]] == [SAMPLE]
    assert record["best_epoch"] is None
    said = json.loads((out / "config.json").read_text())["training_images"]
    assert said == (
        "mine (own data, without captions), 7 pictures; before that UCM-Captions train, 6 pictures"
    )
    card = " ".join((out / "README.md").read_text().split())
    assert "It has no captions: the picture side alone learnt from it, no word did." in card
    assert "Licence: cc-by-4.0." in card and "nothing was chosen by a score" in card
    assert "Validation has chosen" not in card and "choices were made" not in card
    words = ["many boats", "two courts"]
    loaded = Encoder.from_pretrained(out)
    start = Encoder.from_pretrained(tmp_path / "start")
    assert torch.allclose(loaded.texts(words), start.texts(words), atol=2e-3)  # half precision
    assert "cannot be told without captions" in caplog.text
    again = [str(out / "recipe.yaml"), "--output_dir", str(tmp_path / "again")]
    load_door("run").main(again)
    second = json.loads((tmp_path / "again" / "results.json").read_text())
    assert second["weights"] == record["weights"]
