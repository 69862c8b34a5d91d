"""``rsctir embed``, and ``rsctir index`` by way of the same folder, in this process."""

import sys

import datasets
import pytest
from PIL import Image

from rsctir_cli.main import main
from rsctir_hf.cli import sources
from rsctir_hf.cli.embed import device_of_this_process
from rsctir_hf.embedding import pipeline
from rsctir_hf.embedding.dataset_rows import load_embeddings


@pytest.fixture
def rsctir(monkeypatch, capsys, clip_folder):
    """Run a command with the tiny CLIP; return exit code, standard output and standard error."""

    def run(command, *arguments):
        line = ["rsctir", command, "--model", clip_folder, *arguments]
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
        pipeline, "embed_prepared", lambda model, batch: asked.extend(batch.kept) or ()
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
