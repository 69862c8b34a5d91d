"""The command line from end to end, in this process, with a tiny CLIP."""

import json
import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from rsctir_hf.data.benchmarks import BENCHMARKS
from rsctir_hf.hub.card_tables import data_title
from rsctir_hf.search.confidence import Level
from rsctir_hf.vector_index.opening import open_index
from tests.miniature import write_imagefolder, write_karpathy
from tests.tiny_detectors import save_detector
from tests.tiny_galr import tiny_galr

CAPTIONS = {"red": "a river", "green": "green tennis courts", "blue": "boats beside a pier"}


@pytest.fixture
def captioned_folder(tmp_path, picture_folder):
    folder = tmp_path / "captioned"
    (folder / "test").mkdir(parents=True)
    lines = []
    for colour, caption in CAPTIONS.items():
        shutil.copy(picture_folder / f"{colour}.png", folder / "test")
        lines.append(json.dumps({"file_name": f"{colour}.png", "captions": [caption]}))
    (folder / "test" / "metadata.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture
def bank_file(tmp_path):
    file = tmp_path / "bank.txt"
    file.write_text("# our bank\na river\n\nmany planes\ntennis courts\n", encoding="utf-8")
    return file


@pytest.fixture
def index_folder(rsctir, clip_folder, picture_folder, tmp_path):
    (picture_folder / "broken.png").touch()
    target = tmp_path / "index"
    code, out, err = rsctir(
        "index", "--model", clip_folder, "--images", picture_folder, "--index", target
    )
    assert code == 0
    assert "8 pictures indexed" in out and "1 skipped" in out
    assert "broken.png is empty" in err
    return target


def test_evaluate_prints_a_table_and_writes_json(rsctir, clip_folder, captioned_folder, tmp_path):
    file = tmp_path / "new" / "report.json"
    code, out, _ = rsctir(
        "evaluate", "--model", clip_folder, "--data", captioned_folder, "--output", file
    )
    assert code == 0
    assert "i2t_R@1" in out and "caption-aware" in out
    assert "95 % bootstrap interval over pictures" in out and "views" not in out
    report = json.loads(file.read_text())
    assert {"i2t_R@1", "t2i_R@10", "mR", "seed", "model_revision", "regions"} <= set(report)
    assert (report["images"], report["captions"], report["split"]) == (3, 3, "test")
    assert report["model_revision"].startswith("weights:")
    assert report["data"] == str(captioned_folder)
    assert report["symmetries"] == 1
    assert len(report["per_image"]) == 3 and len(report["interval"]) == 2
    assert file.read_text().count("\n") < 80  # a picture is one line, not one line a number


@pytest.mark.parametrize(
    ("data", "named"),
    [("ucm", "./ucm"), ("rsod", "./rsod"), ("mine", "mine"), ("sample", "sample")],
)
def test_own_data_pass_for_no_set_of_the_same_name(
    rsctir, clip_folder, captioned_folder, tmp_path, monkeypatch, data, named
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(captioned_folder, data)
    code, out, err = rsctir("evaluate", "--model", clip_folder, "--data", data, "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["data"] == named
    assert data_title(report) not in {each.title for each in BENCHMARKS.values()} | {
        "RSOD (subset)"
    }


def test_evaluate_averages_over_eight_symmetries(rsctir, clip_folder, captioned_folder, tmp_path):
    file = tmp_path / "report.json"
    options = ("--data", captioned_folder, "--symmetries", 8, "--output", file)
    code, out, err = rsctir("evaluate", "--model", clip_folder, *options)
    assert code == 0, err
    assert "8 views of each picture" in out
    assert json.loads(file.read_text())["symmetries"] == 8


def test_evaluate_puts_nothing_but_json_on_standard_output(
    rsctir, clip_folder, captioned_folder, bank_file
):
    options = ("--data", captioned_folder, "--rerank", "smr", "--bank", bank_file, "--json")
    code, out, _ = rsctir("evaluate", "--model", clip_folder, *options)
    report = json.loads(out)
    assert code == 0
    assert report["bank_size"] == 3
    cells, mixed = [key for key in report if "R@" in key], report["bank_metrics"]
    for key in cells[:3]:  # i2t: as on the full matrix
        assert key.startswith("i2t") and mixed[key] == report[key]
    assert mixed["mR"] == pytest.approx(sum(mixed[key] for key in cells) / 6)
    assert report["seed"] is None


def test_search_by_words_and_by_picture(rsctir, index_folder, picture_folder, bank_file):
    code, out, _ = rsctir(
        *("search", "--index", index_folder, "--text", "a river", "--top-k", 3),
        *("--rerank", "smr", "--bank", bank_file, "--json"),
    )
    answer = json.loads(out)
    assert code == 0
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3]
    assert answer["model_revision"].startswith("weights:") and answer["regions"] == "none"
    assert "torch" in answer["versions"]
    assert (
        answer["rerank"] == "smr" and answer["confidence"] in list(Level) and answer["hint"] is None
    )
    code, out, _ = rsctir(
        *("search", "--index", index_folder, "--image", picture_folder / "red.png"),
        *("--bank", bank_file),
    )
    assert code == 0
    assert out.splitlines()[0].endswith("red.png")
    assert len(out.splitlines()) == 5


def test_a_foreign_query_is_answered_with_a_hint(rsctir, index_folder, bank_file):
    code, out, err = rsctir("search", "--index", index_folder, "--text", "🚢", "--bank", bank_file)
    assert code == 0
    assert "trained on English captions" in err
    assert len(out.splitlines()) == 5


def test_caption_finds_sentences_of_the_bank(rsctir, clip_folder, picture_folder, bank_file):
    code, out, _ = rsctir(
        *("caption", "--model", clip_folder, "--image", picture_folder / "red.png"),
        *("--bank", bank_file, "--json"),
    )
    assert code == 0
    found = {hit["caption"] for hit in json.loads(out)["hits"]}
    assert found == {"a river", "many planes", "tennis courts"}


def test_foreseen_errors_are_one_line_and_exit_code_two(
    rsctir, clip_folder, index_folder, captioned_folder, bank_file, tmp_path
):
    (tmp_path / "nothing").mkdir()
    (tmp_path / "broken.png").touch()
    (tmp_path / "dataset_UCM.json").write_text('{"images": [')
    latin = tmp_path / "latin" / "test"
    latin.mkdir(parents=True)
    (latin / "metadata.jsonl").write_bytes(b'{"file_name": "a.png", "captions": ["caf\xe9"]}')
    twice = write_imagefolder(tmp_path / "twice", {"test": 2}) / "test"
    (twice / "other").mkdir()
    (twice / "scene01.png").rename(twice / "other" / "scene00.png")
    lines = (twice / "metadata.jsonl").read_text().replace("scene01", "other/scene00")
    (twice / "metadata.jsonl").write_text(lines)
    into = ("convert", "--benchmark", "ucm", "--output", tmp_path / "o", "--data")
    part = write_karpathy(tmp_path / "part")
    bank, kept = ("--bank", bank_file), index_folder / "index.json"
    evaluate = ("evaluate", "--model", clip_folder)
    index = ("index", "--model", clip_folder, "--index", tmp_path / "i", "--images")
    cases = [
        (("search", "--index", tmp_path / "absent", "--text", "a", *bank), "rsctir index"),
        (("search", "--index", index_folder, *bank), "no query"),
        (("search", "--index", index_folder, "--text", " ", *bank), "query is empty"),
        (("search", "--index", index_folder, "--text", "a", "--top-k", 0, *bank), "1 or more"),
        (("search", "--index", index_folder, "--text", "a", "--bank", tmp_path / "x"), "bank"),
        (
            ("search", "--index", index_folder, "--image", tmp_path / "broken.png", *bank),
            "0 bytes",
        ),
        (("search", "--index", index_folder, "--text", "a", "--rerank", "match", *bank), "match()"),
        ((*evaluate, "--data", tmp_path / "absent"), "neither a folder nor a Hub id"),
        ((*evaluate, "--data", captioned_folder, "--split", "train"), "train"),
        ((*evaluate, "--data", captioned_folder, "--benchmark", "cars"), "ucm, rsicd"),
        (("evaluate", "--model", tmp_path / "m", "--data", captioned_folder), "model folder"),
        ((*index, tmp_path / "nothing"), "holds no picture"),
        ((*index, tmp_path / "absent"), "does not exist"),
        (("caption", "--model", clip_folder, "--image", tmp_path / "no.png", *bank), "not a file"),
        (("push", "--model", tmp_path / "nothing", "--repo", "a/b"), "lacks config.json"),
        ((*evaluate, "--data", captioned_folder, "--split", "tset"), "tset"),
        (
            (*evaluate, "--data", captioned_folder, "--benchmark", "ucm", "--split", "tset"),
            "expected train, validation, test",
        ),
        (
            (*evaluate, "--data", captioned_folder, "--benchmark", "rsitmd"),
            "is not RSITMD test: it holds pictures that RSITMD does not have",
        ),
        ((*into, part), "--partial of rsctir convert"),
        ((*into, part, "--private"), "--private is about --push"),
        ((*into, part, "--data_name", "mine"), "--data_name, --data_licence and --data_source are"),
        (
            ("convert", "--data", captioned_folder, "--push", "a/b", "--data-name", "RSICD"),
            "readers of its card would take for another set",
        ),
        ((*evaluate, "--data", captioned_folder, "--device", "nonsense"), "device 'nonsense'"),
        ((*evaluate, "--data", captioned_folder, "--symmetries", 4), "symmetries is 4"),
        ((*evaluate, "--data", tmp_path / "latin"), "not UTF-8"),
        ((*into, tmp_path / "dataset_UCM.json"), "not a Karpathy-style caption file"),
        ((*into, twice.parent), "two pictures named scene00.png"),
        ((*evaluate, "--data", captioned_folder, "--temperature", 1), "that of --rerank smr"),
        (
            ("search", "--index", index_folder, "--text", "a", "--output", kept),
            "index.json would be written over",
        ),
        (("leakage", captioned_folder, tmp_path / "absent"), "does not exist"),
        (("leakage", f"{captioned_folder}:tset"), "tset"),
        (("card", "--model", clip_folder), "results.json is missing"),
        (("convert", "--benchmark", "cars", "--data", "x", "--output", tmp_path / "o"), "ucm"),
    ]
    for arguments, message in cases:
        code, out, err = rsctir(*arguments)
        last = err.strip().splitlines()[-1]
        assert (code, out) == (2, ""), arguments
        assert last.startswith("error: ") and message in last, (arguments, err)
        assert "Traceback" not in err


def test_an_unknown_rerank_is_refused_with_the_choices(rsctir, index_folder):
    code, _, err = rsctir("search", "--index", index_folder, "--text", "a", "--rerank", "best")
    assert code == 2
    assert "match" in err


def test_convert_writes_what_evaluate_reads(rsctir, captioned_folder, clip_folder, tmp_path):
    target = tmp_path / "converted"
    code, out, _ = rsctir(
        *("convert", "--benchmark", "sydney", "--data", captioned_folder, "--output", target),
        "--partial",
    )
    assert code == 0 and "test 3" in out
    assert rsctir("evaluate", "--model", clip_folder, "--data", target)[0] == 0


def test_a_folder_may_have_an_equals_sign_in_its_name(rsctir, captioned_folder, tmp_path):
    place = tmp_path / "year=2020"
    shutil.copytree(captioned_folder, place)
    assert rsctir("leakage", place)[0] in (0, 1)


def test_leakage_reports_a_picture_in_two_data_sets_by_its_exit_code(rsctir, tmp_path):
    one = write_imagefolder(tmp_path / "one", {"train": 3, "test": 2})
    code, out, _ = rsctir("leakage", one)
    assert code == 0
    assert f"{one}:train 3, {one}:test 2" in out
    other = write_imagefolder(tmp_path / "other", {"test": 1})  # the first picture of `one`
    code, out, _ = rsctir("leakage", f"{one}:train", f"{other}:test")
    assert code == 1
    assert "in two data sets: 1 pairs" in out
    assert f"{one}:train/scene00.png = {other}:test/scene00.png (same file)" in out
    code, out, err = rsctir("leakage", f"ucm={one}:test", other / "test")
    assert code == 0, err


def test_card_is_written_from_the_results_files(rsctir, clip_folder, captioned_folder, tmp_path):
    evaluate = ("evaluate", "--model", clip_folder, "--data", captioned_folder, "--output")
    rsctir(*evaluate, clip_folder / "results.json")
    rsctir(*evaluate, tmp_path / "smr.json", "--rerank", "smr")
    template = tmp_path / "card.md"
    template.write_text("---\nlicense: other\n---\n$model_name, seed $seed\n\n$results_table\n")
    options = ("--results", tmp_path / "smr.json", "--name", "org/x", "--template", template)
    code, out, err = rsctir("card", "--model", clip_folder, *options)
    assert code == 0, err
    assert out.strip() == str(clip_folder / "README.md")
    text = (clip_folder / "README.md").read_text()
    assert "x, seed not recorded" in text
    assert "| captioned | test | none |" in text and "| captioned | test | smr |" in text
    assert "research only" in (clip_folder / "LICENSE").read_text()
    code, _, err = rsctir("card", "--model", clip_folder, *options, "--data_licence", "mit")
    assert code == 2 and "its record names no own data" in err
    results = json.loads((clip_folder / "results.json").read_text())
    own = {"captioned": {"name": "captioned", "licence": None, "source": None}}
    results |= {"own_data": own, "training_sets": {"captioned": 3}}
    (clip_folder / "results.json").write_text(json.dumps(results))
    template.write_text("---\nlicense: other\n---\n$training_data\n")
    said = ("--data_name", "Harbours", "--data_licence", "mit", "--data-source", "our drone")
    assert rsctir("card", "--model", clip_folder, "--template", template, *said)[0] == 0
    text = (clip_folder / "README.md").read_text()
    assert "- Harbours, 3 training pictures of own data. Source: our drone. Licence: mit." in text


@pytest.mark.slow
def test_module_and_script_are_the_same_program():
    done = subprocess.run(
        [sys.executable, "-m", "rsctir_hf", "--help"], capture_output=True, text=True, check=True
    )
    for command in ("evaluate", "index", "search", "caption", "convert", "leakage", "card", "push"):
        assert command in done.stdout


@pytest.fixture
def galr_folder(tmp_path):
    for part in tiny_galr(CAPTIONS.values()):
        part.save_pretrained(tmp_path / "galr")
    return tmp_path / "galr"


def test_index_search_and_evaluate_with_a_detector(
    rsctir, galr_folder, picture_folder, captioned_folder, bank_file, tmp_path
):
    detector = save_detector(tmp_path / "detector")
    target, report = tmp_path / "index", tmp_path / "report.json"
    found_by = ("--regions", detector, "--threshold", 0.1)
    code, _, err = rsctir(
        *("index", "--model", galr_folder, "--images", picture_folder, "--index", target),
        *found_by,
    )
    assert code == 0, err
    record = json.loads((target / "index.json").read_text())["detector"]
    assert (record["source"], record["threshold"]) == (str(detector), 0.1)
    query = ("search", "--index", target, "--bank", bank_file, "--json", "--text", "a river")
    moved = detector.rename(tmp_path / "moved")
    code, out, err = rsctir(*query, "--regions", moved)
    assert code == 0, err
    answer = json.loads(out)
    assert answer["detector"] == record | {"source": str(moved)}
    moved.rename(detector)
    code, out, _ = rsctir(*query)
    assert code == 0 and json.loads(out)["detector"] == record
    code, out, err = rsctir(
        *("evaluate", "--model", galr_folder, "--data", captioned_folder, "--output", report),
        *found_by,
    )
    assert code == 0, err
    assert f"regions {detector} (weights {record['fingerprint']}, score 0.1 or more" in out
    assert json.loads(report.read_text())["detector"] == record
    words = ("caption", "--model", galr_folder, "--image", picture_folder / "red.png", "--json")
    found = [
        json.loads(rsctir(*words, "--bank", bank_file, *regions)[1])
        for regions in ((), ("--regions", "none"), found_by)
    ]
    scores = [answer["hits"][0]["score"] for answer in found]
    assert len(set(scores)) == 3, "own, no and detected regions give other vectors"


def test_a_picture_the_detector_cannot_look_at_is_named_and_the_rest_indexed(
    rsctir, galr_folder, checkpoint, tmp_path
):
    detector = checkpoint("overhead-rsod")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name, size in (("a", (40, 40)), ("narrow", (4, 3000)), ("z", (40, 40))):
        Image.new("RGB", size, "green").save(pictures / f"{name}.png")
    code, out, err = rsctir(
        *("index", "--model", galr_folder, "--images", pictures, "--index", tmp_path / "index"),
        *("--regions", detector),
    )
    assert code == 0, err
    assert "narrow.png" in out + err and "Traceback" not in err
    assert len(open_index(tmp_path / "index")) == 2


def test_regions_that_do_not_fit_are_one_line_and_exit_code_two(
    rsctir, galr_folder, clip_folder, picture_folder, captioned_folder, bank_file, tmp_path
):
    detector = save_detector(tmp_path / "detector")
    images = ("--images", picture_folder)
    for name, regions in (("own", "model"), ("seen", detector), ("bare", "none")):
        index = ("index", "--model", galr_folder, *images, "--index", tmp_path / name)
        assert rsctir(*index, "--regions", regions)[0] == 0
    evaluate = ("evaluate", "--data", captioned_folder, "--model")
    search = ("search", "--bank", bank_file, "--text", "a river", "--index")
    cases = [
        ((*evaluate, galr_folder, "--regions", clip_folder), "type 'clip', which is no object"),
        ((*evaluate, galr_folder, "--regions", tmp_path / "x"), "neither a detector folder"),
        ((*evaluate, galr_folder, "--threshold", 0.3), "only a detector's regions have a"),
        ((*evaluate, galr_folder, "--regions", detector, "--threshold", 3), "from 0 to 1"),
        ((*evaluate, clip_folder, "--regions", detector), "CLIPModel takes no regions"),
        ((*index, "--regions", captioned_folder), "lacks config.json"),
        ((*search, tmp_path / "seen", "--threshold", 0.4), "score 0.4 or more"),
        ((*search, tmp_path / "seen", "--regions", "model"), r"regions model, [^)]*\). Load"),
        ((*search, tmp_path / "own", "--regions", detector), r"regions model, [^)]*\); the model"),
        ((*search, tmp_path / "own", "--regions", "none"), r"regions none, [^)]*\). Load"),
        ((*search, tmp_path / "own", "--threshold", 0.4), "only a detector's regions have a"),
        ((*search, tmp_path / "bare", "--regions", "model"), r"regions none, [^)]*\); the model"),
    ]
    for arguments, message in cases:
        code, out, err = rsctir(*arguments)
        last = err.strip().splitlines()[-1]
        assert (code, out) == (2, ""), arguments
        assert last.startswith("error: ") and re.search(message, last), (arguments, err)
    for name in ("own", "bare"):
        assert rsctir(*search, tmp_path / name)[0] == 0


def own_captions(folder, picture_folder):
    """Lay three pictures out with a table of captions, one more without a picture."""
    (folder / "images").mkdir(parents=True)
    rows = ["bild,beschreibung"]
    for colour, caption in CAPTIONS.items():
        shutil.copy(picture_folder / f"{colour}.png", folder / "images")
        rows.append(f"images/{colour}.png,{caption}")
    (folder / "captions.csv").write_text("\n".join(rows))
    return folder


def test_evaluate_takes_own_captions_in_any_layout(rsctir, clip_folder, picture_folder, tmp_path):
    data = own_captions(tmp_path / "own", picture_folder)
    evaluate = ("evaluate", "--model", clip_folder, "--data", data, "--json")
    code, _, err = rsctir(*evaluate)
    assert code == 2 and "has the columns bild, beschreibung" in err and "--image_column" in err
    columns = ("--image_column", "bild", "--caption-column", "beschreibung")
    code, out, err = rsctir(*evaluate, *columns)
    assert code == 0, err
    assert (json.loads(out)["images"], json.loads(out)["captions"]) == (3, 3)
    (data / "images" / "red.png").unlink()
    code, _, err = rsctir(*evaluate, *columns)
    assert code == 2 and "lacks 1 of its 3 pictures: images/red.png" in err
    code, out, err = rsctir(*evaluate, *columns, "--allow-missing")
    assert code == 0 and json.loads(out)["images"] == 2, err


def test_evaluate_scores_folders_of_classes_and_says_which_split_there_is_not(
    rsctir, clip_folder, picture_folder, tmp_path
):
    for colour in CAPTIONS:
        (tmp_path / "own" / "train" / colour).mkdir(parents=True)
        shutil.copy(picture_folder / f"{colour}.png", tmp_path / "own" / "train" / colour)
    evaluate = ("evaluate", "--model", clip_folder, "--data", tmp_path / "own", "--json")
    code, _, err = rsctir(*evaluate)
    assert code == 2 and "There is no split 'test', only train" in err
    code, out, err = rsctir(*evaluate, "--split", "train")
    assert code == 0 and json.loads(out)["captions"] == 15, err
