"""The released layouts are read as they are, and what is wrong with them is said."""

import csv
import json

import pytest

from rsctir_hf.data.formats import (
    detect_format,
    karpathy_file,
    list_splits,
    match_pictures,
    read_imagefolder,
    read_karpathy,
    read_precomp,
    root_splits,
)
from rsctir_hf.errors import DataLayoutError
from tests.miniature import (
    sentences,
    write_imagefolder,
    write_karpathy,
    write_pictures,
    write_precomp,
)


def stripped(number):
    return tuple(sentences(number))


def test_layouts_are_told_apart(tmp_path):
    assert detect_format(write_imagefolder(tmp_path / "a")) == "imagefolder"
    assert detect_format(write_karpathy(tmp_path / "b")) == "karpathy"
    assert detect_format(write_precomp(tmp_path / "c")) == "precomp"
    assert detect_format(tmp_path / "b" / "dataset_UCM.json") == "karpathy"
    assert detect_format(tmp_path / "c" / "test_caps.txt") == "precomp"


def as_csv(folder):
    """Put a metadata.csv, a row a caption and names as on Windows, in the place of the lines."""
    file = folder / "metadata.jsonl"
    with (folder / "metadata.csv").open("w", encoding="utf-16", newline="") as out:
        table = csv.writer(out, delimiter=";")
        table.writerow(["file_name", "text", "class"])
        for row in map(json.loads, file.read_text().splitlines()):
            table.writerows(
                [".\\" + row["file_name"], text, row["class"]] for text in row["captions"]
            )
    file.unlink()


def test_an_imagefolder_with_csv_is_read_like_one_with_lines(tmp_path):
    expected = read_imagefolder(write_imagefolder(tmp_path), "validation")[0]
    for split in ("train", "validation", "test"):
        as_csv(tmp_path / split)
    assert detect_format(tmp_path) == "imagefolder"
    assert list_splits(tmp_path, "imagefolder") == ("train", "validation", "test")
    records, paths = read_imagefolder(tmp_path, "validation")
    assert paths == [tmp_path / "validation" / record.file_name for record in expected]
    assert [(each.captions, each.category) for each in records] == [
        (each.captions, each.category) for each in expected
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_released_files_may_have_a_byte_order_mark(encoding, tmp_path):
    for write, read in ((write_karpathy, read_karpathy), (write_precomp, read_precomp)):
        root = write(tmp_path / write.__name__)
        expected = read(karpathy_file(root) if read is read_karpathy else root, "train")
        for file in (*root.glob("*.json"), *root.glob("*.txt")):
            file.write_bytes(file.read_text().replace("\n", "\r\n").encode(encoding))
        assert read(karpathy_file(root) if read is read_karpathy else root, "train") == expected


def test_karpathy_sentences_may_be_plain_texts(tmp_path):
    entry = {"filename": r"images\a.tif", "split": "train", "sentences": ["a pier", {"raw": "b"}]}
    (tmp_path / "dataset_x.json").write_text(json.dumps({"images": [entry]}))
    (record,) = read_karpathy(tmp_path / "dataset_x.json", "train")
    assert record.captions == ("a pier", "b")
    write_pictures(tmp_path / "images", ["A.png"])
    found, missing = match_pictures([record.file_name], tmp_path / "images", tree="")
    assert found == {record.file_name: tmp_path / "images" / "A.png"} and not missing


def test_splits_are_listed_under_our_names(tmp_path):
    both = ("train", "validation", "test")
    assert list_splits(write_imagefolder(tmp_path / "a"), "imagefolder") == both
    assert list_splits(write_karpathy(tmp_path / "b"), "karpathy") == both
    assert list_splits(write_precomp(tmp_path / "c"), "precomp") == both
    two = write_precomp(tmp_path / "d", {"train": 2, "test": 1})
    assert list_splits(two, "precomp") == ("train", "test")


def test_unknown_layout_names_root_trees_and_remedy(tmp_path):
    with pytest.raises(DataLayoutError, match="does not hold") as error:
        detect_format(tmp_path)
    message = str(error.value)
    assert str(tmp_path) in message
    for part in ("metadata.jsonl", "dataset_NAME.json", "_caps.txt", "Hub id"):
        assert part in message
    with pytest.raises(DataLayoutError, match="does not exist"):
        detect_format(tmp_path / "absent")


def test_imagefolder_maps_class_to_category(tmp_path):
    records, paths = read_imagefolder(write_imagefolder(tmp_path), "test")
    assert records[0].category == "boats"  # the test split starts at picture 9
    assert records[0].captions == stripped(9)
    assert paths[0] == tmp_path / "test" / "scene09.png"


@pytest.mark.parametrize("name", ["val", "valid", "dev"])
def test_imagefolder_finds_validation_under_other_names(tmp_path, name):
    root = write_imagefolder(tmp_path)
    (root / "validation").rename(root / name)
    assert len(read_imagefolder(root, "validation")[0]) == 3


def test_imagefolder_without_the_split_lists_those_it_has(tmp_path):
    root = write_imagefolder(tmp_path, {"train": 2, "test": 1})
    with pytest.raises(DataLayoutError, match="test, train"):
        read_imagefolder(root, "validation")


def test_imagefolder_names_missing_pictures(tmp_path):
    root = write_imagefolder(tmp_path)
    (root / "train" / "scene01.png").unlink()
    with pytest.raises(DataLayoutError, match=r"lacks 1 of its 6 pictures: scene01\.png"):
        read_imagefolder(root, "train")


@pytest.mark.parametrize("name", ["../test/scene00.png", "/etc/hostname", "a/../../x.png", "link"])
def test_imagefolder_reads_nothing_outside_of_its_folder(tmp_path, name):
    root = write_imagefolder(tmp_path)
    (root / "train" / "link").symlink_to("/etc/hostname")
    with (root / "train" / "metadata.jsonl").open("a", encoding="utf-8") as metadata:
        metadata.write(json.dumps({"file_name": name, "captions": ["a"]}) + "\n")
    with pytest.raises(DataLayoutError, match="outside of it"):
        read_imagefolder(root, "train")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{broken", r"Line 7 of .*metadata\.jsonl is not JSON"),
        ("[1, 2]", r"Line 7 of .*metadata\.jsonl is not an object"),
        ('{"file_name": "a.png"}', r"Line 7 of .*metadata\.jsonl has no captions"),
        ('{"file_name": "a.png", "Text": "a"}', r"under any of captions, .*; it has Text\."),
        ('{"captions": ["a"]}', r"Line 7 of .*metadata\.jsonl has None as file_name"),
    ],
)
def test_imagefolder_names_the_malformed_line(tmp_path, line, complaint):
    root = write_imagefolder(tmp_path)
    with (root / "train" / "metadata.jsonl").open("a", encoding="utf-8") as metadata:
        metadata.write(line + "\n")
    with pytest.raises(DataLayoutError, match=complaint):
        read_imagefolder(root, "train")


