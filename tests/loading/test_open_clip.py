"""open_clip's weights as a CLIPModel, against open_clip's own network and tokenizer."""

import json
import shutil
import time
from pathlib import Path

import open_clip
import pytest
import torch
from huggingface_hub import constants
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import save_file
from torch.nn import functional as F
from transformers import AutoTokenizer, CLIPModel

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import ModelLoadError, OutputExistsError, QueryError, UnsupportedError
from rsctir_hf.loading import open_clip as open_clip_import
from rsctir_hf.loading.open_clip import (
    config_of,
    convert_state_dict,
    import_open_clip,
    read_vocabulary,
)

PACKAGE = Path(open_clip.__file__).parent
VOCABULARY = PACKAGE / "bpe_simple_vocab_16e6.txt.gz"
SENTENCES = ["Boats moored beside a pier", "two tennis courts; it's 50 m of café", "a"]


def tiny_open_clip(*, quick_gelu=True, layers=2, vocabulary=49408):
    """An open_clip network whose biases and norms are random too, as training leaves them."""
    torch.manual_seed(0)
    vision = CLIPVisionCfg(layers=layers, width=128, patch_size=8, image_size=32)
    text = CLIPTextCfg(context_length=24, vocab_size=vocabulary, width=64, heads=1, layers=3)
    model = CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text, quick_gelu=quick_gelu)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture(scope="module")
def original():
    return tiny_open_clip()


@pytest.fixture(scope="module")
def folder(original, tmp_path_factory):
    place = tmp_path_factory.mktemp("clip")
    torch.save(original.state_dict(), place / "RemoteCLIP.pt")
    import_open_clip(place / "RemoteCLIP.pt", place / "model", vocabulary=VOCABULARY)
    return place / "model"


@torch.no_grad()
def test_the_folder_loads_and_embeds_as_open_clip_does(folder, original):
    loaded = Encoder.from_pretrained(folder)
    pixels = torch.randn(3, 3, 32, 32)
    found = loaded.model.get_image_features(pixels).pooler_output
    torch.testing.assert_close(found, original.encode_image(pixels), rtol=0, atol=1e-5)
    tokens = open_clip.SimpleTokenizer(context_length=24)(SENTENCES)
    wanted = F.normalize(original.encode_text(tokens), dim=-1)
    found = loaded.texts(SENTENCES)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    assert loaded.model.logit_scale.item() == pytest.approx(original.logit_scale.item())


def test_the_processor_cuts_and_scales_pictures_as_open_clip_does(folder, original, picture):
    ours = Encoder.from_pretrained(folder).processor(images=picture, return_tensors="pt")[
        "pixel_values"
    ]
    theirs = open_clip.image_transform(32, is_train=False)(picture)
    assert ours.shape == (1, 3, 32, 32)
    assert (ours[0] - theirs).abs().mean() < 0.02  # another library resizes


@torch.no_grad()
@pytest.mark.parametrize("quick", [True, False])
def test_activation_is_the_one_that_was_asked_for(quick):
    network = tiny_open_clip(quick_gelu=quick, vocabulary=600)
    config = config_of(network.state_dict(), activation="quick_gelu" if quick else "gelu")
    wrong = config_of(network.state_dict(), activation="gelu" if quick else "quick_gelu")
    pixels, features = torch.randn(2, 3, 32, 32), []
    for chosen in (config, wrong):
        model = load_converted(network, chosen)
        features.append(model.get_image_features(pixels).pooler_output)
    expected = network.encode_image(pixels)
    torch.testing.assert_close(features[0], expected, rtol=0, atol=1e-5)
    assert (features[1] - expected).abs().max() > 1e-4


def load_converted(network, config):
    model = CLIPModel(config).eval()
    model.load_state_dict(convert_state_dict(network.state_dict(), config))
    return model


def published_vits():
    for file in sorted(PACKAGE.glob("model_configs/*.json")):
        sizes = json.loads(file.read_text())
        vision, text = sizes["vision_cfg"], sizes["text_cfg"]
        other = "timm_model_name" in vision or "hf_model_name" in text
        if not other and isinstance(vision["layers"], int):
            yield pytest.param(vision, text, id=file.stem)


