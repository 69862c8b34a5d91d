"""``rsctir embed``, and ``rsctir index`` by way of the same folder, in this process."""

import json
import re
import shlex
import sys
from dataclasses import asdict, replace

import datasets
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, CLIPModel

from rsctir_cli.main import main
from rsctir_hf.cli import sources
from rsctir_hf.cli.embed import device_of_this_process
from rsctir_hf.embedding import encode
from rsctir_hf.embedding.dataset_rows import load_embeddings
from rsctir_hf.embedding.provenance import check_same_model
from rsctir_hf.embedding.store import EmbeddingStore, read_record
from rsctir_hf.errors import IndexMismatchError
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.vector_index.opening import open_index
from tests.geo.rasters import write
from tests.scene.conftest import FIELD, fields


@pytest.fixture
def rsctir(monkeypatch, capsys, clip_folder):
    """Run a command with the tiny CLIP; return exit code, standard output and standard error."""

    def run(command, *arguments):
        given = () if command == "search" or "--model" in arguments else ("--model", clip_folder)
        line = ["rsctir", command, *given, *arguments]
        monkeypatch.setattr(sys, "argv", [str(each) for each in line])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return left.value.code, captured.out, captured.err

    return run


def test_a_second_run_embeds_only_what_is_new(rsctir, picture_folder, tmp_path):
    (picture_folder / "broken.png").touch()
    output = tmp_path / "out"
    options = ["--images", picture_folder, "--output", output, "--batch-size", 3, "--workers", 0]
    code, out, err = rsctir("embed", *options)
    assert (code, out) == (0, f"8 pictures in {output}: 8 embedded, 0 as they were, 1 skipped.\n")
    assert "skipped: broken.png is empty" in err
    Image.new("RGB", (40, 40), "pink").save(picture_folder / "pink.png")
    code, out, _ = rsctir("embed", *options)
    assert (code, out) == (0, f"9 pictures in {output}: 1 embedded, 8 as they were, 1 skipped.\n")
    assert "pink.png" in load_embeddings(output)["id"]


def test_other_options_on_the_same_folder_are_one_line_and_code_2(rsctir, picture_folder, tmp_path):
    options = ["--images", picture_folder, "--output", tmp_path / "out"]
    rsctir("embed", *options)
    code, out, err = rsctir("embed", *options, "--dtype", "float16")
    assert (code, out) == (2, "")
    assert "error: " in err and "float32); this run would add those of" in err


def test_nothing_readable_is_an_error(rsctir, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "broken.png").touch()
    code, _, err = rsctir("embed", "--images", tmp_path / "pictures", "--output", tmp_path / "out")
    assert code == 2
    assert "None of the pictures" in err


def test_rows_of_the_hub_are_embedded_by_their_names(rsctir, picture_folder, tmp_path, monkeypatch):
    paths = [str(picture_folder / name) for name in ("red.png", "blue.png")]
    table = datasets.Dataset.from_dict({"image": paths, "file_name": ["a/red.png", "a/blue.png"]})
    asked = []

    def split_from_hub(name, split):
        asked.append((name, split))
        return table.cast_column("image", datasets.Image())

    monkeypatch.setattr(sources, "split_from_hub", split_from_hub)
    output = tmp_path / "out"
    code, _, _ = rsctir("embed", "--images", "owner/set", "--split", "test", "--output", output)
    assert (code, asked) == (0, [("owner/set", "test")])
    assert load_embeddings(output)["id"] == ["a/red.png", "a/blue.png"]


def test_a_folder_that_is_not_there_is_named(rsctir, tmp_path):
    missing = tmp_path / "missing"
    code, _, err = rsctir("embed", "--images", missing, "--output", tmp_path / "out")
    assert code == 2
    assert f"{missing} does not exist" in err


def test_an_index_keeps_its_vectors_beside_it(rsctir, picture_folder, tmp_path, monkeypatch):
    options = ["--images", picture_folder, "--index", tmp_path / "index"]
    assert rsctir("index", *options)[0] == 0
    assert len(load_embeddings(tmp_path / "index")) == 8
    (picture_folder / "red.png").unlink()
    asked = []
    monkeypatch.setattr(
        encode, "embed_prepared", lambda model, batch: asked.extend(batch.kept) or ()
    )
    code, out, _ = rsctir("index", *options)
    assert (code, out.split(",")[0], asked) == (0, "7 pictures indexed", [])


def test_each_process_of_a_machine_has_a_device_of_its_own(monkeypatch):
    assert device_of_this_process("cuda") == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device_of_this_process("cuda") == "cuda:1"
    assert device_of_this_process("cpu") == "cpu"


def test_names_that_are_no_text_are_written_and_printed(rsctir, picture_folder, tmp_path):
    output = tmp_path / "\udcff"
    code, out, _ = rsctir("embed", "--images", picture_folder, "--output", output)
    assert code == 0
    assert r"\udcff: 8 embedded" in out


@pytest.fixture
def other_model(clip_folder, tmp_path):
    """The tiny CLIP with other weights: what an update of a shipped model looks like."""
    model, folder = CLIPModel.from_pretrained(clip_folder), tmp_path / "other model"
    with torch.no_grad():
        model.visual_projection.weight.add_(torch.randn_like(model.visual_projection.weight))
    model.save_pretrained(folder)
    AutoProcessor.from_pretrained(clip_folder).save_pretrained(folder)
    return folder


def command_in(err):
    """Return the command that a message names, without ``rsctir``."""
    return shlex.split(re.search(r"again: rsctir (.*)$", err.strip()).group(1))