def test_imagefolder_metadata_of_another_encoding_is_named(tmp_path):
    root = write_imagefolder(tmp_path)
    text = json.dumps({"file_name": "a.png", "captions": ["a café"]}, ensure_ascii=False)
    (root / "train" / "metadata.jsonl").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataLayoutError, match=r"metadata\.jsonl is not UTF-8 text"):
        read_imagefolder(root, "train")


def test_imagefolder_takes_one_caption_as_a_string(tmp_path):
    write_pictures(tmp_path / "train", ["a.png"])
    row = json.dumps({"file_name": "a.png", "captions": "one river"})
    (tmp_path / "train" / "metadata.jsonl").write_text(row, encoding="utf-8")
    assert read_imagefolder(tmp_path, "train")[0][0].captions == ("one river",)


def test_karpathy_gives_raw_sentences_of_the_split(tmp_path):
    file = write_karpathy(tmp_path) / "dataset_UCM.json"
    records = read_karpathy(file, "validation")
    assert [record.file_name for record in records] == ["7.tif", "8.tif", "9.tif"]
    assert records[0].captions == stripped(6)


def test_karpathy_without_the_split_says_what_it_has(tmp_path):
    file = write_karpathy(tmp_path, {"train": 2, "test": 1}) / "dataset_UCM.json"
    with pytest.raises(DataLayoutError, match=r"'train': 2, 'test': 1"):
        read_karpathy(file, "validation")


