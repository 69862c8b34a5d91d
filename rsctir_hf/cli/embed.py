"""``rsctir embed``: pictures into a folder of embeddings, which a later run brings up to date."""

import os
from dataclasses import replace

from rsctir_cli.commands import Embed
from rsctir_hf.cli.output import Bar, describe_skipped, list_skipped, print_result
from rsctir_hf.cli.sources import load_options, named_pictures
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.pipeline import embed_pictures
from rsctir_hf.embedding.store import EmbeddingStore, start_rebuild
from rsctir_hf.errors import DataLayoutError


def embed(asked: Embed) -> None:
    """Embed pictures, and say from the first process what became of them."""
    asked = replace(asked, device=device_of_this_process(asked.device))
    pictures, root = named_pictures(asked.images, split=asked.split)
    encoder = Encoder.from_pretrained(asked.model, **load_options(asked))
    made_by = encoder.provenance(symmetries=asked.symmetries, dtype=asked.dtype.value)
    first = os.environ.get("RANK", "0") == "0"
    if first and asked.rebuild:
        start_rebuild(asked.output, made_by)
    with Bar("embedding") as bar:
        report = embed_pictures(
            encoder,
            pictures,
            EmbeddingStore(asked.output, made_by, root=root),
            batch_size=asked.batch_size,
            workers=asked.workers,
            progress=bar.show if first else None,
        )
    if not first:
        return
    list_skipped(report.skipped)
    if not report.rows:
        raise DataLayoutError(
            f"None of the pictures in {asked.images} can be read; see the list above."
        )
    print_result(
        f"{report.rows} pictures in {asked.output}: {report.embedded} embedded, {report.reused} as "
        f"they were, {len(report.skipped)} skipped.",
        {
            "output": str(asked.output),
            "pictures": report.rows,
            "embedded": report.embedded,
            "reused": report.reused,
            "skipped": describe_skipped(report.skipped),
        },
        as_json=asked.as_json,
    )


def device_of_this_process(device: str) -> str:
    """Give each process that a launcher started on one machine a device of its own."""
    if device == "cuda" and "LOCAL_RANK" in os.environ:
        return f"{device}:{os.environ['LOCAL_RANK']}"
    return device