def test_search_with_other_weights_names_the_command_that_embeds_all_again(
    rsctir, other_model, picture_folder, tmp_path
):
    index = tmp_path / "an index"
    rsctir("index", "--images", picture_folder, "--index", index)
    asked = ["--index", index, "--text", "a river"]
    code, out, err = rsctir("search", *asked, "--model", other_model)
    assert (code, out) == (2, "")
    named = command_in(err)
    assert named[:3] == ["index", "--model", str(other_model)] and named[-1] == "--rebuild"
    assert rsctir(*named)[0] == 0
    code, out, _ = rsctir("search", *asked, "--model", other_model)
    assert (code, len(out.splitlines())) == (0, 5)
    assert read_record(index).made_by.model_id == str(other_model)


def test_an_index_of_another_model_serves_until_the_new_one_is_whole(
    rsctir, other_model, picture_folder, tmp_path, monkeypatch
):
    index = tmp_path / "index"
    options = ["--images", picture_folder, "--index", index]
    rsctir("index", *options)
    older = Retriever.load(index).search("a river")
    here = [*options, "--model", other_model]
    code, _, err = rsctir("index", *here)
    assert code == 2 and "Run the same command with --rebuild" in err
    with monkeypatch.context() as broken:
        broken.setattr(EmbeddingStore, "finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            rsctir("index", *here, "--rebuild")
    assert Retriever.load(index).search("a river") == older
    asked = []
    monkeypatch.setattr(encode, "embed_prepared", lambda _, batch: asked.extend(batch.kept) or ())
    assert rsctir("index", *here, "--rebuild")[0] == 0 and asked == []  # goes on where it stopped
    named = json.loads((index / "index.json").read_text())["shards"]
    assert {path.name for path in (index / "shards").iterdir()} == set(named)


def test_no_vector_of_the_older_model_is_left_in_a_rebuilt_index(
    rsctir, other_model, picture_folder, tmp_path
):
    index, other = tmp_path / "index", Retriever.from_pretrained(other_model)
    rsctir("index", "--images", picture_folder, "--index", index)
    aside = (picture_folder / "red.png").rename(tmp_path / "red.png")
    here = ["--images", picture_folder, "--index", index, "--model", other_model]
    assert rsctir("index", *here, "--rebuild")[0] == 0
    aside.rename(picture_folder / "red.png")  # its content was known to the older model
    assert rsctir("index", *here)[0] == 0
    other.index(picture_folder)
    hits = Retriever.load(index).search("a river", top_k=8)
    expected = other.search("a river", top_k=8)
    assert [hit.path for hit in hits] == [hit.path for hit in expected]
    assert [h.score for h in hits] == pytest.approx([h.score for h in expected], abs=1e-6)


def tiles_of(index):
    opened = open_index(index)
    return {entry.metadata["path"] for entry in opened.entries_of(opened.ids())}


@pytest.mark.parametrize(
    ("options", "kept"), [([], 0.25), (["--overlap", 0, "--gsd", 0.5, "--bands", "3,2,1"], 0.0)]
)
def test_an_index_of_rasters_is_made_again_from_rasters_cut_alike(
    rsctir, other_model, tmp_path, options, kept
):
    index, folder = tmp_path / "index", tmp_path / "my rasters"
    folder.mkdir()
    write(folder / "town.tif", fields(4, 2))
    rsctir("index", "--rasters", folder, "--index", index, "--tile", FIELD, *options)
    before = tiles_of(index)
    code, _, err = rsctir("search", "--index", index, "--text", "x", "--model", other_model)
    named = command_in(err)
    assert code == 2 and named[named.index("--rasters") + 1] == str(folder)
    assert f"--overlap={kept}" in named and "--images" not in named
    assert rsctir(*named)[0] == 0
    assert tiles_of(index) == before
    assert read_record(index).made_by.model_id == str(other_model)


def test_a_model_of_the_hub_is_named_with_its_revision_and_a_server_in_words(clip_folder):
    made = Retriever.from_pretrained(clip_folder).encoder.made_by
    here = replace(made, model_id="owner/name", model_revision="0a1b2c", fingerprint="other")
    record = {**asdict(made), "root": "pictures"}
    with pytest.raises(IndexMismatchError) as caught:
        check_same_model(record, here, "folder")
    model = "rsctir index --model owner/name --revision 0a1b2c --images pictures --regions none"
    assert str(caught.value).endswith(f"embed all again: {model} --index folder --rebuild")
    with pytest.raises(IndexMismatchError) as caught:
        check_same_model(record, here, "postgresql://host/base?table=old")
    words = "embed all again, into another table or collection named in URI"
    assert str(caught.value).endswith(f"{words}: {model} --engine URI")


@pytest.mark.parametrize("spoilt", ['"format": 0', '"format": 1,,'])
def test_embeddings_of_an_older_format_are_made_again_by_the_same_command(
    rsctir, picture_folder, tmp_path, spoilt
):
    options = ["--images", picture_folder, "--output", tmp_path / "out"]
    rsctir("embed", *options)
    record = tmp_path / "out" / "embeddings.json"
    record.write_text(record.read_text().replace('"format": 1', spoilt))
    code, _, err = rsctir("embed", *options)
    assert code == 2 and "Run the command that made it again, with --rebuild" in err
    code, out, _ = rsctir("embed", *options, "--rebuild")
    assert code == 0 and "8 embedded, 0 as they were" in out
    assert len(load_embeddings(tmp_path / "out")) == 8


def test_a_server_makes_a_new_table_instead_of_a_rebuild(rsctir, picture_folder):
    options = ["--images", picture_folder, "--engine", "postgresql://nobody@host/none"]
    code, _, err = rsctir("index", *options, "--rebuild")
    assert code == 2 and "name another table or collection" in err
