"""``rsctir embed``: pictures into a folder of embeddings, which a later run brings up to date."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rsctir_hf.cli.options import Device, Model, RegionsOption, Threshold, Trust
from rsctir_hf.cli.output import Bar, list_skipped
from rsctir_hf.cli.sources import named_pictures
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.pipeline import embed_pictures
from rsctir_hf.embedding.store import EmbeddingStore
from rsctir_hf.errors import DataLayoutError
from rsctir_hf.regions.detector import choose_regions
from rsctir_hf.regions.proposer import MODEL_REGIONS


class StoredAs(StrEnum):
    """How the numbers of an embedding are stored."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"


BatchSize = Annotated[
    int | None,
    typer.Option(min=1, help="Pictures per forward pass. Default: 8 on a CPU, 64 elsewhere."),
]
Workers = Annotated[
    int | None,
    typer.Option(min=0, help="Threads that read pictures ahead. Default: half the processors."),
]


def embed(
    model: Model,
    images: Annotated[
        str, typer.Option(help="Folder of pictures, Hub id of a data set, or 'sample'.")
    ],
    output: Annotated[Path, typer.Option(help="Folder of the embeddings; run again to go on.")],
    split: Annotated[str, typer.Option(help="Of a data set on the Hub.")] = "train",
    batch_size: BatchSize = None,
    workers: Workers = None,
    dtype: Annotated[
        StoredAs, typer.Option(help="Stored numbers; float16 takes half the space.")
    ] = StoredAs.FLOAT32,
    symmetries: Annotated[
        int, typer.Option(help="8: average each picture's turned and mirrored views. Or 1.")
    ] = 1,
    regions: RegionsOption = MODEL_REGIONS,
    threshold: Threshold = None,
    device: Device = "cpu",
    trust: Trust = False,
) -> None:
    """Embed pictures; run again after a stop or a change, and only what is new is embedded.

    Started by 'accelerate launch' or 'torchrun', the processes share the pictures.
    """
    device = device_of_this_process(device)
    chosen = choose_regions(regions, threshold, device=device, trust_remote_code=trust)
    pictures, root = named_pictures(images, split=split)
    encoder = Encoder.from_pretrained(model, device=device, trust_remote_code=trust, regions=chosen)
    made_by = encoder.provenance(symmetries=symmetries, dtype=dtype.value)
    first = os.environ.get("RANK", "0") == "0"
    with Bar("embedding") as bar:
        report = embed_pictures(
            encoder,
            pictures,
            EmbeddingStore(output, made_by, root=root),
            batch_size=batch_size,
            workers=workers,
            progress=bar.show if first else None,
        )
    if not first:
        return
    list_skipped(report.skipped)
    if not report.rows:
        raise DataLayoutError(f"None of the pictures in {images} can be read; see the list above.")
    print(
        f"{report.rows} pictures in {output}: {report.embedded} embedded, {report.reused} as they "
        f"were, {len(report.skipped)} skipped."
    )


def device_of_this_process(device: str) -> str:
    """Give each process that a launcher started on one machine a device of its own."""
    if device == "cuda" and "LOCAL_RANK" in os.environ:
        return f"{device}:{os.environ['LOCAL_RANK']}"
    return device
