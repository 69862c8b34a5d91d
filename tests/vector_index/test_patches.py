"""Patches kept beside an index: what is lost by rounding, and what is never lost."""

import json

import pytest
import torch
from torch.nn.functional import normalize

from rsctir_hf.errors import IndexMismatchError
from rsctir_hf.vector_index.patches import PATCHES_FILE, PATCHES_FOLDER, PatchPart, PatchStore

MODEL = "0123456789abcdef"


def unit(*shape, seed=0):
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.fixture
def held():
    """Vectors and patches of six pictures."""
    return unit(6, 8), unit(6, 4, 8, seed=1)


@pytest.fixture(params=["memory", "folder"])
def store(request, tmp_path):
    return PatchStore(MODEL, tmp_path if request.param == "folder" else None)


def test_patches_come_back_by_vector_whatever_the_order(store, held):
    vectors, patches = held
    store.add(vectors[:2], patches[:2])
    store.add(vectors[2:5], patches[2:5])
    order = torch.tensor([4, 0, 3, 1])
    found = store.patches_of(vectors[order])
    # A number is off by half a step at most, and a step is 1/127 of the patch's largest number.
    step = patches[order].abs().amax(dim=-1, keepdim=True) / 127
    assert ((found - patches[order]).abs() <= step / 2 + 1e-7).all()
    assert store.missing(vectors).tolist() == [5]
    assert len(store) == 5


def test_a_picture_of_49_patches_takes_some_25_kilobytes(tmp_path):
    PatchStore(MODEL, tmp_path).add(unit(20, 512), unit(20, 49, 512))
    (file,) = (tmp_path / PATCHES_FOLDER).iterdir()
    # 49 * 512 numbers of one byte, 49 scales of four and a key of eight
    assert file.stat().st_size / 20 == pytest.approx(49 * 512 + 49 * 4 + 8, abs=20)


def test_what_is_missing_says_how_to_add_it(store, held):
    vectors, patches = held
    with pytest.raises(IndexMismatchError, match=r"no patch tokens.*--tokens"):
        store.patches_of(vectors)
    store.add(vectors[:4], patches[:4])
    with pytest.raises(IndexMismatchError, match=r"2 of the best 6 pictures.*--tokens"):
        store.patches_of(vectors)


def test_a_run_that_was_cut_short_goes_on(tmp_path, held):
    vectors, patches = held
    PatchStore(MODEL, tmp_path).add(vectors[:3], patches[:3])
    (tmp_path / PATCHES_FOLDER / "deadbeef.safetensors").write_bytes(b"half of a file")
    again = PatchStore(MODEL, tmp_path)
    assert again.missing(vectors).tolist() == [3, 4, 5]
    again.add(vectors[3:], patches[3:])
    again.drop_others(vectors)
    assert len(list((tmp_path / PATCHES_FOLDER).iterdir())) == 2
    assert torch.equal(PatchStore(MODEL, tmp_path).patches_of(vectors), again.patches_of(vectors))


def test_files_of_pictures_that_are_gone_are_removed(store, tmp_path, held):
    vectors, patches = held
    store.add(vectors[:3], patches[:3])
    store.add(vectors[3:], patches[3:])
    store.drop_others(vectors[4:5])
    assert len(store) == 3
    assert store.missing(vectors).tolist() == [0, 1, 2]
    assert len(list(tmp_path.glob("*/*"))) <= 1


def test_another_models_patches_do_not_count(tmp_path, held):
    vectors, patches = held
    PatchStore(MODEL, tmp_path).add(vectors, patches)
    assert len(PatchStore("f" * 16, tmp_path)) == 0
    assert len(PatchStore(MODEL, tmp_path)) == 6


def test_memory_moves_to_a_folder(tmp_path, held):
    vectors, patches = held
    store = PatchStore(MODEL)
    store.add(vectors, patches)
    store.move_to(tmp_path)
    assert torch.equal(PatchStore(MODEL, tmp_path).patches_of(vectors), store.patches_of(vectors))


@pytest.mark.parametrize(
    "record",
    [
        "{",
        "[]",
        json.dumps({"format": 1, "made_by": MODEL, "parts": ["../../secret"]}),
        json.dumps({"format": 1, "made_by": MODEL, "parts": ["00000000.safetensors"]}),
        json.dumps({"format": 9, "made_by": MODEL, "parts": []}),
    ],
)
def test_a_damaged_record_says_what_to_do(tmp_path, record):
    (tmp_path / PATCHES_FILE).write_text(record)
    with pytest.raises(IndexMismatchError, match=f"Remove {PATCHES_FILE}.*--tokens"):
        PatchStore(MODEL, tmp_path)


@pytest.mark.parametrize("content", [b"", b"no such file"])
def test_a_damaged_file_says_what_to_do(tmp_path, held, content):
    PatchStore(MODEL, tmp_path).add(*held)
    (file,) = (tmp_path / PATCHES_FOLDER).iterdir()
    file.write_bytes(content)
    with pytest.raises(IndexMismatchError, match="damaged"):
        PatchStore(MODEL, tmp_path)


def test_a_patch_of_nothing_stays_nothing():
    part = PatchPart.of(unit(1, 8), torch.zeros(1, 4, 8))
    assert not part.rows(torch.tensor([0])).any()
