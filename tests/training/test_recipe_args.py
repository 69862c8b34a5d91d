"""Recipes: flags override, mappings, inheritance, and errors that name what is wrong."""

import pytest
import torch

from rsctir_hf.errors import RecipeError
from rsctir_hf.training.recipe_args import (
    ModelArguments,
    RetrievalTrainingArguments,
    parse_recipe,
)
from rsctir_hf.training.recipe_files import read_recipe


def write(path, text):
    path.write_text(text)
    return str(path)


def test_flags_override_the_recipe_which_overrides_the_defaults(tmp_path):
    text = "family: galr\nbenchmark: rsicd\nlearning_rate: 1.0e-3\nreport_to: none\n"
    recipe = write(tmp_path / "r.yaml", text)
    model, data, training = parse_recipe(
        [recipe, "--learning_rate", "2e-3", "--output_dir", str(tmp_path / "o")]
    )
    assert model.family == "galr"
    assert training.learning_rate == 2e-3
    assert (data.benchmark, data.name) == ("rsicd", "rsicd")
    assert parse_recipe([recipe, "--benchmark", ""])[1].benchmark is None


def test_mappings_come_from_yaml_or_from_a_flag(tmp_path):
    recipe = write(tmp_path / "r.yaml", "config: {depths: [1, 2]}\nfrozen_epochs: {a.b: 3}\n")
    model, _, training = parse_recipe(
        [recipe, "--lr_factors", "{a: 0.1}", "--output_dir", str(tmp_path)]
    )
    assert model.config == {"depths": [1, 2]}
    assert training.frozen_epochs == {"a.b": 3}
    assert training.lr_factors == {"a": 0.1}


def test_extra_data_comes_from_yaml_or_from_a_flag(tmp_path):
    text = "extra_data: {rsicd: data/rsicd, drawn: generated:400}\n"
    recipe = write(tmp_path / "r.yaml", text)
    _, data, _ = parse_recipe([recipe, "--output_dir", str(tmp_path)])
    assert data.extra == {"rsicd": "data/rsicd", "drawn": "generated:400"}
    assert data.drawn_scenes == 400
    flag = ["--extra_data", "{sydney: here}", "--output_dir", str(tmp_path)]
    _, data, _ = parse_recipe([recipe, *flag])
    assert (data.extra, data.drawn_scenes) == ({"sydney": "here"}, 0)


def test_a_recipe_takes_over_what_it_extends_and_wins(tmp_path):
    write(tmp_path / "base.yaml", "family: galr\nbenchmark: ucm\nseed: 3\n")
    child = write(tmp_path / "child.yaml", "extends: base.yaml\nbenchmark: rsicd\n")
    model, data, training = parse_recipe([child, "--output_dir", str(tmp_path)])
    assert (model.family, data.benchmark, training.seed) == ("galr", "rsicd", 3)


def test_of_inherited_mappings_only_the_configuration_is_joined_with_the_own_one(tmp_path):
    (tmp_path / "below").mkdir()
    base = "config: {depths: [1, 2], embed_dim: 8}\nfrozen_epochs: {a: 1}\n"
    write(tmp_path / "base.yaml", base)
    own = "extends: ../base.yaml\nconfig: {embed_dim: 16}\nfrozen_epochs: {b: 2}\n"
    child = write(tmp_path / "below" / "child.yaml", own)
    model, _, training = parse_recipe([child, "--output_dir", str(tmp_path)])
    assert model.config == {"depths": [1, 2], "embed_dim": 16}
    assert training.frozen_epochs == {"b": 2}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("unknown_key: 1\n", "unknown_key"),
        ("- a\n- b\n", "key: value"),
        ("a: [1\n", "not valid YAML"),
        ("average_decay: 1.5\n", "average_decay is 1.5"),
        ("crop_scale: [0.9, 0.2]\n", "crop_scale"),
        ("pre_alignment_fraction: 2\n", "pre_alignment_fraction"),
        ("low_resolution: 31\n", "low_resolution is 31 px"),
        ("low_resolution_epochs: -1\n", "for -1 epochs"),
        ("family: clip\n", "clip"),
        ("config: 3\n", "config must be a mapping"),
        ("extra_data: rsicd\n", "extra_data must be a mapping"),
        ("benchmark: ucm\nextra_data: {ucm: here}\n", "main set"),
        ("extra_data: {drawn: 400}\n", "expected 'generated:COUNT'"),
        ("extra_data: {drawn: generated:0}\n", "expected 'generated:COUNT'"),
        ("extends: missing.yaml\n", "missing.yaml"),
        ("extends: true\n", "extends is True"),
        (f"extends: {'x' * 300}\n", "No recipe at"),
        ("[" * 20_000, "not valid YAML"),
        ("a: 2001-99-99\n", "not valid YAML"),
        ("crop_scale: [null, 1.0]\n", "cannot be used"),
        ("lr_factors: '{{7*7}} x'\n", "lr_factors is not valid YAML"),
    ],
)
def test_a_bad_recipe_is_refused_and_named(text, named, tmp_path):
    recipe = write(tmp_path / "r.yaml", text)
    with pytest.raises(RecipeError, match=named):
        parse_recipe([recipe, "--output_dir", str(tmp_path)])


def test_a_missing_recipe_says_where_the_shipped_ones_are(tmp_path):
    with pytest.raises(RecipeError, match="training/recipes"):
        parse_recipe([str(tmp_path / "none.yaml")])


