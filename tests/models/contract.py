"""What every model family promises: one class of tests, inherited by each family.

Use (``tests`` is a package, so a relative import works with pytest's importlib mode):

    from .contract import ModelContract

    class TestGaLRContract(ModelContract):
        @pytest.fixture(scope="class")
        def model(self): ...        # tiny, random weights, eval()

        @pytest.fixture(scope="class")
        def processor(self): ...    # knows the words of CAPTIONS

The model takes 32 px pictures or whatever size its processor makes.
"""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForZeroShotImageClassification,
    AutoProcessor,
    pipeline,
)

import rsctir_hf

ROOT = Path(rsctir_hf.__file__).parents[1]
CAPTIONS = (
    "many planes are parked near a terminal",
    "a river",
    "green tennis courts beside the road",
    "a river",
)
WORDS = tuple(dict.fromkeys(" ".join(CAPTIONS).split()))

#: Have no deterministic gradient on a GPU (torch.use_deterministic_algorithms), of those that
#: networks like ours call. ``interpolate`` and ``roi_align`` know another way there by themselves.
RAISE_ON_A_GPU = {
    "aten::_adaptive_avg_pool2d_backward",
    "aten::adaptive_max_pool2d_backward",
    "aten::grid_sampler_2d_backward",
    "aten::reflection_pad2d_backward",
}


class OperatorNames(TorchDispatchMode):
    """The names of all operators called in the block, those of gradients too."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.names.add(operator.name().split(".")[0])
        return operator(*args, **(kwargs or {}))


# Loads a folder in a process of its own, twice: first while our package cannot be imported, as on
# the Hub, then as an installed package. In this order nothing of ours is known to the first.
LOAD = """
import sys
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor, pipeline
folder, root = sys.argv[1:]
picture = Image.open(folder + "/picture.png")

def load(how, **trust):
    model = AutoModel.from_pretrained(folder, **trust)
    processor = AutoProcessor.from_pretrained(folder, **trust)
    inputs = processor(
        images=[picture], text=["a river", "green tennis courts"], return_tensors="pt"
    )
    with torch.no_grad():
        output = model(**inputs)
    classify = pipeline("zero-shot-image-classification", model=folder, **trust)
    scores = classify(picture, candidate_labels=["river", "planes"], hypothesis_template="a {}")
    found = {
        "modules": [type(part).__module__ for part in (model, processor)],
        "image_embeds": output.image_embeds,
        "text_embeds": output.text_embeds,
        "logits": output.logits_per_image,
        "labels": sorted(score["label"] for score in scores),
    }
    torch.save(found, folder + "/" + how + ".pt")