@pytest.mark.parametrize("content", ["{", "[]", '{"images": [{}]}', '{"annotations": []}'])
def test_other_json_is_refused(tmp_path, content):
    (tmp_path / "dataset_x.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataLayoutError, match="is not a Karpathy-style caption file"):
        read_karpathy(tmp_path / "dataset_x.json", "train")
    with pytest.raises(DataLayoutError, match="is not a Karpathy-style caption file"):
        list_splits(tmp_path, "karpathy")


def test_names_once_per_picture_and_once_per_caption_read_alike(tmp_path):
    once = read_precomp(write_precomp(tmp_path / "a", once_per_caption=()), "train")
    each = read_precomp(write_precomp(tmp_path / "b", once_per_caption=("train",)), "train")
    assert once == each
    assert [record.file_name for record in once] == [f"{n}.tif" for n in range(1, 7)]
    assert once[2].captions == stripped(2)


def test_windows_line_ends_make_no_difference(tmp_path):
    unix = read_precomp(write_precomp(tmp_path / "a"), "test")
    windows = read_precomp(write_precomp(tmp_path / "b", newline="\r\n"), "test")
    assert unix == windows


def test_blank_captions_keep_their_lines_even_at_the_end(tmp_path):
    records = read_precomp(write_precomp(tmp_path, blank=(1, 5)), "train")
    assert [len(record.captions) for record in records] == [5, 0, 5, 5, 5, 0]
    assert records[4].captions == stripped(4)


def test_files_in_latin_1_are_read_too(tmp_path):
    root = write_precomp(tmp_path, {"train": 1})
    text = "\n".join(["caf\xe9 beside the pier", *sentences(0)[1:]]) + "\n"
    (root / "train_caps.txt").write_bytes(text.encode("latin-1"))
    assert read_precomp(root, "train")[0].captions[0] == "caf\xe9 beside the pier"


def test_lost_caption_line_is_noticed(tmp_path):
    root = write_precomp(tmp_path)
    lines = (root / "train_caps.txt").read_text(encoding="utf-8").splitlines()
    (root / "train_caps.txt").write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    with pytest.raises(DataLayoutError, match=r"29 captions for 6 names") as error:
        read_precomp(root, "train")
    assert "ROOT/train_caps.txt" in str(error.value)


@pytest.mark.parametrize("lost", ["train_caps.txt", "train_filename.txt"])
def test_missing_text_file_is_named(tmp_path, lost):
    root = write_precomp(tmp_path)
    (root / lost).unlink()
    with pytest.raises(DataLayoutError, match=f"has no {lost}"):
        read_precomp(root, "train")


def test_empty_text_files_are_refused(tmp_path):
    for kind in ("caps", "filename"):
        (tmp_path / f"train_{kind}.txt").touch()
    with pytest.raises(DataLayoutError, match="no pictures"):
        read_precomp(tmp_path, "train")


def test_pictures_are_matched_with_any_suffix_and_case(tmp_path):
    write_pictures(tmp_path / "a", ["1.jpg", "Two.PNG"])
    found, missing = match_pictures(["1.tif", "folder/two.tif", "3.tif"], tmp_path, tree="")
    assert {name: path.name for name, path in found.items()} == {
        "1.tif": "1.jpg",
        "folder/two.tif": "Two.PNG",
    }
    assert missing == ["3.tif"]


def test_exact_name_wins_over_other_suffixes(tmp_path):
    write_pictures(tmp_path, ["1.jpg", "1.tif"])
    assert match_pictures(["1.tif"], tmp_path, tree="")[0]["1.tif"].name == "1.tif"


def test_name_that_fits_two_pictures_is_refused(tmp_path):
    write_pictures(tmp_path / "a", ["1.jpg"])
    write_pictures(tmp_path / "b", ["1.png"])
    with pytest.raises(DataLayoutError, match=r"several pictures for 1\.tif"):
        match_pictures(["1.tif"], tmp_path, tree="")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "split", "pictures"),
    [
        ("rsicd", "train", 40),
        ("rsicd", "test", 40),
        ("rsitmd", "train", 40),
        ("rsitmd", "test", 40),
        ("ucm", "train", 40),
        ("ucm", "test", 40),
        ("sydney", "train", 40),
        ("sydney", "validation", 40),
        ("sydney", "test", 28),
    ],
)
def test_real_precomp_files_give_five_captions_a_picture(development_data, folder, split, pictures):
    records = read_precomp(development_data / "original_formats" / folder, split)
    assert len(records) == pictures
    assert {len(record.captions) for record in records} == {5}
    assert not any("\r" in text for record in records for text in record.captions)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ucm", "sydney"])
def test_real_karpathy_files_give_eight_pictures_a_split(development_data, name):
    folder = development_data / "original_formats" / name
    file = folder / f"dataset_{name}_modified_8_per_split.json"
    for split in ("train", "validation", "test"):
        records = read_karpathy(file, split)
        assert len(records) == 8
        assert {len(record.captions) for record in records} == {5}


