"""Twelve captioned pictures, written in every layout that is read."""

import csv
import io
import json
import random
import tarfile

import datasets

from rsctir_hf.data.collator import picture_bytes, undecoded
from tests.miniature import draw_picture, write_pictures

#: Sentences of each picture; what one has more, another lacks.
SAID = [
    [f"a pier with {number} boats", f"{number} boats", "some water"][: 1 + number % 3]
    for number in range(12)
]
SPLIT_OF = ["train"] * 7 + ["validation"] * 2 + ["test"] * 3
NAMES = [f"{number}.png" for number in range(12)]
PARTS = ("train", "validation", "test")


def rows_of(split=None):
    """One row a caption, in no order, with the number of the picture."""
    rows = [(n, text) for n in range(12) if split in (None, SPLIT_OF[n]) for text in SAID[n]]
    random.Random(0).shuffle(rows)
    return rows


def content(number):
    file = io.BytesIO()
    draw_picture(number).save(file, "PNG")
    return file.getvalue()


def pairs_of(tables):
    """Return the files of a split's pictures with their sentences, in no order."""
    rows = [row for table in tables for row in undecoded(table)]
    pairs = {(picture_bytes(row["image"]), frozenset(row["captions"])) for row in rows}
    assert len(pairs) == len(rows) == len({file for file, _ in pairs})
    return pairs


def expected(split=None):
    return {(content(n), frozenset(SAID[n])) for n in range(12) if split in (None, SPLIT_OF[n])}


