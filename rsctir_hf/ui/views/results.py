"""From hits of the retriever to what is shown: cards, facts, JSON records."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rsctir_hf.files.metadata import PictureRow
from rsctir_hf.files.pictures import picture_size
from rsctir_hf.search.retriever import Hit
from rsctir_hf.search.scene_labels import scene_in_words
from rsctir_hf.ui.server.messages import counted
from rsctir_hf.ui.server.shown_gallery import Gallery
from rsctir_hf.ui.views.cards import (
    MADE_UP,
    Card,
    card_grid,
    detail,
    doubts,
    is_weak,
    moved_in_words,
    sentence_list,
)
from rsctir_hf.ui.views.thumbnails import DETAIL_SIDE, picture_uri

NO_RERANK = "none"
SMR, MATCH, FINE = "smr", "match", "fine"
RERANK_NAMES = {"none": "None", SMR: "SMR", "mr": "MR", MATCH: "Match", FINE: "Fine"}

DOUBTS = doubts("collection", "results")


@dataclass(frozen=True)
class ShownHits:
    """What one visitor sees in a result grid: kept in that visitor's state.

    Attributes:
        hits: the results in order.
        rerank: how they were ordered.
        gallery: where they come from; None for the visitor's own pictures.
        words: what was asked; empty where a picture was, or nothing.
        asked: something was; else they are pictures of the gallery, without a score.
        likely: scores say how likely what was asked holds, 0..1; else they are cosines.
    """

    hits: tuple[Hit, ...] = ()
    rerank: str = NO_RERANK
    gallery: Gallery | None = None
    words: str = ""
    asked: bool = True
    likely: bool = False

    def scored(self, hit: Hit) -> bool:
        """Whether a hit's cosine says how well it fits; several parts are not judged by one."""
        return self.asked and (self.rerank != NO_RERANK or hit.rerank_score is None)

    def name_of(self, hit: Hit) -> str:
        """Name a picture as its gallery does: below the folder of the gallery."""
        path = hit.path or ""
        names = self.gallery.names if self.gallery is not None else {}
        return names.get(path, Path(path).name)


def pictures_to_browse(gallery: Gallery, paths: Sequence[str]) -> ShownHits:
    """Show pictures of a gallery that nobody asked for."""
    hits = [
        Hit(place, path, None, 0.0, place + 1, place + 1, None) for place, path in enumerate(paths)
    ]
    return ShownHits(tuple(hits), gallery=gallery, asked=False)


def without(path: str, hits: Sequence[Hit]) -> list[Hit]:
    """Leave a picture out of hits, and close the gap that it leaves in their ranks."""
    own = next((hit for hit in hits if hit.path == path), None)
    if own is None:
        return list(hits)
    return [
        replace(
            hit,
            rank=hit.rank - (hit.rank > own.rank),
            rank_before=hit.rank_before - (hit.rank_before > own.rank_before),
        )
        for hit in hits
        if hit is not own
    ]


def for_pictures(rerank: str) -> str:
    """Return how pictures like a picture are ordered; *Match* and *Fine* need a sentence."""
    return NO_RERANK if rerank in (MATCH, FINE) else rerank


def picture_results(shown: ShownHits, *, label: str, markable: bool = False) -> str:
    """Show picture hits as a grid of cards; none says what another one said, if it can.

    ``markable`` ones can be marked and collected.
    """
    cards, said = [], set[str]()
    for hit in shown.hits:
        record = _record(hit, shown.gallery)
        captions = record.captions or ((hit.caption,) if hit.caption else ())
        caption = next(
            (one for one in captions if one not in said), captions[0] if captions else ""
        )
        said.add(caption)
        card = _card(hit, caption, shown)
        cards.append(replace(card, key=shown.name_of(hit)) if markable and hit.path else card)
    return card_grid(cards, label=label)


def caption_results(hits: Sequence[Hit], *, rerank: str) -> str:
    """Show caption hits as a list."""
    cards = [
        Card(hit.caption or "", "", "", hit.score, hit.rank, _moved(hit, rerank)) for hit in hits
    ]
    return sentence_list(cards)


def picture_detail(hit: Hit, shown: ShownHits) -> str:
    """Show one of the pictures large, with what is known of it."""
    record, path = _record(hit, shown.gallery), hit.path or ""
    facts = [
        ("Caption" if place == 0 else "Also", quoted(caption))
        for place, caption in enumerate(dict.fromkeys(record.captions or ()))
    ][:3]
    if shown.scored(hit):
        said = ("Similarity", f"{hit.score:.3f} of at most 1")
        facts.append(("Likely", f"{hit.score:.1%}") if shown.likely else said)
    if shown.rerank != NO_RERANK:
        facts.append(("Before reranking", f"rank {hit.rank_before}, now {hit.rank}"))
    if hit.merged > 1:
        facts.append(("Stands for", counted(hit.merged, "picture")))
    if record.category:
        facts.append(("Scene type", type_in_words(record.category)))
    if scene := scene_in_words(hit.metadata):
        facts.append(("Predicted scene", scene))
    if size := picture_size(path):
        facts.append(("Size", f"{size[0]} x {size[1]} pixels"))
        if centre := record.centre(size):
            system = f" ({record.crs})" if record.crs else ""
            made_up = MADE_UP if shown.gallery is not None and shown.gallery.drawn else ""
            facts.append(("Centre", f"x {centre[0]:.6g}, y {centre[1]:.7g}{system}{made_up}"))
    name = shown.name_of(hit)
    return detail(picture_uri(path, DETAIL_SIDE), name, facts, copied=name)


def quoted(caption: str) -> str:
    """Mark words as somebody's: those that the gallery brings for a picture.

    Captions of public sets have a space before the full stop; that one goes.
    """
    caption = re.sub(r"\s+(?=[.,]$)", "", caption)
    return f"\N{LEFT DOUBLE QUOTATION MARK}{caption}\N{RIGHT DOUBLE QUOTATION MARK}"


def type_in_words(category: str) -> str:
    """Write a scene type as words."""
    return category.replace("_", " ")


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
        name = gallery.names.get(hit.path, "") if gallery else ""
        values |= {"item": hit.item, "file": Path(hit.path).name, "name": name}
    if rerank != NO_RERANK:
        values |= {"rank_before": hit.rank_before, "rerank_score": hit.rerank_score}
    if with_images and hit.path is not None:
        values["image"] = picture_uri(hit.path)
    return values


def _record(hit: Hit, gallery: Gallery | None) -> PictureRow:
    return gallery.record(hit.path) if gallery and hit.path else PictureRow()


def _card(hit: Hit, caption: str, shown: ShownHits) -> Card:
    file = shown.name_of(hit) if hit.path else f"picture {hit.item}"
    return Card(
        title=quoted(caption) if caption else file,
        subtitle=file if caption else "",
        picture=picture_uri(hit.path) if hit.path else "",
        score=hit.score if shown.scored(hit) else None,
        rank=hit.rank if shown.asked else 0,
        moved=_moved(hit, shown.rerank),
        weak=shown.asked and is_weak(hit.level),
        merged=hit.merged,
    )


def _moved(hit: Hit, rerank: str) -> int | None:
    return None if rerank == NO_RERANK else hit.rank_before - hit.rank


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