def test_without_a_recipe_flags_alone_do(tmp_path):
    model, _, training = parse_recipe(["--family", "galr", "--output_dir", str(tmp_path)])
    assert isinstance(model, ModelArguments)
    assert isinstance(training, RetrievalTrainingArguments)


@pytest.mark.parametrize("flag", ["word_drop", "distillation_temperature"])
def test_shares_and_temperatures_out_of_range_are_refused(flag, tmp_path):
    recipe = write(tmp_path / "r.yaml", f"{flag}: -0.5\n")
    with pytest.raises(RecipeError, match=f"{flag} is -0.5"):
        parse_recipe([recipe, "--output_dir", str(tmp_path)])


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("captions_per_image", "0"),
        ("colour_jitter", "3"),
        ("crop_scale", "[0.2, 5, 1.0]"),
        ("max_train_images", "-5"),
        ("validation_share", "7"),
        ("early_stopping_epochs", "-1"),
    ],
)
def test_what_would_fail_after_the_pictures_are_read_is_refused_before(flag, value, tmp_path):
    recipe = write(tmp_path / "r.yaml", f"{flag}: {value}\n")
    with pytest.raises(RecipeError, match=flag):
        parse_recipe([recipe, "--output_dir", str(tmp_path)])


def test_bfloat16_does_not_need_a_gpu(tmp_path):
    recipe = write(tmp_path / "r.yaml", "bf16: true\n")
    _, _, training = parse_recipe([recipe, "--output_dir", str(tmp_path)])
    assert training.bf16
    assert training.use_cpu == (not torch.accelerator.is_available())


def test_regions_that_cannot_be_trained_with_are_refused_with_a_remedy():
    with pytest.raises(RecipeError, match="use_regions: false"):
        parse_recipe(["--regions", "none"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--extra_data", "{rsicd: x}"], "A stream is one set"),
        (["--validation_share", "0.2"], "A stream is one set"),
        (["--teachers", "org/teacher"], "teachers look at every picture"),
        (["--shuffle_buffer", "0"], "shuffle_buffer is 0"),
    ],
)
def test_what_a_stream_cannot_do_is_refused(flags, message):
    with pytest.raises(RecipeError, match=message):
        parse_recipe(["--streaming", "true", *flags])


def test_a_run_pushes_the_finished_model_alone_unless_asked(tmp_path):
    _, _, training = parse_recipe(["--output_dir", str(tmp_path)])
    assert training.hub_strategy.value == "end"


def test_recipes_that_extend_each_other_are_refused(tmp_path):
    write(tmp_path / "a.yaml", "extends: b.yaml\n")
    write(tmp_path / "b.yaml", "extends: ./a.yaml\n")
    with pytest.raises(RecipeError, match="extends itself"):
        parse_recipe([str(tmp_path / "a.yaml")])


@pytest.mark.parametrize("flag", [["--frozen_epochs", "["], ["--lr_factors", "a\0b"]])
def test_a_flag_that_is_no_yaml_is_named(flag, tmp_path):
    with pytest.raises(RecipeError, match=f"{flag[0][2:]} is not valid YAML"):
        parse_recipe([*flag, "--output_dir", str(tmp_path)])


@pytest.mark.parametrize(
    "flags", [["--unknown", "3"], ["--lr_scheduler_type", "wavy"], ["--optim", "none"]]
)
def test_what_transformers_refuses_ends_in_our_words_or_its_parser_s(flags, tmp_path):
    with pytest.raises((RecipeError, SystemExit)) as error:
        parse_recipe([*flags, "--output_dir", str(tmp_path)])
    assert isinstance(error.value, RecipeError) or error.value.code == 2


def test_a_recipe_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "r.yaml").write_bytes(b"family: \xff\n")
    with pytest.raises(RecipeError, match="not valid YAML"):
        parse_recipe([str(tmp_path / "r.yaml")])


@pytest.mark.parametrize("flags", [["--teachers", "[]"], ["--teachers=[]"], ["--teachers", ""]])
def test_no_teachers_is_an_empty_list_and_no_hub_id(flags, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("teachers: [org/one, org/two]\ncrop_scale: [0.5, 1.0]\n")
    output = ["--output_dir", str(tmp_path)]
    args = parse_recipe([str(recipe), *flags, *output, "--crop_scale", "[0.8, 1]"])[2]
    assert args.teachers == [] and args.crop_scale == [0.8, 1]
    args = parse_recipe([str(recipe), "--teachers", "a", "b", *output, "--crop_scale", "[]"])[2]
    assert args.teachers == ["a", "b"] and args.crop_scale == []
    args = parse_recipe([str(recipe), *output, "--teachers", "[a, org/b]"])[2]
    assert args.teachers == ["a", "org/b"]
    with pytest.raises(RecipeError, match="teachers is not valid YAML"):
        parse_recipe([str(recipe), *output, "--teachers", "[a"])


def test_a_recipe_may_have_a_byte_order_mark(tmp_path):
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "recipe.yaml").write_bytes("benchmark: rsicd\r\n".encode(encoding))
        assert read_recipe(tmp_path / "recipe.yaml") == {"benchmark": "rsicd"}


def test_a_file_or_pipe_gets_no_progress_bars(tmp_path):
    output = ["--output_dir", str(tmp_path)]
    assert parse_recipe(output)[2].disable_tqdm is True
    assert parse_recipe([*output, "--disable_tqdm", "false"])[2].disable_tqdm is False