@pytest.mark.parametrize(("vision", "text"), published_vits())
def test_heads_are_those_of_every_vit_that_open_clip_knows(vision, text):
    width = vision["width"]
    shapes = {
        "visual.conv1.weight": (width, 3, 2, 2),
        "visual.positional_embedding": (5, width),
        "positional_embedding": (7, text["width"]),
        "token_embedding.weight": (30, text["width"]),
        "text_projection": (text["width"], 8),
        "visual.transformer.resblocks.0.mlp.c_fc.weight": (9, width),
        "transformer.resblocks.0.mlp.c_fc.weight": (9, text["width"]),
    }
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    config = config_of(state)
    assert config.vision_config.num_attention_heads == width // vision.get("head_width", 64)
    assert config.text_config.num_attention_heads == text["heads"]
    assert config.vision_config.hidden_act == ("quick_gelu" if width <= 1024 else "gelu")


@pytest.mark.parametrize("kind", ["wrapped", "parallel", "half", "safetensors"])
def test_weights_are_read_however_they_were_saved(tmp_path, kind):
    state = tiny_open_clip(vocabulary=600).state_dict()
    file = tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.pt")
    if kind == "safetensors":
        save_file(state, file)
    else:
        half = {key: value.half() for key, value in state.items()}
        parallel = {f"module.{key}": value for key, value in state.items()}
        forms = {"half": half, "parallel": {"epoch": 3, "state_dict": parallel}}
        torch.save(forms.get(kind, {"state_dict": state, "name": "x"}), file)
    model = import_open_clip(file, tmp_path / "model", vocabulary=short_vocabulary(tmp_path))
    assert model.dtype is torch.float32
    torch.testing.assert_close(
        model.visual_projection.weight, state["visual.proj"].T, rtol=1e-3, atol=1e-4
    )
    assert (tmp_path / "model" / "model.safetensors").is_file()


def short_vocabulary(folder, merges=86):
    """A vocabulary of 512 letters, ``merges`` merges and two special tokens, unpacked."""
    lines = read_vocabulary(VOCABULARY, size=49408)._merges[:merges]
    file = folder / "vocabulary.txt"
    file.write_text("\n".join(["#version: 0.2", *(" ".join(pair) for pair in lines)]))
    return file


class RunsWhenRead:
    """What a malicious file would hold."""

    def __reduce__(self):
        return Path.touch, (Path("was_run"),)


def changed(state, *, drop=(), **more):
    return {key: value for key, value in state.items() if key not in drop} | more


def test_what_is_no_such_model_is_refused_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = tiny_open_clip(vocabulary=600).state_dict()
    layer = "visual.transformer.resblocks.1.ln_2.bias"
    resnet = {"visual.layer1.0.conv1.weight": torch.zeros(1)}
    cases = [
        (
            RunsWhenRead(),
            ModelLoadError,
            "tensors alone: it is damaged, or holds more than tensors",
        ),
        ([1, 2], ModelLoadError, "holds a list without weights"),
        ({"epoch": 3}, ModelLoadError, "holds a dict without weights"),
        (resnet, UnsupportedError, "RN50"),
        ({"fc.weight": torch.zeros(2)}, ModelLoadError, "visual.conv1.weight is missing"),
        (changed(state, drop=[layer]), ModelLoadError, f"1 are missing .{layer}"),
        (changed(state, logit_bias=torch.zeros(1)), ModelLoadError, "1 are left over .logit_bias"),
        (changed(state, **{layer: torch.zeros(3)}), ModelLoadError, "1 have another shape"),
        (changed(state, **{"visual.conv1.weight": torch.zeros(3)}), ModelLoadError, "4 dimensions"),
    ]
    for number, (content, error, words) in enumerate(cases):
        file = tmp_path / f"{number}.pt"
        torch.save(content, file)
        with pytest.raises(error, match=words):
            import_open_clip(file, tmp_path / "out", vocabulary=short_vocabulary(tmp_path))
    assert not (tmp_path / "was_run").exists()
    assert not list(tmp_path.glob("*out*"))


