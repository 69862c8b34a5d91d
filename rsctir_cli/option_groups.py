"""Groups of options that several commands have."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rsctir_cli.options import (
    Adapter,
    Device,
    Model,
    Pictures,
    Threshold,
    Trust,
    Unwanted,
    UnwantedPictures,
    Weights,
    Words,
    data_option,
    model_option,
    tile_option,
)


@dataclass(frozen=True, kw_only=True)
class WithModel:
    """Which model, which regions of a picture it looks at, and where it runs."""

    model: Model
    regions: Annotated[
        str, model_option(help="model, none, or a detector: its folder or Hub id.")
    ] = "model"
    threshold: Threshold = None
    revision: Annotated[
        str | None, model_option(help="Branch, tag or commit of a model on the Hub. Default: main.")
    ] = None
    adapter: Adapter = None
    device: Device = "cpu"
    trust: Trust = False


@dataclass(frozen=True, kw_only=True)
class WithColumns:
    """How a captioned data set of any layout is read."""

    images: Annotated[
        Path | None, data_option(help="Folder of the pictures, if not where the captions are.")
    ] = None
    image_column: Annotated[
        str | None,
        data_option(
            "--image-column",
            "--image_column",
            help="Column of pictures or their names. Default: by its name.",
        ),
    ] = None
    caption_column: Annotated[
        str | None,
        data_option(
            "--caption-column", "--caption_column", help="Column of captions. Default: by its name."
        ),
    ] = None
    class_templates: Annotated[
        str | None,
        data_option(
            "--class-templates",
            "--class_templates",
            help="Where pictures have a class and no caption: a file of sentences with {}, or "
            "'default'.",
        ),
    ] = None
    allow_missing: Annotated[
        bool,
        data_option(
            "--allow-missing", "--allow_missing", help="Go on without pictures that are missing."
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class WithOwner:
    """What the owner of own data says of it, for cards."""

    data_name: Annotated[
        str | None,
        data_option("--data-name", "--data_name", help="What own data is called in the card."),
    ] = None
    data_licence: Annotated[
        str | None,
        data_option("--data-licence", "--data_licence", help="Its licence, such as cc-by-4.0."),
    ] = None
    data_source: Annotated[
        str | None,
        data_option("--data-source", "--data_source", help="Who made it, where and when."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class WithTiles:
    """How rasters are cut into tiles."""

    tile: Annotated[int, tile_option(help="Pixels a side of a tile as the model sees it.")] = 224
    overlap: Annotated[float, tile_option(help="Share of a tile that the next one covers too.")] = (
        0.25
    )
    gsd: Annotated[
        float | None, tile_option(help="Metres a pixel of the raster. Default: its own word.")
    ] = None
    bands: Annotated[
        str | None, tile_option(help="One or three bands from 1, red first, such as 4,3,2.")
    ] = None
    nodata: Annotated[
        str | None,
        tile_option(help="Value of pixels without data; 'none': all are data. Default: found out."),
    ] = None
    crs: Annotated[
        str | None,
        tile_option(help="Reference system, such as EPSG:32632. Default: the raster's own word."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class WithQuery:
    """What is searched by: words and pictures, wanted and not, each with its weight.

    ``weight`` holds nothing, or one for each part in the order of the fields.
    """

    text: Words = None
    image: Pictures = None
    unwanted: Unwanted = None
    unwanted_image: UnwantedPictures = None
    weight: Weights = None
