"""CONTRIBUTING.md's worked examples, run as they stand there."""

import importlib.util
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from rsctir_hf.data import benchmarks
from rsctir_hf.files.pictures import list_images
from rsctir_hf.models.cmpagl import CMPAGLConfig, CMPAGLModel
from rsctir_hf.models.galr import GaLRConfig, GaLRModel
from rsctir_hf.sample import sample_folder
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.training.recipe_args import parse_recipe
from rsctir_hf.training.start import build_model
from rsctir_hf.vector_index import opening
from tests.tiny_recipes import TINY
from tests.ui.tiny_models import save_models
from tests.vector_index.test_memory_engines import InMemory

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = {
    name: block
    for block, name in re.findall(r"```(?:python|yaml)\n(# (\S+)\n.*?)```", TEXT, re.DOTALL)
}
TINY_GALR = {"mvsa_grid": 2, "max_regions": 4, "region_dim": 8, "graph_dims": (8, 8)}
TINY_GALR |= {"fusion_dim": 8, "projection_dim": 8}


def imported(name, folder):
    """Save an example under its name and import it."""
    file = folder / name
    file.write_text(BLOCKS[name], encoding="utf-8")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    before = dict(opening.ENGINES)
    yield imported("my_engine.py", tmp_path_factory.mktemp("engine"))
    opening.ENGINES.clear()
    opening.ENGINES.update(before)


def test_every_example_is_short():
    assert set(BLOCKS) == {
        "training/recipes/galr_ucm_convnext.yaml",
        "my_backbone.py",
        "my_benchmark.py",
        "my_engine.py",
        "tests/vector_index/test_half.py",
    }
    assert max(block.count("\n") for block in BLOCKS.values()) < 40
    backbone = BLOCKS["training/recipes/galr_ucm_convnext.yaml"] + BLOCKS["my_backbone.py"]
    engine = BLOCKS["my_engine.py"] + BLOCKS["tests/vector_index/test_half.py"]
    assert max(backbone.count("\n"), engine.count("\n")) < 40


def test_the_recipe_builds_a_model_on_that_backbone(tmp_path):
    shutil.copy(ROOT / "training" / "recipes" / "galr_ucm.yaml", tmp_path)
    recipe = tmp_path / "galr_ucm_convnext.yaml"
    recipe.write_text(BLOCKS["training/recipes/galr_ucm_convnext.yaml"])
    flags = {**TINY, "output_dir": str(tmp_path / "out"), "image_weights": "none"}
    del flags["frozen_epochs"], flags["lr_factors"]  # as the recipe has them
    arguments = parse_recipe([str(recipe), *(w for k, v in flags.items() for w in (f"--{k}", v))])
    model = build_model(arguments[0], [["a pier"]]).model
    assert model.config.backbone == "convnext_atto"
    assert type(model.backbone).__name__ == "ConvNeXt"
    assert model.config.text_encoder_type == "bert", "the rest is the recipe it extends"
    parts = dict(model.named_modules())
    assert set(arguments[2].frozen_epochs) <= set(parts)
    assert set(arguments[2].lr_factors) <= set(parts)


def test_a_network_of_ones_own_is_the_tower_of_either_family(tmp_path):
    name = imported("my_backbone.py", tmp_path).config.backbone
    torch.manual_seed(0)
    model = GaLRModel(GaLRConfig(backbone=name, image_size=64, vocab_size=20, **TINY_GALR)).eval()
    pixels = torch.rand(2, 3, 64, 64)
    model.save_pretrained(tmp_path / "model")
    again = GaLRModel.from_pretrained(tmp_path / "model").eval()
    with torch.no_grad():
        vectors, same = (each.get_image_features(pixels).pooler_output for each in (model, again))
    assert vectors.shape == (2, 8)
    torch.testing.assert_close(vectors, same)
    stem = CMPAGLConfig(stem=name, image_size=64, embed_dim=8, depths=[1, 1], num_heads=[2, 2])
    assert type(CMPAGLModel(stem).image_model.stem).__name__ == "ResNet"


def test_the_benchmark_is_loaded_and_scored(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmarks, "BENCHMARKS", dict(benchmarks.BENCHMARKS))
    save_models(tmp_path)
    folder = tmp_path / "town" / "test"
    folder.mkdir(parents=True)
    lines = []
    for number, picture in enumerate(list_images(sample_folder())[:24]):
        Image.open(picture).resize((64, 64)).save(folder / f"{number}.png")
        lines.append({"file_name": f"{number}.png", "captions": [f"a pier with {number} boats"]})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    example = imported("my_benchmark.py", tmp_path)
    model = next(each.parent for each in tmp_path.rglob("config.json"))
    assert 0 <= example.score(str(model), str(tmp_path / "town")) <= 100
    assert benchmarks.BENCHMARKS["town"].images["test"] == len(lines)


def test_the_engine_is_taken_by_name_and_loaded_again(
    engine, clip_folder, picture_folder, tmp_path
):
    retriever = Retriever.from_pretrained(clip_folder, engine="half")
    retriever.index(picture_folder)
    retriever.save(tmp_path / "index")
    assert type(Retriever.load(tmp_path / "index", model=clip_folder).engine) is engine.HalfIndex


class TestHalf(InMemory):
    """What CONTRIBUTING.md's own test class inherits."""

    tolerance = float(re.search(r"tolerance = (\S+)", TEXT)[1])

    @pytest.fixture(autouse=True)
    def made(self, engine):
        type(self).made_by = engine.HalfIndex
