"""Adapters are merged into the very model they were trained in; everything else is refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from rsctir_cli.commands import Export, Index, Search
from rsctir_hf.cli.index import index
from rsctir_hf.cli.search import search
from rsctir_hf.cli.sources import load_options
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import IndexMismatchError, ModelLoadError
from rsctir_hf.loading.adapters import AdapterBase, chosen_settings, write_base
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.training.adapted_layers import add_adapter
from rsctir_hf.training.recipe_args import RetrievalTrainingArguments
from tests import miniature
from tests.tiny_training import save, tiny_model, tiny_processor, tiny_rows

WORDS = ["many boats", "a road"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A base, another model of its family, and an adapter of the base."""
    root, processor = tmp_path_factory.mktemp("adapters"), tiny_processor(tiny_rows())
    model = tiny_model(processor)
    save(Encoder(model, processor), root / "base")
    nn.init.normal_(model.text_model.embeddings.word_embeddings.weight)
    save(Encoder(model, processor), root / "other")
    (root / "adapter").mkdir()
    make_adapter(root / "base", root / "adapter")
    return root


def make_adapter(base, folder, *, seed=0):
    """Write a random adapter; return the vectors of ``WORDS`` with it beside the weights."""
    started = Encoder.from_pretrained(base)
    args = RetrievalTrainingArguments(output_dir=str(folder), lora_rank=2, use_cpu=True)
    adapted = add_adapter(started.model, args)
    generator = torch.Generator().manual_seed(seed)
    for weight in adapted.weights.values():
        weight.copy_(torch.randn(weight.shape, generator=generator).mul(0.2))
    adapted.round()
    started.model.eval()
    started.config.smr_temperature = 0.23
    unmerged = started.texts(WORDS)
    adapted.merge().save(folder)
    settings = chosen_settings(started.config)
    write_base(folder, AdapterBase(str(base), None, "cmpagl", adapted.base, settings))
    return unmerged


@pytest.fixture
def adapter(folders, tmp_path):
    """A copy of the adapter that a test may spoil."""
    return shutil.copytree(folders / "adapter", tmp_path / "adapter")


def test_an_adapter_is_merged_with_what_was_chosen_for_it(folders, tmp_path):
    unmerged = make_adapter(folders / "base", tmp_path)
    loaded = Encoder.from_pretrained(folders / "base", adapter=tmp_path)
    torch.testing.assert_close(loaded.texts(WORDS), unmerged, atol=1e-5, rtol=0)
    plain = Encoder.from_pretrained(folders / "base")
    assert not torch.allclose(plain.texts(WORDS), unmerged, atol=1e-2)
    assert set(loaded.model.state_dict()) == set(plain.model.state_dict())
    assert (loaded.config.smr_temperature, plain.config.smr_temperature) == (0.23, 0.1)
    assert loaded.tower is not loaded.model  # the fast path works unchanged


def test_provenance_names_the_adapter_and_changes_with_it(folders, tmp_path):
    make_adapter(folders / "base", tmp_path, seed=1)
    made_by = [
        Encoder.from_pretrained(folders / "base", adapter=each).made_by
        for each in (None, folders / "adapter", tmp_path, folders / "adapter")
    ]
    plain, first, second, again = made_by
    assert len({each.fingerprint for each in made_by}) == 3
    assert first == again
    assert (plain.adapter, first.adapter) == (None, str(folders / "adapter"))
    assert f"with the adapter {tmp_path} (weights {second.fingerprint}" in str(second)


@pytest.fixture
def index_of_adapter(folders, adapter, tmp_path):
    pictures = miniature.write_pictures(tmp_path / "pictures", ["a.png", "b.png", "c.png"])
    asked = Index(
        model=str(folders / "base"),
        adapter=str(adapter),
        images=str(pictures),
        output=tmp_path / "index",
        as_json=True,
    )
    index(asked)
    return tmp_path / "index"


def test_an_index_opens_the_adapter_that_made_it(index_of_adapter, folders, adapter, capsys):
    capsys.readouterr()
    search(Search(place=str(index_of_adapter), text=["many boats"], as_json=True))
    said = json.loads(capsys.readouterr().out)
    assert (said["model"], said["adapter"]) == (str(folders / "base"), str(adapter))
    loaded = Retriever.load(index_of_adapter).encoder
    assert loaded.adapter.name == str(adapter)


