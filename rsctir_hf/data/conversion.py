"""Writing a benchmark from any source as an imagefolder or as Parquet files."""

import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
from PIL import Image

from rsctir_hf.data.benchmarks import every_split
from rsctir_hf.data.collator import picture_bytes
from rsctir_hf.data.reading import CaptionedSource
from rsctir_hf.data.tables import with_bar
from rsctir_hf.errors import DataLayoutError, QueryError
from rsctir_hf.files.atomic import new_folder
from rsctir_hf.files.metadata import METADATA_FILE

FORMATS = ("imagefolder", "parquet")
# The usual suffix of those picture formats that are not called like it.
_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "TIFF": ".tif", "JPEG2000": ".jp2"}


def convert(
    name: str,
    source: str | Path | CaptionedSource,
    output: str | Path,
    *,
    format: str = "imagefolder",
    images: str | Path | None = None,
    complete: bool = True,
) -> dict[str, int]:
    """Write every split that a source holds.

    Pictures are copied byte for byte. Everything is written beside ``output`` first and moved
    there at the end, so a broken run leaves nothing that looks finished.

    Args:
        name: ``ucm``, ``rsicd``, ``rsitmd`` or ``sydney``.
        source: a release folder, imagefolder, another source of ``data.reading``, or Hub id; a
            ``CaptionedSource`` is of no benchmark, whatever ``name`` says.
        output: a folder that does not exist yet, or is empty.
        format: ``imagefolder`` (SPLIT/metadata.jsonl and the pictures) or ``parquet``
            (data/SPLIT-00000-of-00001.parquet with the pictures inside).
        images: the picture folder of a release, if it lies elsewhere.
        complete: refuse a release without the official number of pictures.

    Returns:
        The number of pictures written for each split.

    Raises:
        OutputExistsError: ``output`` exists and is not an empty folder.
        DataLayoutError: the source is missing something, as for ``load_benchmark``, or two of its
            pictures would get one name.
        QueryError: unknown format or benchmark.
    """
    if format not in FORMATS:
        raise QueryError(f"format is {format!r}; expected {' or '.join(FORMATS)}.")
    written: dict[str, int] = {}
    write = _write_imagefolder if format == "imagefolder" else _write_parquet
    with new_folder(output) as folder:
        for split, table in every_split(name, source, images=images, complete=complete):
            write(table, folder, split)
            written[split] = len(table)
    return written


def _write_imagefolder(table: datasets.Dataset, root: Path, split: str) -> None:
    folder = root / split
    folder.mkdir()
    with (folder / METADATA_FILE).open("w", encoding="utf-8") as lines:
        for row in with_bar(table, f"Writing {split}"):
            content = picture_bytes(row["image"])
            name = Path(row["file_name"]).stem + _suffix(row, content)
            if (folder / name).exists():
                raise DataLayoutError(
                    f"{split} has two pictures named {name}, which an imagefolder cannot hold. "
                    "Rename one of them, or write Parquet files (--format parquet)."
                )
            (folder / name).write_bytes(content)
            line = {**{key: row[key] for key in row if key != "image"}, "file_name": name}
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")


def _write_parquet(table: datasets.Dataset, root: Path, split: str) -> None:
    file = root / "data" / f"{split}-00000-of-00001.parquet"
    file.parent.mkdir(exist_ok=True)

    def embedded() -> Any:  # noqa: ANN401 - a generator of rows
        for row in with_bar(table, f"Writing {split}"):
            yield {**row, "image": {"bytes": picture_bytes(row["image"]), "path": row["file_name"]}}

    with tempfile.TemporaryDirectory(dir=root) as cache:
        packed = datasets.Dataset.from_generator(
            embedded, features=table.features, cache_dir=cache, split=split
        )
        packed.to_parquet(file)


def _suffix(row: Mapping[str, Any], content: bytes) -> str:
    """Return the suffix that fits the picture's own format: releases name JPEG copies .tif."""
    with Image.open(io.BytesIO(content)) as picture:
        kind = str(picture.format)
    named = Path(row["file_name"]).suffix
    if Image.registered_extensions().get(named.lower()) == kind:
        return named
    return _SUFFIXES.get(kind, f".{kind.lower()}")
