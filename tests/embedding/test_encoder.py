"""Loading a model: what fits loads in float32, what does not is refused by name."""

import json
import shutil

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import ModelLoadError

WEIGHTS = "model.safetensors"


def test_a_saved_model_loads_in_float32_even_from_half_precision(clip_folder, tiny_clip):
    tiny_clip_half = {name: t.half() for name, t in load_file(clip_folder / WEIGHTS).items()}
    save_file(tiny_clip_half, clip_folder / WEIGHTS, metadata={"format": "pt"})
    loaded = Encoder.from_pretrained(clip_folder)
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert not loaded.model.training
    assert loaded.id == str(clip_folder)


@pytest.mark.parametrize("name", ["config.json", WEIGHTS, "processor_config.json"])
def test_a_missing_file_is_named(clip_folder, name):
    (clip_folder / name).unlink()
    with pytest.raises(ModelLoadError, match=f"lacks {name}"):
        Encoder.from_pretrained(clip_folder)


def test_missing_weights_are_refused_and_not_filled_at_random(clip_folder):
    weights = load_file(clip_folder / WEIGHTS)
    del weights["visual_projection.weight"]
    save_file(weights, clip_folder / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match=r"1 weights are missing \(visual_projection.weight\)"):
        Encoder.from_pretrained(clip_folder)


def test_weights_of_another_shape_are_refused(clip_folder):
    config = json.loads((clip_folder / "config.json").read_text())
    config["projection_dim"] = 8
    (clip_folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match=r"another shape.*one and the same model"):
        Encoder.from_pretrained(clip_folder)


@pytest.mark.parametrize("name", ["config.json", WEIGHTS, "processor_config.json"])
def test_a_damaged_file_gives_one_clear_error(clip_folder, name):
    (clip_folder / name).write_bytes(b"{ damaged")
    with pytest.raises(ModelLoadError, match="Copy the folder again"):
        Encoder.from_pretrained(clip_folder)


def test_a_model_that_is_no_dual_encoder_is_refused(clip_folder, tmp_path):
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=20, intermediate_size=16, **small)).save_pretrained(
        tmp_path / "b"
    )
    for name in ("processor_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(clip_folder / name, tmp_path / "b")
    with pytest.raises(ModelLoadError, match=r"BertModel.*dual encoder"):
        Encoder.from_pretrained(tmp_path / "b")


def test_unknown_ids_and_paths_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelLoadError, match=r"'nobody/nothing-at-all'.*give a folder"):
        Encoder.from_pretrained("nobody/nothing-at-all")
    for source in (tmp_path / "absent", "./absent", ""):
        with pytest.raises(ModelLoadError, match="neither a model folder nor a Hub id"):
            Encoder.from_pretrained(source)


@pytest.mark.parametrize("device", ["cuda:99", "nonsense"])
def test_a_device_that_is_not_there_is_named(clip_folder, device):
    with pytest.raises(ModelLoadError, match=f"cannot run on device '{device}'"):
        Encoder.from_pretrained(clip_folder, device=device)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("tokenizer.json", lambda said: said | {"model": None}),
        ("tokenizer.json", lambda said: said | {"version": None}),
        ("config.json", lambda said: said | {"text_config": {"max_position_embeddings": "many"}}),
    ],
)
def test_what_libraries_refuse_in_their_own_way_is_refused_in_ours(clip_folder, name, spoil):
    file = clip_folder / name
    file.write_text(json.dumps(spoil(json.loads(file.read_text()))))
    with pytest.raises(ModelLoadError, match="could not be loaded"):
        Encoder.from_pretrained(clip_folder)


@pytest.mark.parametrize("header", [b"\xff" * 8, b"\0" * 8, (2**40).to_bytes(8, "little") + b"{}"])
def test_weights_whose_header_claims_any_length_are_refused(clip_folder, header):
    (clip_folder / WEIGHTS).write_bytes(header)
    with pytest.raises(ModelLoadError, match="could not be loaded"):
        Encoder.from_pretrained(clip_folder)