def test_an_index_of_an_adapter_is_not_searched_without_it(index_of_adapter, folders, adapter):
    with pytest.raises(IndexMismatchError, match=rf"with the adapter {adapter} \(weights"):
        Retriever.load(index_of_adapter, adapter=None)
    with pytest.raises(IndexMismatchError, match=rf"--model {folders}/base --images"):
        Retriever.load(index_of_adapter, adapter=None)


def test_an_adapter_that_moved_is_asked_for_and_can_be_named(index_of_adapter, adapter, tmp_path):
    moved = adapter.rename(tmp_path / "moved")
    said = r"index was made with this adapter; .* --adapter \(adapter= in Python\)"
    with pytest.raises(ModelLoadError, match=said.replace("index", f"index in {index_of_adapter}")):
        Retriever.load(index_of_adapter)
    search(Search(place=str(index_of_adapter), text=["boats"], adapter=str(moved)))


def test_every_command_that_loads_a_model_takes_an_adapter(folders):
    asked = Index(model="m", adapter="a", images="sample", output=None)
    assert load_options(asked)["adapter"] == "a"
    assert Export(model="m", adapter="a", output=folders / "x").adapter == "a"


def test_an_adapter_of_another_model_is_refused_with_both_names(folders, adapter):
    with pytest.raises(ModelLoadError) as refused:
        Encoder.from_pretrained(folders / "other", adapter=adapter)
    own, other = (Encoder.from_pretrained(folders / name).fingerprint for name in ("base", "other"))
    for named in (folders / "base", folders / "other", own, other):
        assert str(named) in str(refused.value)


def test_an_adapter_of_another_family_is_refused(folders, clip_folder, adapter):
    with pytest.raises(ModelLoadError, match=r"family 'cmpagl'; .* is of family 'clip'"):
        Encoder.from_pretrained(clip_folder, adapter=adapter)
    (adapter / "base.json").unlink()  # as if PEFT alone had written it
    with pytest.raises(ModelLoadError, match=r"66 weights .* and this CLIPModel"):
        Encoder.from_pretrained(clip_folder, adapter=adapter)


def test_an_adapter_that_peft_alone_wrote_is_taken(folders, adapter):
    (adapter / "base.json").unlink()
    loaded = Encoder.from_pretrained(folders / "base", adapter=adapter)
    expected = Encoder.from_pretrained(folders / "base", adapter=folders / "adapter")
    assert torch.equal(loaded.texts(WORDS), expected.texts(WORDS))


def cut_short(file):
    file.write_bytes(file.read_bytes()[:-20])


def without_a_layer(file):
    weights = load_file(file)
    weights.pop(sorted(weights)[0])
    save_file(weights, file)


def of_another_shape(file):
    weights = load_file(file)
    name = sorted(weights)[0]
    save_file(weights | {name: weights[name][:1].contiguous()}, file)


def of_another_kind(file):
    file.write_text(json.dumps({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2}))


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("adapter_config.json", lambda file: file.unlink(), "lacks adapter_config.json"),
        ("adapter_model.safetensors", lambda file: file.unlink(), "lacks adapter_model"),
        ("adapter_model.safetensors", cut_short, "could not be loaded"),
        ("adapter_model.safetensors", without_a_layer, "1 weights of the adapter"),
        ("adapter_model.safetensors", of_another_shape, "could not be loaded"),
        ("adapter_config.json", lambda file: file.write_text("{"), "could not be loaded"),
        (
            "adapter_config.json",
            lambda file: file.write_text("{}"),
            "of the kind None; expected LoRA",
        ),
        ("adapter_config.json", of_another_kind, "of the kind .*PROMPT_TUNING"),
        ("base.json", lambda file: file.write_text("[]"), "base.json .* is damaged"),
        ("base.json", lambda file: file.write_text('{"model": "x"}'), "base.json .* is damaged"),
    ],
)
def test_a_damaged_adapter_is_refused(name, spoil, said, folders, adapter):
    spoil(adapter / name)
    with pytest.raises(ModelLoadError, match=said):
        Encoder.from_pretrained(folders / "base", adapter=adapter)


def test_a_folder_that_is_not_there_is_no_adapter(folders, tmp_path):
    with pytest.raises(ModelLoadError, match=r"neither an adapter folder.*adapter_config.json"):
        Encoder.from_pretrained(folders / "base", adapter=tmp_path / "none")


def test_an_adapter_in_the_place_of_a_model_is_told_apart(adapter):
    with pytest.raises(ModelLoadError, match="--model MODEL --adapter ADAPTER"):
        Encoder.from_pretrained(adapter)
