"""Pictures whose names are no UTF-8, through every door: indexed, kept, found and opened again."""

import json
import os
import shutil

import pytest
import torch
from PIL import Image

from rsctir_hf.embedding.dataset_rows import load_embeddings
from rsctir_hf.files.names import path_of
from rsctir_hf.files.pictures import read_image
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.vector_index.opening import open_index

LATIN_1, TEXT = os.fsdecode(b"caf\xe9"), r"caf\xe9"


@pytest.fixture
def folder(tmp_path):
    """A folder with a name that is no UTF-8, a picture with one, and one named like its text."""
    folder = tmp_path / LATIN_1
    folder.mkdir()
    for name, colour in ((LATIN_1, "red"), (TEXT, "green"), ("plain", "blue")):
        Image.new("RGB", (40, 40), colour).save(folder / f"{name}.png")
    return folder


@pytest.mark.parametrize("kept", [False, True])
def test_in_python(tiny_encoder, folder, tmp_path, kept):
    made = Retriever(tiny_encoder)
    made.index(folder, embeddings=tmp_path / "kept" if kept else None)
    made.save(tmp_path / "index")
    for place, images in ((folder, None), (tmp_path / "moved", tmp_path / "moved")):
        folder.rename(place)
        found = Retriever(tiny_encoder, index=open_index(tmp_path / "index"), images=images)
        hits = found.search(place / f"{LATIN_1}.png", top_k=3)
        written = images or rf"{tmp_path}/{TEXT}"
        assert [hit.path for hit in hits[:1]] == [rf"{written}/{TEXT}.png"]
        assert {hit.path.encode().decode() for hit in hits[1:]} == {
            rf"{written}/{name}.png" for name in (r"caf\x5cxe9", "plain")
        }
        assert hits[0].score == pytest.approx(1, abs=1e-5)
        assert found._gallery.read(hits[0].item).getpixel((0, 0)) == (255, 0, 0)
        assert all(os.path.isfile(path_of(hit.path)) for hit in hits)


def test_a_picture_is_opened_by_the_text_of_its_name(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / f"{LATIN_1}.png")
    assert read_image(tmp_path / f"{TEXT}.png").getpixel((0, 0)) == (255, 0, 0)


def test_on_the_command_line(rsctir, clip_folder, folder, tmp_path):
    index, again = tmp_path / "index", tmp_path / "again"
    for place in (index, again):
        code, out, err = rsctir(
            "index", "--model", clip_folder, "--images", folder, "--index", place
        )
        assert code == 0, err
        assert "3 pictures indexed, 0 skipped" in out
    asked = ("--image", folder / f"{TEXT}.png")
    code, out, err = rsctir("search", "--index", index, *asked, "--json")
    assert code == 0, err
    assert len(json.loads(out)["hits"]) == 3
    for query in (f"{TEXT}.png", f"{LATIN_1}.png"):
        code, out, err = rsctir("search", "--index", index, "--image", folder / query, "--json")
        assert json.loads(out.encode().decode())["hits"][0]["score"] == pytest.approx(1, abs=1e-5)
    code, out, err = rsctir("search", "--index", index, "--text", "a river")
    assert rf"/{TEXT}/{TEXT}.png" in out.encode().decode()


def test_embeddings_go_by_the_text_and_are_reused(rsctir, clip_folder, folder, tmp_path):
    for embedded in (3, 0):
        code, out, err = rsctir(
            "embed", "--model", clip_folder, "--images", folder, "--output", tmp_path / "kept"
        )
        assert code == 0, err
        assert f"{embedded} embedded" in out
    rows = load_embeddings(tmp_path / "kept")
    assert set(rows["id"]) == {rf"{TEXT}.png", r"caf\x5cxe9.png", "plain.png"}


def test_a_picture_that_is_gone_is_no_hindrance(tiny_encoder, folder):
    made = Retriever(tiny_encoder, bank=["a river", "many planes"])
    made.index(folder)
    shutil.rmtree(os.fsencode(folder))
    for rerank in ("none", "smr", "mr"):
        assert len(made.search("a river", rerank=rerank, top_k=3)) == 3


def test_a_name_with_a_line_break_is_one_line(rsctir, clip_folder, tmp_path):
    (tmp_path / "odd").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "odd" / "two\nlines.png")
    rsctir("index", "--model", clip_folder, "--images", tmp_path / "odd", "--index", tmp_path / "i")
    code, out, err = rsctir("search", "--index", tmp_path / "i", "--text", "a river")
    assert code == 0, err
    assert out.count("\n") == 1
    assert r"two\nlines.png" in out
    assert torch.is_tensor(open_index(tmp_path / "i").ids())
