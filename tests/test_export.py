"""ONNX files of every family, against PyTorch and on their own, by the README that comes along."""

import json
import re

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from rsctir_hf import export as exporting
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import MissingDependencyError, OutputExistsError, UnsupportedError
from rsctir_hf.export import export_onnx
from rsctir_hf.models.galr import GaLRConfig
from rsctir_hf.models.galr.text_galr import GRUTextEncoder
from rsctir_hf.sample import sample_folder
from tests.foreign_encoders import tiny_clip, tiny_siglip
from tests.models.tiny_cmpagl import seeded_model, tiny_config, tiny_processor
from tests.tiny_galr import tiny_galr

TEXTS = ["a river", "boats beside a pier", "green", "a river beside a green pier", "the boats"]


def tiny_cmpagl():
    model = seeded_model(tiny_config(depths=[1, 2]))
    return model, tiny_processor(model)


MAKERS = {
    "clip": tiny_clip,
    "siglip": tiny_siglip,
    "cmpagl": tiny_cmpagl,
    "galr": lambda: tiny_galr(TEXTS),
}


def pictures(count):
    """Different pictures of different shapes."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return [Image.fromarray(c).resize((50 + 9 * n, 70)) for n, c in enumerate(coarse)]


@pytest.fixture(scope="module", params=list(MAKERS))
def exported(request, tmp_path_factory):
    torch.manual_seed(0)
    model, processor = MAKERS[request.param]()
    folder = tmp_path_factory.mktemp(request.param) / "onnx"
    report = export_onnx(Encoder(model.eval(), processor, id=f"tiny {request.param}"), folder)
    return model, processor, folder, report


def run_readme(folder, texts, images):
    """Run the snippet of an exported folder's README there; return its variables."""
    readme = (folder / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", readme, flags=re.DOTALL).group(1)
    code = code.replace('"."', repr(str(folder)))
    code = re.sub(r'"(\w+_encoder\.onnx)"', lambda name: repr(str(folder / name[1])), code)
    variables = {"texts": texts, "pictures": images}
    exec(code, variables)
    return variables


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 5])
def test_the_readme_s_own_lines_give_the_vectors_of_pytorch(exported, count):
    model, processor, folder, _ = exported
    found = run_readme(folder, TEXTS[:count], pictures(count))
    texts = Encoder(model, processor).texts(TEXTS[:count]).numpy()
    images = Encoder(model, processor).images(pictures(count)).vectors.numpy()
    np.testing.assert_allclose(found["text_vectors"], texts, atol=1e-3)
    np.testing.assert_allclose(found["image_vectors"], images, atol=1e-3)
    assert found["cosines"].shape == (count, count)


@pytest.mark.slow
def test_the_manifest_names_inputs_shapes_and_where_the_files_came_from(exported):
    model, _, folder, report = exported
    written = json.loads((folder / "onnx.json").read_text())
    assert written["model"].startswith("tiny ")
    assert written["fingerprint"] == report.fingerprint
    for side in ("image", "text"):
        tower = written[side]
        session = onnxruntime.InferenceSession(folder / tower["file"])
        assert {node.name for node in session.get_inputs()} == set(tower["inputs"])
        assert [node.name for node in session.get_outputs()] == ["embeddings"]
        assert tower["largest_difference"] <= 1e-3
        assert all(shape[0] == "batch" for _, shape in tower["inputs"].values())
    length = written["text"]["inputs"]["input_ids"][1][1]
    assert length == (12 if model.config.model_type == "siglip" else "length")


@pytest.mark.slow
def test_the_command_exports_a_folder_and_refuses_a_full_one(rsctir, clip_folder, tmp_path):
    command = ("export", "--model", clip_folder, "--output", tmp_path / "onnx", "--format", "onnx")
    code, out, _ = rsctir(*command)
    assert code == 0
    assert "image_encoder.onnx: pixel_values batch x 3 x 32 x 32 -> batch x 16" in out
    assert "text_encoder.onnx: input_ids batch x length, attention_mask batch x length" in out
    code, _, err = rsctir(*command)
    assert code == 2 and "not an empty folder" in err


class Undoable(torch.nn.Module):
    """A dual encoder that decides by the values it sees."""

    def __init__(self, model):
        super().__init__()
        self.model, self.config = model, model.config

    def get_image_features(self, pixel_values):
        many = int((pixel_values > 0).sum())
        return self.model.get_image_features(pixel_values[:, :, : many % 7 + 8])


class Drifting(Undoable):
    """A dual encoder that gives other vectors each time."""

    def get_image_features(self, pixel_values):
        return self.model.get_image_features(pixel_values).pooler_output + torch.rand(1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "words"), [(Undoable, "cannot be exported to ONNX"), (Drifting, "other vectors")]
)
def test_a_network_that_onnx_cannot_hold_leaves_nothing_behind(tmp_path, kind, words):
    model, processor = tiny_clip()
    with pytest.raises(UnsupportedError, match=words):
        export_onnx(Encoder(kind(model.eval()), processor), tmp_path / "onnx")
    assert not list(tmp_path.iterdir())


def test_a_full_folder_and_a_missing_package_are_refused_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(OutputExistsError, match="not an empty folder"):
        export_onnx(Encoder(*tiny_clip()), tmp_path)
    with pytest.raises(OutputExistsError, match="lies below a file"):
        export_onnx(Encoder(*tiny_clip()), tmp_path / "file" / "onnx")
    monkeypatch.setattr(exporting, "PACKAGES", ("no_such_package",))
    with pytest.raises(MissingDependencyError, match=r"no_such_package .*rsctir_hf\[onnx\]"):
        export_onnx(Encoder(*tiny_clip()), tmp_path / "onnx")


@torch.no_grad()
def test_a_gru_reads_sentences_alike_packed_or_not():
    torch.manual_seed(0)
    sizes = {"vocab_size": 20, "embedding_dim": 6, "text_hidden_size": 10}
    encoder = GRUTextEncoder(GaLRConfig(**sizes)).eval()
    ids = torch.randint(1, 20, (4, 7))
    lengths = torch.tensor([7, 3, 1, 5])
    mask = (torch.arange(7) < lengths.unsqueeze(1)).long()
    ids = ids * mask
    words = encoder.embedding_projection(encoder.embedding(ids))
    states = encoder(ids, mask).last_hidden_state
    torch.testing.assert_close(encoder._run_unpacked(words, lengths), states)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cmpagl-rs", "galr-rs"])
def test_shipped_checkpoints_give_the_same_vectors_in_onnx(name, checkpoint, tmp_path):
    loaded = Encoder.from_pretrained(checkpoint(name))
    drawn = sorted(sample_folder().glob("*.jpg"))[:40:8]
    assert len(drawn) == 5
    report = export_onnx(loaded, tmp_path / "onnx")
    assert max(report.image.largest_difference, report.text.largest_difference) < 1e-4
    images = [Image.open(file).convert("RGB") for file in drawn]
    found = run_readme(tmp_path / "onnx", TEXTS, images)
    expected = loaded.images(images).vectors.numpy()
    np.testing.assert_allclose(found["image_vectors"], expected, atol=1e-3)
    expected = loaded.texts(TEXTS).numpy()
    np.testing.assert_allclose(found["text_vectors"], expected, atol=1e-3)