sys.modules["rsctir_hf"] = None
load("alone", trust_remote_code=True)
del sys.modules["rsctir_hf"]
sys.path.insert(0, root)
import rsctir_hf
load("packaged")
"""


def pictures_of(count, *, seed=0):
    """Return RGB noise pictures of different sizes."""
    noise = np.random.default_rng(seed)
    sizes = [(40 + 8 * number, 56 - 4 * number, 3) for number in range(count)]
    return [Image.fromarray(noise.integers(0, 256, size, dtype=np.uint8)) for size in sizes]


def assert_close(found, expected, tolerance=1e-5):
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


class EmbeddingContract:
    """What needs no file: vectors, batches, padding, sizes. For further variants of a family."""

    @pytest.fixture(scope="class")
    def inputs(self, processor):
        return processor(images=pictures_of(3), text=list(CAPTIONS), return_tensors="pt")

    def test_embeddings_are_float32_unit_vectors(self, model, inputs):
        images, texts = self.embed(model, inputs)
        assert images.shape == (3, model.config.projection_dim)
        assert texts.shape == (len(CAPTIONS), model.config.projection_dim)
        for vectors in (images, texts):
            assert vectors.dtype == torch.float32
            assert_close(vectors.norm(dim=-1), torch.ones(len(vectors)))

    def test_forward_gives_scaled_cosines_and_no_loss(self, model, inputs):
        with torch.no_grad():
            output = model(**inputs)
        images, texts = self.embed(model, inputs)
        assert "loss" not in output
        assert_close(output.image_embeds, images)
        assert_close(output.text_embeds, texts)
        expected = model.logit_scale.exp() * images @ texts.T
        assert_close(output.logits_per_image, expected.detach(), tolerance=1e-4)
        assert torch.equal(output.logits_per_text, output.logits_per_image.T)

    def test_a_side_gives_vector_tokens_and_what_it_is_asked_for(self, model, inputs):
        texts = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        pixels = {"pixel_values": inputs["pixel_values"]}
        for embed, given in ((model.get_text_features, texts), (model.get_image_features, pixels)):
            with torch.no_grad():
                plain = embed(**given)
                asked = embed(**given, output_hidden_states=True, output_attentions=True)
                parts = embed(**given, return_dict=False)
            assert set(plain) == {"last_hidden_state", "pooler_output"}
            assert plain.last_hidden_state.ndim == 3
            assert plain.last_hidden_state.shape[:1] == plain.pooler_output.shape[:1]
            assert torch.equal(parts[0], plain.last_hidden_state)
            assert torch.equal(parts[1], plain.pooler_output)
            assert torch.equal(asked.pooler_output, plain.pooler_output)
            assert all(states.isfinite().all() for states in asked.hidden_states)
            assert len(asked.hidden_states) > 1

    def test_either_side_works_alone(self, model, inputs):
        with torch.no_grad():
            seen = model(pixel_values=inputs["pixel_values"])
            read = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        assert seen.logits_per_image is None
        assert seen.text_embeds is None
        assert read.image_embeds is None
        assert read.text_embeds is not None

    def test_deterministic_algorithms_change_no_output_and_serve_a_training(self, model, inputs):
        with torch.no_grad():
            usual = model(**inputs).logits_per_image
        calls = OperatorNames()
        torch.use_deterministic_algorithms(True)
        try:
            with calls:
                logits = model(**inputs).logits_per_image
                logits.sum().backward()
        finally:
            torch.use_deterministic_algorithms(False)
            model.zero_grad()
        torch.testing.assert_close(logits.detach(), usual, atol=1e-5, rtol=0)
        assert not calls.names & RAISE_ON_A_GPU

    def test_a_batch_of_one_equals_a_batch_of_many(self, model, processor, inputs):
        images, texts = self.embed(model, inputs)
        for row, picture in enumerate(pictures_of(3)):
            alone = processor(images=[picture], return_tensors="pt")["pixel_values"]
            with torch.no_grad():
                assert_close(model.get_image_features(alone).pooler_output[0], images[row])
        for row, caption in enumerate(CAPTIONS):
            alone = processor(text=[caption], return_tensors="pt")
            with torch.no_grad():
                assert_close(model.get_text_features(**alone).pooler_output[0], texts[row])

    def test_padding_changes_nothing(self, model, processor, inputs):
        longest = processor.tokenizer.model_max_length
        padded = processor(
            text=list(CAPTIONS), padding="max_length", max_length=longest, return_tensors="pt"
        )
        assert padded["input_ids"].shape[1] == longest > inputs["input_ids"].shape[1]
        with torch.no_grad():
            found = model.get_text_features(**padded).pooler_output
            without_mask = model.get_text_features(padded["input_ids"]).pooler_output
        assert_close(found, self.embed(model, inputs)[1])
        assert_close(without_mask, found)

    def test_equal_captions_get_equal_vectors(self, model, inputs):
        texts = self.embed(model, inputs)[1]
        assert_close(texts[1], texts[3])

    @pytest.mark.parametrize("size", [(32, 32), (64, 48), (33, 95), (5, 7)])
    def test_any_picture_size_is_accepted(self, model, size):
        with torch.no_grad():
            vectors = model.get_image_features(torch.rand(2, 3, *size)).pooler_output
        assert vectors.isfinite().all()
        assert_close(vectors.norm(dim=-1), torch.ones(2))

    def test_the_processor_pads_and_cuts_by_default(self, processor):
        longest = processor.tokenizer.model_max_length
        batch = processor(text=["a river", "a river " * longest], return_tensors="pt")
        assert batch["input_ids"].shape == (2, longest)
        assert batch["attention_mask"][0].sum() < longest
        assert set(batch) == {"input_ids", "attention_mask"}

    def test_pictures_of_any_shape_become_squares(self, processor, inputs):
        size = processor.image_processor.size
        assert inputs["pixel_values"].shape == (3, 3, size["height"], size["width"])
        assert size["height"] == size["width"]

    def embed(self, model, inputs):
        """Embed both sides through the two methods every dual encoder has."""
        texts = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            return (
                model.get_image_features(inputs["pixel_values"]).pooler_output,
                model.get_text_features(**texts).pooler_output,
            )


class ModelContract(EmbeddingContract):
    """All that both families promise; a subclass gives the fixtures ``model``, ``processor``."""

    @pytest.fixture(scope="class")
    def folder(self, model, processor, tmp_path_factory):
        folder = tmp_path_factory.mktemp("saved")
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        pictures_of(1)[0].save(folder / "picture.png")
        return folder

    @pytest.fixture(scope="class")
    def expected(self, model, processor):
        inputs = processor(
            images=pictures_of(1), text=["a river", "green tennis courts"], return_tensors="pt"
        )
        with torch.no_grad():
            return model(**inputs)

    @pytest.fixture(scope="class")
    def fresh_process(self, folder, tmp_path_factory):
        """Return what a process of its own computed: one start for all checks, as it is slow."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment |= {"HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [sys.executable, "-I", "-c", LOAD, str(folder), str(ROOT)],
            cwd=tmp_path_factory.mktemp("elsewhere"),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return {how: torch.load(folder / f"{how}.pt") for how in ("alone", "packaged")}

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("how", "home"), [("alone", "transformers_modules."), ("packaged", "rsctir_hf.models.")]
    )
    def test_a_fresh_process_gives_the_same_outputs(self, fresh_process, expected, how, home):
        found = fresh_process[how]
        assert all(module.startswith(home) for module in found["modules"])
        assert_close(found["image_embeds"], expected.image_embeds)
        assert_close(found["text_embeds"], expected.text_embeds)
        assert_close(found["logits"], expected.logits_per_image, tolerance=1e-4)
        assert found["labels"] == ["planes", "river"]

    def test_auto_classes_know_the_family_without_trusting_remote_code(
        self, folder, model, processor
    ):
        assert type(AutoConfig.from_pretrained(folder)) is type(model.config)
        assert type(AutoModel.from_pretrained(folder)) is type(model)
        zero_shot = AutoModelForZeroShotImageClassification.from_pretrained(folder)
        assert type(zero_shot) is type(model)
        assert type(AutoProcessor.from_pretrained(folder)) is type(processor)

    def test_every_buffer_survives_loading(self, folder, model):
        loaded = dict(type(model).from_pretrained(folder).named_buffers())
        for name, buffer in model.named_buffers():
            assert torch.equal(loaded[name], buffer), name

    def test_a_loaded_processor_gives_the_same_inputs(self, folder, processor, inputs):
        again = AutoProcessor.from_pretrained(folder)(
            images=pictures_of(3), text=list(CAPTIONS), return_tensors="pt"
        )
        assert set(again) == set(inputs)
        for name in inputs:
            assert torch.equal(again[name], inputs[name]), name

    @pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
    def test_half_precision_files_run_in_float32(self, folder, model, stored, tmp_path):
        half = type(model).from_pretrained(folder, dtype=stored)
        half.save_pretrained(tmp_path)
        size = (tmp_path / "model.safetensors").stat().st_size
        assert size < 0.6 * (folder / "model.safetensors").stat().st_size
        loaded = AutoModel.from_pretrained(tmp_path)
        floating = {value.dtype for value in loaded.parameters() if value.is_floating_point()}
        assert floating == {torch.float32}

    def test_saving_changes_nothing_in_the_configuration_but_writes_float32(self, model, tmp_path):
        config = copy.deepcopy(model.config)
        config.dtype = torch.bfloat16
        config.save_pretrained(tmp_path)
        assert config.dtype == torch.bfloat16
        assert config.to_dict()["dtype"] == "float32"
        assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float32"

    def test_the_saved_configuration_names_every_auto_class(self, folder, model):
        written = json.loads((folder / "config.json").read_text())["auto_map"]
        family, name = model.config.model_type, type(model).__name__
        assert written == {
            "AutoConfig": f"configuration_{family}.{type(model.config).__name__}",
            "AutoModel": f"modeling_{family}.{name}",
            "AutoModelForZeroShotImageClassification": f"modeling_{family}.{name}",
        }

    def test_a_dtype_asked_for_is_obeyed_and_embeddings_stay_float32(self, folder, inputs):
        loaded = AutoModel.from_pretrained(folder, dtype=torch.bfloat16)
        assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}
        with torch.no_grad():
            output = loaded(**inputs)
        assert output.image_embeds.dtype == output.text_embeds.dtype == torch.float32

    def test_the_zero_shot_pipeline_scores_like_the_model(self, folder, model, processor):
        picture, labels = pictures_of(1)[0], ["river", "planes"]
        classify = pipeline("zero-shot-image-classification", model=str(folder))
        scores = classify(picture, candidate_labels=labels, hypothesis_template="a {}")
        inputs = processor(
            images=[picture], text=[f"a {label}" for label in labels], return_tensors="pt"
        )
        with torch.no_grad():
            expected = model(**inputs).logits_per_image.softmax(-1)[0]
        found = {score["label"]: score["score"] for score in scores}
        assert_close(torch.tensor([found[label] for label in labels]), expected, tolerance=1e-4)

    def test_sentence_transformers_embeds_both_sides_alike(self, folder, model, processor, inputs):
        library = pytest.importorskip("sentence_transformers")
        encoder = library.SentenceTransformer(str(folder), device="cpu")
        images, texts = self.embed(model, inputs)
        assert_close(torch.from_numpy(encoder.encode(list(CAPTIONS))), texts)
        assert_close(torch.from_numpy(encoder.encode(pictures_of(3))), images)