def test_files_and_choices_that_do_not_fit_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    state = tiny_open_clip(vocabulary=600).state_dict()
    good, words = tmp_path / "weights.pt", short_vocabulary(tmp_path)
    torch.save(state, good)
    (tmp_path / "cut.pt").write_bytes(good.read_bytes()[:500])
    (tmp_path / "cut.safetensors").write_bytes(b"no")
    (tmp_path / "junk.pt").write_bytes(b"junk")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    few = tmp_path / "few.txt"
    few.write_text("#version\na b\n")
    cases = [
        (tmp_path / "no.pt", {}, ModelLoadError, "not a file"),
        (tmp_path / "cut.pt", {}, ModelLoadError, "cannot be read"),
        (tmp_path / "junk.pt", {}, ModelLoadError, "cannot be read"),
        (tmp_path / "cut.safetensors", {}, ModelLoadError, "cannot be read"),
        (good, {"activation": "relu"}, QueryError, "'relu'; expected gelu or quick_gelu"),
        (good, {"vocabulary": few}, ModelLoadError, "86 merges"),
        (good, {"vocabulary": tmp_path / "no.gz"}, ModelLoadError, "open_clip_torch"),
        (good, {"vocabulary": None, "tokenizer": tmp_path / "no"}, ModelLoadError, "tokenizer"),
        (good, {"output": tmp_path / "full"}, OutputExistsError, "not an empty folder"),
    ]
    for file, options, error, message in cases:
        options = {"output": tmp_path / "out", "vocabulary": words} | options
        with pytest.raises(error, match=message):
            import_open_clip(file, **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("beside", [True, False])
def test_the_vocabulary_is_found_beside_the_weights_or_in_the_package(
    beside, original, tmp_path, monkeypatch
):
    monkeypatch.setattr(open_clip_import, "snapshot_download", None)  # the Hub is not asked
    torch.save(original.state_dict(), tmp_path / "weights.pt")
    if beside:
        shutil.copy(VOCABULARY, tmp_path)
        monkeypatch.setattr(open_clip_import, "_PACKAGES", ())
    import_open_clip(tmp_path / "weights.pt", tmp_path / "model")
    found = AutoTokenizer.from_pretrained(tmp_path / "model")(SENTENCES[1])["input_ids"]
    wanted = open_clip.SimpleTokenizer(context_length=24)(SENTENCES[1])[0].tolist()
    assert found == wanted[: len(found)] and not any(wanted[len(found) :])


def test_without_vocabulary_and_hub_it_is_said_at_once(original, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(open_clip_import, "_PACKAGES", ("no_such_package",))
    torch.save(original.state_dict(), tmp_path / "weights.pt")
    started = time.monotonic()
    with pytest.raises(ModelLoadError, match=r"cannot be reached.*--vocabulary") as refused:
        import_open_clip(tmp_path / "weights.pt", tmp_path / "model", tokenizer="org/clip")
    assert time.monotonic() - started < 20 and "'org/clip'" in str(refused.value)
    assert not list(tmp_path.glob("*model*"))


def test_a_tokenizer_and_a_vocabulary_are_one_too_many(tmp_path):
    with pytest.raises(QueryError, match="Give one of them"):
        import_open_clip(tmp_path / "w.pt", tmp_path / "m", tokenizer="t", vocabulary="v")


def test_a_tokenizer_of_another_size_is_refused(tmp_path, folder):
    file = tmp_path / "weights.pt"
    torch.save(tiny_open_clip(vocabulary=600).state_dict(), file)
    with pytest.raises(ModelLoadError, match=r"49408 tokens and the weights .* have 600"):
        import_open_clip(file, tmp_path / "out", tokenizer=folder)


def test_the_command_says_what_it_read_off_the_weights(rsctir, tmp_path):
    file, words = tmp_path / "weights.pt", short_vocabulary(tmp_path)
    torch.save(tiny_open_clip(vocabulary=600).state_dict(), file)
    command = ("import-clip", "--weights", file, "--vocabulary", words, "--output", tmp_path / "m")
    code, out, _ = rsctir(*command, "--activation", "gelu")
    assert code == 0
    assert "ViT of 2 layers, 128 wide, 2 heads, patches of 8 px, pictures of 32 px" in out
    assert "text of 3 layers, 64 wide, 1 heads; gelu." in out
    code, _, err = rsctir(*command)
    assert code == 2 and "not an empty folder" in err


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors", "weights.npy"])
def test_a_pickle_that_runs_code_is_never_opened(tmp_path, name):
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return Path.touch, (ran,)

    torch.save({"visual.proj": Trap()}, tmp_path / name)
    with pytest.raises(ModelLoadError):
        import_open_clip(tmp_path / name, tmp_path / "out", vocabulary=VOCABULARY)
    assert not ran.exists()
    assert not (tmp_path / "out").exists()
