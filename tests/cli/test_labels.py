"""``rsctir fit-labels``, ``search --labels`` and ``evaluate --task labels``, from end to end."""

import json

import pytest
from PIL import Image, ImageDraw

from rsctir_hf.labels.label_head import LabelHead


@pytest.fixture
def labelled(tmp_path):
    """Sixty pictures of dark ground, some with a white disc, some with a red bar, or both."""
    folder = tmp_path / "labelled"
    rows = []
    for number in range(60):
        split = "train" if number < 40 else "validation" if number < 50 else "test"
        (folder / split).mkdir(parents=True, exist_ok=True)
        picture = Image.new("RGB", (32, 32), (0, 10 + 3 * number, 60))
        draw, labels = ImageDraw.Draw(picture), []
        if number % 2:
            draw.ellipse((2, 2, 18, 18), "white")
            labels.append("white-disc")
        if number % 3:
            draw.rectangle((20, 0, 31, 31), "red")
            labels.append("bar")
        picture.save(folder / split / f"{number}.png")
        rows.append({"file_name": f"{number}.png", "split": split, "labels": labels})
    (folder / "multilabels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def fitted(rsctir, clip_folder, labelled, tmp_path):
    file = tmp_path / "head.safetensors"
    made = rsctir("fit-labels", "--model", clip_folder, "--data", labelled, "--output", file)
    assert made[0] == 0, made[2]
    return file, made[1]


@pytest.fixture
def index(rsctir, clip_folder, labelled, tmp_path):
    place = tmp_path / "index"
    asked = ("--model", clip_folder, "--images", labelled / "test", "--index", place)
    assert rsctir("index", *asked)[0] == 0
    return place


def test_a_head_is_fitted_and_found_by(rsctir, fitted, index, clip_folder):
    file, said = fitted
    assert "2 labels: bar, white-disc" in said and "fitted on 40 pictures, chosen on 10" in said
    assert LabelHead.load(file).learnt_from["pictures"] == 40
    asked = ("search", "--index", index, "--top-k", 4, "--json")
    query = ("--labels", "white disc or not (bar or white disc)", "--label-head", file)
    code, out, _ = rsctir(*asked, *query)
    found = json.loads(out)
    assert code == 0 and found["labels"] == query[1] and len(found["hits"]) == 4
    # Of the ten test pictures these have a disc, or neither.
    numbers = {int(hit["path"].rpartition("/")[2].removesuffix(".png")) for hit in found["hits"]}
    assert len(numbers & {51, 53, 54, 55, 57, 59}) >= 3
    assert all(0 <= hit["score"] <= 1 for hit in found["hits"])
    again = json.loads(rsctir(*asked[:3], "--json", "--link", found["link"])[1])
    assert again["hits"] == found["hits"]
    file.rename(clip_folder / "labels.safetensors")
    assert json.loads(rsctir(*asked, *query[:2])[1])["hits"] == found["hits"]


def test_labels_are_shown_as_lines_and_kept(rsctir, fitted, index, tmp_path):
    query = ("search", "--index", index, "--labels", "bar", "--label-head", fitted[0])
    code, out, err = rsctir(*query, "--output", tmp_path / "hits.csv")
    assert code == 0 and len(out.splitlines()) == 5 and not err
    assert (tmp_path / "hits.csv").read_text().count("\n") >= 6


def test_models_are_scored_by_words_and_by_a_head(rsctir, fitted, labelled, clip_folder, tmp_path):
    asked = ("evaluate", "--model", clip_folder, "--data", labelled, "--task", "labels")
    file = tmp_path / "report.json"
    code, out, _ = rsctir(*asked, "--output", file)
    assert code == 0 and "10 pictures, asked by words" in out and "mAP of 2 labels" in out
    words = json.loads(file.read_text())
    assert words["asked_by"] == "words" and words["queries"]["pictures_mAP"] == 9
    head = json.loads(rsctir(*asked, "--label-head", fitted[0], "--json")[1])
    assert head["labels_mAP"] > 85
    assert head["pictures_mAP"] == pytest.approx(words["pictures_mAP"])
    assert set(head["by_label"]) == {"bar", "white-disc"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--labels", "disk"), "No label is called 'disk'"),
        (("--labels", "bar and not bar"), "'bar' is wanted and not wanted"),
        (("--labels", "bar and"), "a label is missing at the end"),
        (("--labels", ""), "expected an expression"),
        (("--labels", "bar", "--text", "a river"), "--labels asks alone"),
        (("--labels", "bar", "--good", "51.png"), "--labels asks alone"),
        (("--labels", "bar", "--rerank", "smr"), "--rerank smr is not for labels"),
        ((), "--label-head is about labels"),
    ],
)
def test_searches_that_make_no_sense_are_refused(rsctir, fitted, index, more, said):
    code, _, err = rsctir("search", "--index", index, "--label-head", fitted[0], *more)
    assert code == 2 and said in err


def test_fits_and_scores_that_make_no_sense_are_refused(rsctir, labelled, clip_folder, tmp_path):
    fit = ("fit-labels", "--model", clip_folder, "--output", tmp_path / "h.safetensors")
    code, _, err = rsctir(*fit, "--data", labelled, "--split", "none")
    assert code == 2 and "has no split 'none'; it has test, train, validation" in err
    code, _, err = rsctir(*fit, "--data", tmp_path / "nowhere")
    assert code == 2 and "holds no table of labels" in err
    score = ("evaluate", "--model", clip_folder, "--data", labelled)
    code, _, err = rsctir(*score, "--task", "labels", "--rerank", "smr")
    assert code == 2 and "the other options are about captions" in err
    code, _, err = rsctir(*score, "--label-head", tmp_path / "h.safetensors")
    assert code == 2 and "--label-head is that of --task labels" in err
    assert not (tmp_path / "h.safetensors").exists()
