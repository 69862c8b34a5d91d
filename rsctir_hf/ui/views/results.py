"""From hits of the retriever to what is shown: cards, facts, JSON records."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsctir_hf.files.metadata import PictureRow
from rsctir_hf.files.pictures import picture_size
from rsctir_hf.search.retriever import Hit
from rsctir_hf.ui.server.shown_gallery import Gallery
from rsctir_hf.ui.views.cards import (
    MADE_UP,
    Card,
    card_grid,
    detail,
    doubts,
    moved_in_words,
    sentence_list,
)
from rsctir_hf.ui.views.thumbnails import DETAIL_SIDE, picture_uri

NO_RERANK = "none"
MATCH = "match"
RERANK_NAMES = {"none": "None", "smr": "SMR", "mr": "MR", "match": "Match"}

DOUBTS = doubts("collection", "results")


@dataclass(frozen=True)
class ShownHits:
    """What one visitor sees in a result grid: kept in that visitor's state.

    Attributes:
        hits: the results in order.
        rerank: how they were ordered.
        gallery: where they come from; None for the visitor's own pictures.
        words: what was asked; empty where a picture was.
    """

    hits: tuple[Hit, ...] = ()
    rerank: str = NO_RERANK
    gallery: Gallery | None = None
    words: str = ""


def for_pictures(rerank: str) -> str:
    """Return how picture-to-picture results are ordered; *Match* needs a sentence on one side."""
    return NO_RERANK if rerank == MATCH else rerank


def picture_results(shown: ShownHits, *, label: str) -> str:
    """Show picture hits as a grid of cards."""
    cards = [_card(hit, _record(hit, shown.gallery), shown.rerank) for hit in shown.hits]
    return card_grid(cards, label=label)


def caption_results(hits: Sequence[Hit], *, rerank: str) -> str:
    """Show caption hits as a list."""
    return sentence_list([_card(hit, PictureRow(), rerank) for hit in hits])


def picture_detail(hit: Hit, shown: ShownHits) -> str:
    """Show one of the pictures large, with what is known of it."""
    record, path = _record(hit, shown.gallery), hit.path or ""
    facts = [("File", Path(path).name), ("Similarity", f"{hit.score:.3f} (cosine)")]
    if shown.rerank != NO_RERANK:
        facts.append(("Before reranking", f"rank {hit.rank_before}, now {hit.rank}"))
    if record.category:
        facts.append(("Scene type", record.category.replace("_", " ")))
    if size := picture_size(path):
        facts.append(("Size", f"{size[0]} x {size[1]} pixels"))
        if centre := record.centre(size):
            system = f" ({record.crs})" if record.crs else ""
            made_up = MADE_UP if shown.gallery is not None and shown.gallery.drawn else ""
            facts.append(("Centre", f"x {centre[0]:.6g}, y {centre[1]:.7g}{system}{made_up}"))
    if more := (record.captions or ())[1:3]:
        facts.append(("Also described as", " ".join(more)))
    return detail(picture_uri(path, DETAIL_SIDE), _title(hit, record), facts)


def hit_record(
    hit: Hit, gallery: Gallery | None, *, rerank: str, with_images: bool = False
) -> dict[str, Any]:
    """Return a hit as JSON-ready values, without the folders of this server."""
    record = _record(hit, gallery)
    values: dict[str, Any] = {
        "rank": hit.rank,
        "score": round(hit.score, 6),
        "level": hit.level,
        "caption": hit.caption or record.caption,
    }
    if hit.path is not None:
        values |= {"item": hit.item, "file": Path(hit.path).name}
    if rerank != NO_RERANK:
        values |= {"rank_before": hit.rank_before, "rerank_score": hit.rerank_score}
    if with_images and hit.path is not None:
        values["image"] = picture_uri(hit.path)
    return values


def _record(hit: Hit, gallery: Gallery | None) -> PictureRow:
    return gallery.record(hit.path) if gallery and hit.path else PictureRow()


def _title(hit: Hit, record: PictureRow) -> str:
    name = Path(hit.path).name if hit.path else f"picture {hit.item}"
    return record.caption or hit.caption or name


def _card(hit: Hit, record: PictureRow, rerank: str) -> Card:
    title, file = _title(hit, record), Path(hit.path).name if hit.path else ""
    return Card(
        title=title,
        subtitle="" if file == title else file,
        picture=picture_uri(hit.path) if hit.path else "",
        score=hit.score,
        rank=hit.rank,
        moved=None if rerank == NO_RERANK else hit.rank_before - hit.rank,
    )


def describe_moves(hits: Sequence[Hit]) -> str:
    """Say in one sentence what reranking did to a list of hits."""
    moved = [hit for hit in hits if hit.rank != hit.rank_before]
    if not moved:
        return "Reranking left every result in its place."
    most = max(moved, key=lambda hit: abs(hit.rank_before - hit.rank))
    return (
        f"Reranking moved {len(moved)} of {len(hits)} results; the result now on rank {most.rank} "
        f"went {moved_in_words(most.rank_before - most.rank)}."
    )
