"""LoRA: which layers get an adapter, how large it is, and that a run leaves nothing else."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import RecipeError
from rsctir_hf.loading.checks import weights_fingerprint
from rsctir_hf.models.cmpagl import CMPAGLConfig, CMPAGLModel
from rsctir_hf.models.galr import GaLRConfig, GaLRModel
from rsctir_hf.training.adapted_layers import MOST_BYTES, add_adapter
from rsctir_hf.training.recipe_args import RetrievalTrainingArguments, parse_recipe
from rsctir_hf.training.run_record import finish_run
from tests.conftest import ROOT
from tests.tiny_training import StopAt, make_trainer, tiny_model

FAMILIES = {"cmpagl": (CMPAGLConfig, CMPAGLModel), "galr": (GaLRConfig, GaLRModel)}
LORA = {"lora": True, "lora_rank": 2, "lora_alpha": 4, "lora_learning_rate": 1e-2}


def arguments(folder, **options):
    return RetrievalTrainingArguments(output_dir=str(folder), use_cpu=True, **options)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_of_a_shipped_model_takes_at_most_three_megabytes(family, tmp_path):
    config, model = FAMILIES[family]
    shipped = model(config.from_pretrained(ROOT / "checkpoints" / f"{family}-rs"))
    plain = {"matching_weight": 0.0}  # as in finetune.yaml
    rank = RetrievalTrainingArguments.lora_rank
    with pytest.raises(
        RecipeError, match=r"lora_rank is 200.*Expected a rank of at most \d+"
    ) as no:
        add_adapter(shipped, arguments(tmp_path, lora_rank=200, **plain))
    greatest = int(str(no.value).rstrip(".").rpartition(" ")[2])
    assert greatest >= rank
    add_adapter(shipped, arguments(tmp_path, lora_rank=greatest, **plain)).merge().save(tmp_path)
    size = (tmp_path / "adapter_model.safetensors").stat().st_size
    assert MOST_BYTES - 200_000 < size <= MOST_BYTES


def test_frozen_parts_get_no_adapter_and_the_fusion_encoder_only_with_its_loss(tmp_path, processor):
    model = tiny_model(processor)
    frozen = {"text_tower.encoder.layer.0.attention": -1}
    adapted = add_adapter(model, arguments(tmp_path, frozen_epochs=frozen, matching_weight=0.0))
    layers = {name.partition(".lora_")[0] for name in adapted.weights}
    assert not any(".attention.self" in name or "fusion" in name for name in layers)
    assert "base_model.model.text_model.encoder.layer.0.intermediate.dense" in layers
    assert "base_model.model.image_projection.linear" in layers
    both = add_adapter(tiny_model(processor), arguments(tmp_path, matching_weight=1.0))
    assert any("fusion_encoder" in name for name in both.weights)


@pytest.mark.parametrize(
    ("frozen", "said"), [({"text_tower": -1}, "text_model has no linear layer that is trained")]
)
def test_an_adapter_that_leaves_the_words_alone_is_refused(frozen, said, tmp_path, processor):
    with pytest.raises(RecipeError, match=said):
        add_adapter(tiny_model(processor), arguments(tmp_path, frozen_epochs=frozen))


def test_a_gru_is_refused(tmp_path):
    model = nn.ModuleDict({"backbone": nn.Linear(2, 2), "text_encoder": nn.GRU(2, 2)})
    with pytest.raises(RecipeError, match="text_encoder has no linear layer that is trained"):
        add_adapter(model, arguments(tmp_path))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"lora_rank": 0}, "lora_rank is 0; expected 1 or more"),
        ({"lora_alpha": 0}, "lora_alpha is 0; expected 1 or more"),
        ({"lora": True, "hold_batch_norm": False}, "expected true with lora"),
    ],
)
def test_settings_that_make_no_adapter_are_refused(wrong, said, tmp_path):
    with pytest.raises(RecipeError, match=said):
        arguments(tmp_path, **wrong)


def test_an_adapter_needs_a_model_to_go_on_from():
    with pytest.raises(RecipeError, match=r"lora is True.*no initial_model is named"):
        parse_recipe(["--lora", "true"])


def test_an_adapter_does_not_take_the_place_of_its_own_model(tmp_path):
    places = ["--initial_model", str(tmp_path), "--output_dir", str(tmp_path / "." / "")]
    with pytest.raises(RecipeError, match=r"place of the model that it needs.*--output_dir"):
        parse_recipe([*places, "--lora", "true", "--overwrite_output_dir", "true"])


def test_a_folder_that_is_written_over_holds_a_model_or_an_adapter_never_both(
    tmp_path, rows, processor
):
    whole = {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json"}
    small = {"adapter_config.json", "adapter_model.safetensors", "base.json"}
    for name in ("notes.txt", "my_tool.py", "modeling_galr.py"):
        (tmp_path / name).touch()
    for options, kept, gone in (({}, whole, small), (LORA, small, whole), ({}, whole, small)):
        trainer = make_trainer(tmp_path, rows, processor, overwrite_output_dir=True, **options)
        trainer.settle_weights()
        trainer.save_finished()
        found = {path.name for path in tmp_path.iterdir()}
        assert kept | {"notes.txt", "my_tool.py"} <= found and not found & gone
        assert "modeling_galr.py" not in found  # of the family that lay there
        assert bool({"modeling_cmpagl.py", "modules.json"} & found) == (kept is whole)
        modes = {(tmp_path / name).stat().st_mode for name in (*kept, "notes.txt")}
        assert len(modes) == 1


@pytest.mark.slow
@pytest.mark.parametrize("share", ["0", "0.25", "validation"])
def test_a_run_leaves_the_adapter_alone_also_when_it_was_resumed(share, tmp_path, rows, processor):
    options = {**LORA, "base_share": share, "matching_weight": 0.0}
    start, finished = weights_fingerprint(tiny_model(processor)), {}
    for name in ("whole", "cut"):
        folder = tmp_path / name
        if name == "cut":
            make_trainer(folder, rows, processor, callbacks=[StopAt(4)], **options).train()
        trainer = make_trainer(folder, rows, processor, **options)
        trainer.train(resume_from_checkpoint=name == "cut")
        finish_run(trainer, [trainer.args], revision=None, training_sets={"ucm": len(rows)})
        files = {path.name for path in folder.iterdir() if path.is_file()}
        assert {"adapter_config.json", "adapter_model.safetensors", "base.json"} <= files
        assert not files & {"model.safetensors", "config.json", "training_args.bin"}
        stored = load_file(folder / "adapter_model.safetensors")
        assert {weight.dtype for weight in stored.values()} == {torch.float16}
        base = json.loads((folder / "base.json").read_text(encoding="utf-8"))
        assert (base["weights"], base["model_type"]) == (start, "cmpagl")
        assert base["settings"]["smr_temperature"] == trainer.model.config.smr_temperature
        assert "10 pictures" in base["settings"]["training_images"]
        record = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        assert share in ("validation", str(record["base"].get("share", 0)))
        assert type(trainer.model) is CMPAGLModel
        assert set(trainer.model.state_dict()) == set(tiny_model(processor).state_dict())
        assert "An adapter (LoRA, PEFT)" in (folder / "README.md").read_text(encoding="utf-8")
        finished[name] = trainer.model.state_dict()
    torch.testing.assert_close(finished["cut"], finished["whole"])
    moved = {
        name
        for name, weight in tiny_model(processor).state_dict().items()
        if not torch.equal(weight, finished["whole"][name])
    }
    assert ("text_model.encoder.layer.0.output.dense.weight" in moved) == (
        record["base"].get("share") != 1
    )
    assert not any(name.endswith(("bias", "running_mean")) for name in moved)


def test_scoring_runs_with_the_adapter_beside_the_weights_as_with_it_merged(
    tmp_path, rows, processor
):
    model = tiny_model(processor).eval()
    adapted = add_adapter(model, arguments(tmp_path, **LORA))
    for weight in adapted.weights.values():
        nn.init.normal_(weight, std=0.1)
    encoder = Encoder(model, processor)
    pictures = [row["image"] for row in rows]
    before = encoder.images(pictures).vectors, encoder.texts(rows[0]["captions"])
    adapted.merge()
    after = encoder.images(pictures).vectors, encoder.texts(rows[0]["captions"])
    torch.testing.assert_close(before, after, atol=1e-5, rtol=0)
