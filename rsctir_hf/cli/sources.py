"""What an argument names: a model, regions, a captioned data set, a folder of pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rsctir_cli.option_groups import WithColumns, WithModel, WithOwner, WithQuery
from rsctir_hf.data.benchmarks import available_splits, load_benchmark, load_captioned_folder
from rsctir_hf.data.own_terms import OwnersWords
from rsctir_hf.data.reading import CaptionedSource
from rsctir_hf.data.tables import check_pictures, split_from_hub
from rsctir_hf.embedding.dataset_rows import table_pictures
from rsctir_hf.embedding.encoder import LoadOptions
from rsctir_hf.embedding.records import PictureRecord, folder_pictures
from rsctir_hf.errors import DataLayoutError, QueryError
from rsctir_hf.files.names import as_text
from rsctir_hf.files.rows import decode
from rsctir_hf.loading.hub_files import could_be_dataset_id
from rsctir_hf.regions.detector import choose_regions
from rsctir_hf.sample import sample_folder
from rsctir_hf.search.query import QueryPart
from rsctir_hf.training.own_data import check_own_name

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
        "adapter": asked.adapter,
    }


def open_rows(
    data: str, *, split: str, benchmark: str | None = None, columns: WithColumns | None = None
) -> Any:  # noqa: ANN401
    """Open a captioned data set: the drawn gallery, a benchmark, or any source of captions.

    Of a folder or file that names no splits, every picture.
    """
    if data == SAMPLE:
        folder = sample_folder()
        return load_captioned_folder(folder.parent, folder.name)
    columns = columns or WithColumns()
    if benchmark is not None:
        return load_benchmark(benchmark, data, split=split, images=columns.images)
    found = captioned_source(data, columns).read(split)
    table = found.one(split) if found.named else next(iter(found.splits.values()))
    if Path(data).expanduser().exists():
        check_pictures(table, source=data)
    return table


def captioned_source(data: str, columns: WithColumns) -> CaptionedSource:
    """Return a source of captions with what is said of its columns.

    Raises:
        DataLayoutError: it is neither there nor the name of a data set.
    """
    if not Path(data).expanduser().exists() and not could_be_dataset_id(data):
        raise DataLayoutError(
            f"{data} does not exist; it is neither a folder nor a Hub id such as owner/name."
        )
    return CaptionedSource(
        data,
        columns.images,
        columns.image_column,
        columns.caption_column,
        columns.class_templates,
        columns.allow_missing,
    )


def owners_words(asked: WithOwner) -> OwnersWords:
    """Return what the owner of own data says of it.

    Raises:
        RecipeError: readers would take its name for another set's.
    """
    if asked.data_name is not None:
        check_own_name(asked.data_name)
    return OwnersWords(asked.data_name, asked.data_licence, asked.data_source)


def named_tables(source: str) -> dict[str, Any]:
    """Open ``[BENCHMARK=]DATA[:SPLIT]``: one table by name, or one for each split there is."""
    there = Path(source).expanduser().exists()  # a name may hold the sign
    benchmark, _, place = ("", "", source) if there else source.rpartition("=")
    data, _, split = place.rpartition(":")
    if not data or "/" in split or Path(place).expanduser().exists():
        data, split = place, ""
    if data == SAMPLE:
        return {source: open_rows(data, split=split)}
    if benchmark:
        return {
            source if split else f"{source}:{part}": load_benchmark(benchmark, data, split=part)
            for part in ([split] if split else available_splits(data))
        }
    found = captioned_source(data, WithColumns()).read(split, join=False)
    if split or not found.named:
        return {source: found.one(split) if found.named else next(iter(found.splits.values()))}
    return {f"{source}:{part}": table for part, table in found.splits.items()}


def asked_parts(asked: WithQuery, *, needed: bool = True) -> list[QueryPart]:
    """Return the parts of the query that a command names.

    Raises:
        QueryError: nothing is asked for where that is needed, or a part makes no sense; see
            ``QueryPart``.
    """
    kinds = (
        ("text", True, asked.text),
        ("image", True, asked.image),
        ("text", False, asked.unwanted),
        ("image", False, asked.unwanted_image),
    )
    given: list[dict[str, Any]] = [
        {kind: one, "wanted": wanted} for kind, wanted, many in kinds for one in many or ()
    ]
    if needed and not given:
        raise QueryError("There is no query. Give --text, --image, or several of them.")
    weights = asked.weight or [1.0] * len(given)
    if len(weights) != len(given):
        raise QueryError(
            f"There are {len(weights)} weights for a query of {len(given)} parts. Give one for "
            "each, or none: of the texts first, then of images, not, not_image."
        )
    return [QueryPart(**one, weight=weight) for one, weight in zip(given, weights, strict=True)]


def pictures_of(asked: WithQuery) -> list[Path]:
    """Return the pictures that a command searches by."""
    return [*(asked.image or ()), *(asked.unwanted_image or ())]


def read_names(text: str | None) -> list[str]:
    """Return the names that commas separate, or that a ``.txt`` file has one a line.

    Raises:
        QueryError: there are none, or the file cannot be read.
    """
    if text is None:
        return []
    names = text.split(",")
    if text.lower().endswith(".txt"):
        try:
            names = decode(Path(text).expanduser().read_bytes()).splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise QueryError(f"{text} cannot be read ({error}). Give names, one a line.") from error
    found = [name.strip() for name in names if name.strip()]
    if not found:
        raise QueryError(f"{text!r} names nothing; expected names such as harbor,airport,forest.")
    return found


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
