"""``rsctir search`` and ``caption``: questions put to a gallery, and to a caption bank."""

from pathlib import Path

from rsctir_cli.commands import Caption, Rerank, Search
from rsctir_hf.cli.output import print_hits
from rsctir_hf.cli.scene import check_written
from rsctir_hf.cli.sources import load_options, query_hint, read_filter
from rsctir_hf.errors import QueryError
from rsctir_hf.files.names import as_text, named_path
from rsctir_hf.sample import read_caption_bank
from rsctir_hf.scene import hits_geojson, write_geojson
from rsctir_hf.search.filter_advice import filter_advice
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.search.stored import open_stored, stored_regions


def search(asked: Search) -> None:
    """Search an index that was kept, with the model and the regions that made it."""
    hint = query_hint(asked.text, asked.image)
    if asked.output is not None:
        kept = Path(asked.place).glob("*")  # none where a server keeps it
        check_written(asked.output, None, read=[*kept, *([asked.image] if asked.image else [])])
    only = read_filter(asked.where, asked.bbox)
    opened = open_stored(asked.place)
    chosen = stored_regions(
        opened,
        asked.regions,
        threshold=asked.threshold,
        device=asked.device,
        trust_remote_code=asked.trust,
    )
    retriever = Retriever.load(
        opened,
        model=asked.model,
        images=asked.images,
        device=asked.device,
        trust_remote_code=asked.trust,
        bank=read_caption_bank(asked.bank),
        regions=chosen,
    )
    rerank = asked.rerank.value
    query, beside = (asked.image, None) if asked.text is None else (asked.text, asked.image)
    hits = retriever.search(query, image=beside, top_k=asked.top_k, rerank=rerank, only=only)
    if not (hits and opened.persistent):  # a server is not asked for more than is needed
        hint = " ".join(filter(None, (hint, filter_advice(opened, only)))) or None
    if asked.output is not None:
        write_geojson(asked.output, hits_geojson(hits, text=asked.text, image=asked.image))
    image = as_text(named_path(asked.image)) if asked.image else None
    said = {"text": asked.text, "image": image, "rerank": rerank, "hint": hint}
    print_hits(hits, retriever, query=said, as_json=asked.as_json)


def caption(asked: Caption) -> None:
    """Look for the sentences that suit one picture."""
    rerank = asked.rerank.value
    if asked.rerank in (Rerank.SMR, Rerank.MR):
        raise QueryError(
            f"rerank {rerank!r} of captions needs a gallery of other pictures, which this "
            "command has not. Use none or match, or Retriever.caption_candidates in Python."
        )
    retriever = Retriever.from_pretrained(
        asked.model, bank=read_caption_bank(asked.bank), **load_options(asked)
    )
    hits = retriever.caption_candidates(asked.image, top_k=asked.top_k, rerank=rerank)
    query = {"image": as_text(named_path(asked.image)), "rerank": rerank, "hint": None}
    print_hits(hits, retriever, query=query, as_json=asked.as_json)
