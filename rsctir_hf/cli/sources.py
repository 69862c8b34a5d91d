"""What an argument names: a captioned data set, a folder of pictures, a caption bank."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rsctir_hf import data as captioned
from rsctir_hf.data.formats import detect_format
from rsctir_hf.data.tables import table_from_hub
from rsctir_hf.drawn import read_caption_bank, sample_folder
from rsctir_hf.errors import DataLayoutError, QueryError

SAMPLE = "sample"  # the gallery drawn by our own code


def open_rows(data: str, *, split: str, benchmark: str | None = None) -> Any:  # noqa: ANN401
    """Open a captioned data set: the drawn gallery, a benchmark, a folder or a Hub id."""
    if data == SAMPLE:
        folder = sample_folder()
        return captioned.load_captioned_folder(folder.parent, folder.name)
    if benchmark is not None:
        check_benchmark(benchmark)
        return captioned.load_benchmark(benchmark, data, split=split)
    path = Path(data).expanduser()
    if not path.exists():
        if path.is_absolute() or data.count("/") != 1:
            raise DataLayoutError(f"{data} is neither a folder nor a Hub id such as owner/name.")
        return table_from_hub(data, split)
    if (path / "metadata.jsonl").is_file():
        return captioned.load_captioned_folder(path.parent, path.name)
    if detect_format(path) in ("karpathy", "precomp"):
        raise DataLayoutError(
            f"{data} is a benchmark's release. Say which one: --benchmark "
            f"{' | '.join(captioned.NAMES)}."
        )
    return captioned.load_captioned_folder(path, split)


def named_tables(source: str) -> dict[str, Any]:
    """Open ``[BENCHMARK=]DATA[:SPLIT]``: one table by name, or one for each split there is."""
    benchmark, _, place = source.rpartition("=")
    data, _, split = place.rpartition(":")
    if not data or "/" in split or Path(place).expanduser().exists():
        data, split = place, ""
    if split or data == SAMPLE or (Path(data).expanduser() / "metadata.jsonl").is_file():
        return {source: open_rows(data, split=split, benchmark=benchmark or None)}
    return {
        f"{source}:{part}": open_rows(data, split=part, benchmark=benchmark or None)
        for part in captioned.available_splits(data)
    }


def check_benchmark(name: str) -> None:
    """Raise ``QueryError`` unless ``name`` is a known benchmark."""
    if name not in captioned.NAMES:
        raise QueryError(
            f"The benchmark is {name!r}; expected one of {', '.join(captioned.NAMES)}."
        )


def split_pair(text: str, *, empty: bool = False) -> tuple[str, str]:
    """Return the two sides of ``NAME=VALUE``; the second may be empty where ``empty`` says so.

    Raises:
        QueryError: it has no such form.
    """
    name, equals, value = text.partition("=")
    if not (name and equals and (value or empty)):
        raise QueryError(f"{text!r} is not understood; expected NAME=VALUE.")
    return name, value


def picture_folder(images: str) -> Path:
    """Return the folder a gallery argument means."""
    return sample_folder() if images == SAMPLE else Path(images).expanduser()


def read_bank(file: Path | None) -> Sequence[str]:
    """Return the sentences of ``file``, or of the bank that ships."""
    return read_caption_bank(file)
