"""Miniature data sets in the released formats: pictures made by numpy, captions of our own.

Every function writes below the folder it is given and returns it. Nothing here is copied from a
benchmark; only the layouts are theirs.
"""

import json

import datasets
import numpy as np
from PIL import Image

THINGS = ("boats", "courts", "planes", "tanks", "houses", "trees", "fields", "roads", "cars")
CAPTIONS_PER_PICTURE = 5


def sentences(number):
    """Five sentences for picture `number`; every ninth picture has the same five."""
    thing = THINGS[number % len(THINGS)]
    return [
        f"Some {thing} seen from above .",
        f"There are many {thing} .",
        f"{thing.capitalize()} lie in rows .",
        f"We see {thing} here .",
        f"A place with {thing} .",
    ]


def draw_picture(number, *, side=32):
    """A picture of random blocks, different for every number and without symmetry."""
    coarse = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.NEAREST)


def write_pictures(folder, names, *, first=0, side=32):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names, start=first):
        draw_picture(number, side=side).save(folder / name)
    return folder


def write_imagefolder(root, counts=None, *, first=0, side=32):
    """ROOT/SPLIT/metadata.jsonl and the pictures, with a `class` column as in our UCM folder."""
    start = first
    for split, count in (counts or {"train": 6, "validation": 3, "test": 3}).items():
        numbers = range(start, start + count)
        names = [f"scene{number:02d}.png" for number in numbers]
        write_pictures(root / split, names, first=start, side=side)
        rows = [
            {
                "file_name": name,
                "captions": sentences(number),
                "class": THINGS[number % len(THINGS)],
            }
            for number, name in zip(numbers, names, strict=True)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (root / split / "metadata.jsonl").write_text(text, encoding="utf-8")
        start += count
    return root


def write_karpathy(root, counts=None, *, dataset="UCM", suffix=".tif", first=0, side=32):
    """ROOT/dataset_NAME.json with splits train, val, test, and ROOT/images/N.tif."""
    splits = [
        split
        for split, count in (counts or {"train": 6, "val": 3, "test": 3}).items()
        for _ in range(count)
    ]
    images = [
        {
            "filename": f"{number + 1}.tif",
            "imgid": number,
            "split": split,
            "sentids": [number * CAPTIONS_PER_PICTURE + k for k in range(CAPTIONS_PER_PICTURE)],
            "sentences": [
                {
                    "raw": text,
                    "tokens": text.rstrip(" .").split(),
                    "imgid": number,
                    "sentid": number * CAPTIONS_PER_PICTURE + k,
                }
                for k, text in enumerate(sentences(number))
            ],
        }
        for number, split in enumerate(splits)
    ]
    names = [f"{number + 1}{suffix}" for number in range(len(splits))]
    write_pictures(root / "images", names, first=first, side=side)
    content = json.dumps({"images": images, "dataset": dataset})
    (root / f"dataset_{dataset}.json").write_text(content, encoding="utf-8")
    return root


def write_precomp(
    root,
    counts=None,
    *,
    once_per_caption=("test",),
    newline="\n",
    blank=(),
    prefix="",
    suffix=".tif",
    side=32,
):
    """ROOT/SPLIT_caps.txt, ROOT/SPLIT_filename.txt and ROOT/images.

    `once_per_caption` names the splits whose file names stand once per caption; pictures whose
    number is in `blank` have five blank captions, as four of RSITMD's have.
    """
    start = 0
    for split, count in (counts or {"train": 6, "val": 3, "test": 3}).items():
        numbers = range(start, start + count)
        stems = [f"{prefix}{number + 1}" for number in numbers]
        repeat = CAPTIONS_PER_PICTURE if split in once_per_caption else 1
        names = [f"{stem}.tif" for stem in stems for _ in range(repeat)]
        captions = [
            "" if number in blank else text for number in numbers for text in sentences(number)
        ]
        write_pictures(root / "images", [stem + suffix for stem in stems], first=start, side=side)
        for kind, lines in (("filename", names), ("caps", captions)):
            content = "".join(line + newline for line in lines).encode()
            (root / f"{split}_{kind}.txt").write_bytes(content)
        start += count
    return root


def hub_table(count=4, *, first=0, side=32):
    """A table as `arampacha/rsicd` has it: filename, captions, image with the bytes inside."""
    numbers = range(first, first + count)
    return datasets.Dataset.from_dict(
        {
            "filename": [f"rsicd_images/scene_{number}.jpg" for number in numbers],
            "captions": [sentences(number) for number in numbers],
            "image": [draw_picture(number, side=side) for number in numbers],
        },
        features=datasets.Features(
            filename=datasets.Value("string"),
            captions=datasets.List(datasets.Value("string")),
            image=datasets.Image(),
        ),
    )
