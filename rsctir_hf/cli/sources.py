"""What an argument names: a model, regions, a captioned data set, a folder of pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rsctir_cli.commands import WithModel
from rsctir_hf.data.benchmarks import NAMES, available_splits, load_benchmark, load_captioned_folder
from rsctir_hf.data.formats import detect_format, root_splits
from rsctir_hf.data.tables import split_from_hub, table_from_hub, table_from_parquet
from rsctir_hf.embedding.dataset_rows import table_pictures
from rsctir_hf.embedding.encoder import LoadOptions
from rsctir_hf.embedding.records import PictureRecord, folder_pictures
from rsctir_hf.errors import DataLayoutError, QueryError
from rsctir_hf.files.atomic import parse_json
from rsctir_hf.files.metadata import metadata_file
from rsctir_hf.files.names import as_text
from rsctir_hf.loading.hub_files import could_be_dataset_id
from rsctir_hf.regions.detector import choose_regions
from rsctir_hf.sample import sample_folder
from rsctir_hf.search.query import describe_query
from rsctir_hf.vector_index.contract import BoundingBox, Scalar, SearchFilter

SAMPLE = "sample"  # the gallery drawn by our own code


def load_options(asked: WithModel) -> LoadOptions:
    """Return how a command's model is to be loaded, with the regions that it names."""
    regions = choose_regions(
        asked.regions, asked.threshold, device=asked.device, trust_remote_code=asked.trust
    )
    return {
        "device": asked.device,
        "trust_remote_code": asked.trust,
        "revision": asked.revision,
        "regions": regions,
    }


def open_rows(data: str, *, split: str, benchmark: str | None = None) -> Any:  # noqa: ANN401
    """Open a captioned data set: the drawn gallery, a benchmark, a folder or a Hub id."""
    if data == SAMPLE:
        folder = sample_folder()
        return load_captioned_folder(folder.parent, folder.name)
    if benchmark is not None:
        return load_benchmark(benchmark, data, split=split)
    path = Path(data).expanduser()
    if not path.exists():
        if not could_be_dataset_id(data):
            raise DataLayoutError(f"{data} is neither a folder nor a Hub id such as owner/name.")
        return table_from_hub(data, split)
    if metadata_file(path) and not root_splits(path):
        return load_captioned_folder(path.parent, path.name)
    layout = detect_format(path)
    if layout == "parquet":
        return table_from_parquet(path, split)
    if layout in ("karpathy", "precomp"):
        raise DataLayoutError(
            f"{data} is a benchmark's release. Say which one: --benchmark {' | '.join(NAMES)}."
        )
    return load_captioned_folder(path, split)


def named_tables(source: str) -> dict[str, Any]:
    """Open ``[BENCHMARK=]DATA[:SPLIT]``: one table by name, or one for each split there is."""
    there = Path(source).expanduser().exists()  # a name may hold the sign
    benchmark, _, place = ("", "", source) if there else source.rpartition("=")
    data, _, split = place.rpartition(":")
    if not data or "/" in split or Path(place).expanduser().exists():
        data, split = place, ""
    path = Path(data).expanduser()
    if split or data == SAMPLE or (metadata_file(path) and not root_splits(path)):
        return {source: open_rows(data, split=split, benchmark=benchmark or None)}
    return {
        f"{source}:{part}": open_rows(data, split=part, benchmark=benchmark or None)
        for part in available_splits(data)
    }


def query_hint(text: str | None, image: Path | None) -> str | None:
    """Return what to tell whoever asks for words or a picture, if anything.

    Raises:
        QueryError: nothing is asked for.
    """
    if text is None and image is None:
        raise QueryError("There is no query. Give --text, --image, or both.")
    return None if text is None else describe_query(text)


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


def named_pictures(images: str, *, split: str) -> tuple[Sequence[PictureRecord], str]:
    """List the pictures of a folder, of the drawn gallery or of a data set on the Hub.

    Returns:
        The pictures, and the folder or data set that their ids belong to.
    """
    folder = picture_folder(images)
    if not folder.exists() and could_be_dataset_id(images):
        return table_pictures(split_from_hub(images, split)), f"{images}:{split}"
    return folder_pictures(folder), as_text(folder.resolve())


def read_filter(where: Sequence[str] | None, box: str | None) -> SearchFilter | None:
    """Return the filter that ``--where`` and ``--bbox`` mean, if any.

    A value that reads as a number or as true or false is that, in double quotes a text.

    Raises:
        QueryError: no NAME=VALUE, or no such box.
    """
    if not where and box is None:
        return None
    wanted: dict[str, list[Scalar]] = {}
    for condition in where or ():
        name, value = split_pair(condition)
        wanted.setdefault(name, []).append(_plain_value(value))
    return SearchFilter(wanted, None if box is None else BoundingBox.read(box))


def _plain_value(text: str) -> Scalar:
    try:
        value = parse_json(text)
    except ValueError:
        return text
    return value if isinstance(value, Scalar) else text