def dump(file, rows):
    """Write rows, as dicts, by the suffix of a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif file.suffix == ".json":
        file.write_text(json.dumps(rows, indent=1))
    elif file.suffix == ".parquet":
        datasets.Dataset.from_list(rows).to_parquet(file)
    else:
        with file.open("w", newline="", encoding="utf-8") as out:
            separator = "\t" if file.suffix == ".tsv" else ","
            table = csv.DictWriter(out, list(rows[0]), delimiter=separator)
            table.writeheader()
            table.writerows(rows)


def tables_of_text(kind, image="file_name", caption="text", folder="", split=None, **more):
    return [{image: f"{folder}{NAMES[n]}", caption: text, **more} for n, text in rows_of(split)]


def picture_rows(split=None, *, image="image", caption="text"):
    return [{image: content(n), caption: text} for n, text in rows_of(split)]


def as_images(rows, column="image"):
    table = datasets.Dataset.from_list(
        [{**row, column: {"bytes": row[column], "path": None}} for row in rows]
    )
    return table.cast_column(column, datasets.Image())


def write_archive(file, numbers, kind="txt", suffixes=("png",)):
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as archive:
        for number in numbers:
            said = (
                "\n".join(SAID[number])
                if kind == "txt"
                else json.dumps({"captions": SAID[number], "id": number})
            )
            picture = (suffixes[number % len(suffixes)], content(number))
            for suffix, text in (picture, (kind, said.encode())):
                entry = tarfile.TarInfo(f"a/{number:04}.{suffix}")
                entry.size = len(text)
                archive.addfile(entry, io.BytesIO(text))


# Layouts without splits: each writes below a folder and returns what is read.


def metadata(suffix):
    def write(root):
        write_pictures(root, NAMES)
        dump(root / f"metadata{suffix}", tables_of_text(suffix))
        return root

    return write


def beside(name, image="filepath", caption="title", folder="images/", place=""):
    def write(root):
        write_pictures(root / "images", NAMES)
        dump(root / place / name, tables_of_text(name, image, caption, folder))
        return root / place / name if place else root

    return write


def numbered(root):
    write_pictures(root / "images", NAMES)
    rows = [
        {
            "image": f"images/{NAMES[n]}",
            **{f"caption_{k}": (SAID[n][k : k + 1] or [""])[0] for k in range(3)},
        }
        for n in range(12)
    ]
    dump(root / "all.csv", rows)
    return root


def lists(root):
    write_pictures(root, NAMES)
    dump(root / "metadata.jsonl", [{"file_name": NAMES[n], "captions": SAID[n]} for n in range(12)])
    return root


def saved(root):
    as_images(picture_rows()).save_to_disk(root)
    return root


def saved_lists(root):
    rows = [{"picture": content(n), "sentences": SAID[n]} for n in range(12)]
    as_images(rows, "picture").save_to_disk(root)
    return root


def saved_paths(root):
    write_pictures(root / "images", NAMES)
    rows = [{"image": str(root / "images" / NAMES[n]), "text": text} for n, text in rows_of()]
    table = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())
    table.save_to_disk(root / "set")
    return root / "set"


def parquet_of_pictures(root):
    root.mkdir()
    as_images(picture_rows()).to_parquet(root / "part-0.parquet")
    return root


def parquet_of_structs(root):
    rows = [{"image": {"bytes": content(n), "path": NAMES[n]}, "caption": t} for n, t in rows_of()]
    dump(root / "a" / "0.parquet", rows[:5])
    dump(root / "a" / "1.parquet", rows[5:])
    return root


def parquet_of_bytes(root):
    dump(root / "x.parquet", picture_rows(image="img", caption="description"))
    return root / "x.parquet"


def parquet_of_names(root):
    write_pictures(root / "images", NAMES)
    dump(root / "x.parquet", tables_of_text(".parquet", "image_path", "raw", "images/"))
    return root


def arrow(root):
    saved(root / "set")
    (root / "shards").mkdir()
    for file in (root / "set").glob("*.arrow"):
        file.rename(root / "shards" / file.name)
    return root / "shards"


def archives(kind, *suffixes):
    def write(root):
        write_archive(root / "00000.tar", range(7), kind, suffixes)
        write_archive(root / "00001.tar", range(7, 12), kind, suffixes)
        return root

    return write


WHOLE = {
    "metadata.jsonl": metadata(".jsonl"),
    "metadata.csv": metadata(".csv"),
    "metadata.tsv": metadata(".tsv"),
    "metadata.parquet": metadata(".parquet"),
    "metadata.jsonl of lists": lists,
    "open_clip's CSV": beside("captions.csv"),
    "a CSV that is named": beside("captions.csv", place="texts", folder="../images/"),
    "TSV": beside("x.tsv", "filename", "caption"),
    "a JSON list": beside("x.json", "image", "sentence"),
    "JSON lines": beside("x.jsonl", "path", "text"),
    "names without their folder": beside("x.csv", folder=""),
    "numbered columns": numbered,
    "save_to_disk": saved,
    "save_to_disk of lists": saved_lists,
    "save_to_disk of paths": saved_paths,
    "Parquet of pictures": parquet_of_pictures,
    "shards of Parquet with structs": parquet_of_structs,
    "Parquet of bytes": parquet_of_bytes,
    "Parquet of names": parquet_of_names,
    "Arrow": arrow,
    "WebDataset with texts": archives("txt", "png"),
    "WebDataset with objects": archives("json", "png"),
    "WebDataset of two kinds of picture": archives("txt", "png", "tif"),
}


# Layouts with splits.


def split_folders(root):
    for split, folder in zip(PARTS, ("train", "val", "test"), strict=True):
        numbers = [n for n in range(12) if SPLIT_OF[n] == split]
        write_pictures(root / folder, [NAMES[n] for n in numbers], first=numbers[0])
        dump(root / folder / "metadata.csv", tables_of_text(".csv", split=split))
    return root


def one_metadata_file(root):
    split_folders(root)
    rows = []
    for folder in ("train", "val", "test"):
        (root / folder / "metadata.csv").unlink()
    for n, text in rows_of():
        folder = "val" if SPLIT_OF[n] == "validation" else SPLIT_OF[n]
        rows.append({"file_name": f"{folder}/{NAMES[n]}", "text": text})
    dump(root / "metadata.jsonl", rows)
    return root


def a_table_a_split(root):
    write_pictures(root / "images", NAMES)
    for split, name in zip(
        PARTS, ("train.csv", "captions_dev.csv", "test-captions.csv"), strict=True
    ):
        dump(root / name, tables_of_text(".csv", folder="images/", split=split))
    return root


def a_split_column(root):
    write_pictures(root / "images", NAMES)
    rows = [
        {"image": f"images/{NAMES[n]}", "caption": t, "split": SPLIT_OF[n]} for n, t in rows_of()
    ]
    dump(root / "captions.csv", rows)
    return root


def saved_dict(root):
    datasets.DatasetDict({split: as_images(picture_rows(split)) for split in PARTS}).save_to_disk(
        root
    )
    return root


def parquet_splits(root):
    for split in PARTS:
        file = root / "data" / f"{split}-00000-of-00001.parquet"
        file.parent.mkdir(exist_ok=True, parents=True)
        as_images(picture_rows(split)).to_parquet(file)
    return root


def parquet_with_a_column(root):
    rows = [{"image": content(n), "text": t, "split": SPLIT_OF[n]} for n, t in rows_of()]
    dump(root / "x.parquet", rows)
    return root


def archive_splits(root):
    for split in PARTS:
        numbers = [n for n in range(12) if SPLIT_OF[n] == split]
        write_archive(root / split / "0.tar", numbers, "json")
    return root


SPLIT_LAYOUTS = (split_folders, one_metadata_file, a_table_a_split, a_split_column, saved_dict)
SPLIT_LAYOUTS += (parquet_splits, parquet_with_a_column, archive_splits)