@pytest.mark.slow
def test_real_karpathy_and_precomp_files_agree_on_ucm(development_data):
    folder = development_data / "original_formats" / "ucm"
    karpathy = read_karpathy(folder / "dataset_ucm_modified.json", "train")
    by_name = {record.file_name: record.captions for record in read_precomp(folder, "train")}
    equal = [record.captions == by_name[record.file_name] for record in karpathy]
    assert sum(equal) >= 38  # a corrected edition: 8 of 2,100 pictures differ


@pytest.mark.parametrize("captions", [["a", None], [3], [["a"]], {"a": "b"}])
def test_imagefolder_captions_are_texts(tmp_path, captions):
    root = write_imagefolder(tmp_path)
    line = json.dumps({"file_name": "scene00.png", "captions": captions})
    (root / "train" / "metadata.jsonl").write_text(line)
    with pytest.raises(DataLayoutError, match="captions that are no texts"):
        read_imagefolder(root, "train")


def test_files_nested_too_deeply_are_refused(tmp_path):
    root = write_imagefolder(tmp_path)
    (root / "train" / "metadata.jsonl").write_text('{"a":' * 50_000)
    with pytest.raises(DataLayoutError, match="nested too deeply"):
        read_imagefolder(root, "train")
    (tmp_path / "dataset_x.json").write_text("[" * 50_000)
    with pytest.raises(DataLayoutError, match="nested too deeply"):
        read_karpathy(tmp_path / "dataset_x.json", "train")


def test_precomp_captions_without_any_name_are_refused(tmp_path):
    (tmp_path / "train_caps.txt").write_text("a pier\n")
    (tmp_path / "train_filename.txt").write_text("")
    with pytest.raises(DataLayoutError, match="1 captions for 0 names"):
        read_precomp(tmp_path, "train")


def test_half_a_surrogate_pair_becomes_a_question_mark(tmp_path):
    root = write_imagefolder(tmp_path)
    captions = ["a pier \ud83d", "\U0001f6f0 a dish"]
    line = json.dumps({"file_name": "scene00.png", "captions": captions})
    (root / "train" / "metadata.jsonl").write_text(line)
    records, _ = read_imagefolder(root, "train")
    assert records[0].captions == ("a pier ?", "\U0001f6f0 a dish")


def test_a_name_that_no_file_can_have_is_named_as_missing(tmp_path):
    root = write_imagefolder(tmp_path)
    line = json.dumps({"file_name": "x" * 5_000, "captions": ["a pier"]})
    (root / "train" / "metadata.jsonl").write_text(line)
    with pytest.raises(DataLayoutError, match="xxx"):
        read_imagefolder(root, "train")


def test_one_metadata_file_may_name_the_pictures_of_all_splits(tmp_path):
    write_imagefolder(tmp_path)
    expected = {split: read_imagefolder(tmp_path, split)[0] for split in ("train", "test")}
    rows = []
    for split in ("train", "validation", "test"):
        file = tmp_path / split / "metadata.jsonl"
        for row in map(json.loads, file.read_text().splitlines()):
            name = "val" if split == "validation" else split
            rows.append(json.dumps({**row, "file_name": f"./{name}/{row['file_name']}"}))
        file.unlink()
    (tmp_path / "validation").rename(tmp_path / "val")
    (tmp_path / "metadata.jsonl").write_text("\n".join(rows))
    assert detect_format(tmp_path) == "imagefolder"
    assert list_splits(tmp_path, "imagefolder") == ("train", "validation", "test")
    for split, records in expected.items():
        found, paths = read_imagefolder(tmp_path, split)
        assert [each.captions for each in found] == [each.captions for each in records]
        assert all(path.is_file() for path in paths)
    assert len(read_imagefolder(tmp_path, "validation")[0]) == 3
    with pytest.raises(DataLayoutError, match="or choose one that exists: test, train, val"):
        read_imagefolder(tmp_path, "tset")


def test_folders_of_classes_are_no_splits(tmp_path):
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "train/a.png", "text": "b"}\n')
    assert root_splits(tmp_path) == {"train"}
    with (tmp_path / "metadata.jsonl").open("a") as file:
        file.write('{"file_name": "beach/a.png", "text": "b"}\n')
    assert root_splits(tmp_path) == set()
