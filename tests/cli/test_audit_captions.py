"""``rsctir audit-captions`` from end to end."""

import json
import shutil

import pytest

from rsctir_hf.data.left_out import read_pairs
from rsctir_hf.sample import sample_folder
from tests.conftest import ROOT
from tests.miniature import write_imagefolder


@pytest.fixture
def data(tmp_path):
    return write_imagefolder(tmp_path / "mine", {"train": 24})


def test_page_and_list_stand_in_a_new_folder(rsctir, clip_folder, data, tmp_path):
    command = ("audit-captions", "--model", clip_folder, "--data", data)
    output = ("--output", tmp_path / "audit")
    code, out, err = rsctir(*command, *output, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["pictures"] == 24
    listed = read_pairs(tmp_path / "audit" / "looks_wrong.csv")
    assert len(listed) == len({(s["picture"], s["caption"]) for s in found["suspects"]})
    assert (tmp_path / "audit" / "report.html").read_text().startswith("<!doctype html>")
    code, _, err = rsctir(*command, *output)
    assert code == 2 and "exists and is not an empty folder" in err


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_split_that_is_not_there_leaves_no_folder(rsctir, clip_folder, data, tmp_path, split):
    output = tmp_path / "audit"
    code, _, err = rsctir(
        *("audit-captions", "--model", clip_folder, "--data", data),
        *("--split", split, "--output", output),
    )
    assert code == 2 and f"There is no split {split!r}, only train" in err
    assert not output.exists()
    assert not list(tmp_path.glob(".audit*"))


@pytest.mark.slow
def test_a_shipped_model_finds_the_captions_that_were_mixed_up(rsctir, tmp_path):
    """The drawn gallery with every fifth picture's captions given to another; 80 % of both."""
    folder = tmp_path / "mixed"
    shutil.copytree(sample_folder(), folder)
    file = folder / "metadata.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    mixed = rows[::5]
    said = [row["captions"] for row in mixed]
    wrong = set()
    far = len(said) // 2  # rows of one kind stand together
    for row, captions in zip(mixed, [*said[far:], *said[:far]], strict=True):
        wrong |= set() if set(captions) & set(row["captions"]) else {row["file_name"]}
        row["captions"] = captions
    file.write_text("\n".join(map(json.dumps, rows)))
    code, out, err = rsctir(
        *("audit-captions", "--model", ROOT / "checkpoints" / "galr-rs", "--data", folder),
        *("--output", tmp_path / "audit", "--json"),
    )
    assert code == 0, err
    listed = [each["picture"] for each in json.loads(out)["suspects"]]
    pairs = {row["file_name"]: len(row["captions"]) for row in rows}
    right = sum(name in wrong for name in listed)
    assert right >= 0.8 * len(listed)
    assert right >= 0.8 * sum(pairs[name] for name in wrong)
