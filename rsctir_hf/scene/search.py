"""The tiles of one scene as vectors, and questions put to them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from rsctir_hf.errors import QueryError, RasterError
from rsctir_hf.gallery.bank import CaptionBank
from rsctir_hf.gallery.embedding import ImageSource, Progress, embed_image, embed_texts
from rsctir_hf.gallery.live_rerank import OtherQueries, check_rerank, smr_temperature
from rsctir_hf.gallery.matching import LiveMatcher
from rsctir_hf.vector_index.batch import evenly_spaced
from rsctir_hf.gallery.queries import check_top_k, split_query
from rsctir_hf.geo.raster import Raster, TileReader, open_raster
from rsctir_hf.geo.tiling import Window, heat_map, merge_windows
from rsctir_hf.retriever import Retriever
from rsctir_hf.scene.answer import SceneAnswer, SceneHit
from rsctir_hf.scene.plan import OVERLAP, TILE, TilePlan, plan_tiles, window_places
from rsctir_hf.scene.tiles import ScenePass

TOP_K = 20
#: A window with a smaller share of pixels that hold data is not searched.
LEAST_VALID = 0.3
_BATCH = 16
_MOST_OTHERS = 2000  # tiles that stand in for other picture queries of a rerank


class SceneIndex:
    """The tiles of one scene as vectors: done once, asked as often as you like.

    Args:
        retriever: of which model, processor, regions and caption bank are used.
        raster: the scene.
        plan: how it was cut.
        windows: the n windows with enough data.
        vectors: (n, D) unit vectors.
    """

    def __init__(
        self,
        retriever: Retriever,
        raster: Raster,
        *,
        plan: TilePlan,
        windows: Sequence[Window],
        vectors: Tensor,
    ) -> None:
        self.retriever, self.raster, self.plan = retriever, raster, plan
        self.windows, self.vectors = tuple(windows), vectors
        self._bank = CaptionBank(retriever.bank)
        self._others: dict[bool, OtherQueries] = {}
        self._matcher: LiveMatcher | None = None

    @classmethod
    def build(
        cls,
        retriever: Retriever,
        raster: str | Path | Raster,
        *,
        tile: int = TILE,
        overlap: float = OVERLAP,
        gsd: float | None = None,
        bands: Sequence[int] | None = None,
        least_valid: float = LEAST_VALID,
        batch_size: int = _BATCH,
        progress: Progress | None = None,
    ) -> "SceneIndex":
        """Embed the windows of a raster.

        Args:
            retriever: the model that searches.
            raster: a file, or what ``geo.raster.open_raster`` returned.
            tile: pixels a side of the tiles that the model sees; twice as many show it twice as
                much ground.
            overlap: share of a window that the next one covers too.
            gsd: metres a pixel of the raster, if its own word is missing or wrong.
            bands: see ``open_raster``; for a file only.
            least_valid: windows with a smaller share of pixels that hold data are left out.
            batch_size: tiles per forward pass.
            progress: called with (windows done, windows in all).

        Raises:
            RasterError: no raster, damaged, or no window holds enough data.
            QueryError: options that make no sense.
        """
        scene = raster if isinstance(raster, Raster) else open_raster(raster, bands=bands)
        plan = plan_tiles(scene, retriever.model.config, tile=tile, overlap=overlap, gsd=gsd)
        done = ScenePass(plan, least_valid, progress)
        vectors = done.run(retriever, scene, batch_size)
        if not done.windows:
            raise RasterError(
                f"{scene.name} holds nothing to search: none of its {len(plan.windows)} windows "
                f"has data in {least_valid:.0%} of its pixels. Check its nodata value or mask."
            )
        return cls(retriever, scene, plan=plan, windows=done.windows, vectors=vectors)

    @property
    def skipped(self) -> int:
        """Windows left out, since too few of their pixels hold data."""
        return len(self.plan.windows) - len(self.windows)

    def search(
        self,
        *,
        text: str | None = None,
        image: ImageSource | None = None,
        top_k: int = TOP_K,
        rerank: str = "none",
        temperature: float | None = None,
    ) -> SceneAnswer:
        """Find the places that suit words, a picture, or both.

        Args:
            text: words; with ``image`` the query is the mean of the two unit vectors.
            image: a path or PIL picture.
            top_k: how many hits, after merging.
            rerank: ``none``, ``smr`` (our reading), ``mr`` or ``match``.
            temperature: of SMR; default ``config.smr_temperature``.

        Raises:
            QueryError: empty query, unknown or impossible rerank.
            ImageReadError: the query picture cannot be read.
            UnsupportedError: ``rerank="match"`` and the model cannot judge pairs.
        """
        check_rerank(rerank)
        check_top_k(top_k)
        words, picture = split_query(None, text, image)
        scores = self.vectors @ self._embed_query(words, picture)  # (n,)
        reranked = self._rerank(scores, words, rerank=rerank, temperature=temperature)
        values = scores.numpy()
        order = values if reranked is None else reranked.numpy()
        merged = merge_windows(self.windows, order, top_k=top_k)
        return SceneAnswer(
            raster=self.raster,
            hits=tuple(
                self._hit(rank, found.best, values, len(found.members), reranked)
                for rank, found in enumerate(merged, start=1)
            ),
            windows=self.windows,
            scores=values,
            heat=heat_map(self.windows, values, self.raster.size, cell=self.plan.cell),
            cell=self.plan.cell,
            warnings=self.plan.warnings,
            skipped=self.skipped,
            confident=self._is_confident(values),
            text=words,
            image=Path(picture).name if isinstance(picture, str | Path) else None,
        )

    def picture_of(self, window: Window, *, scale: float = 1.0) -> Image.Image:
        """Return what the model sees of a window, ``scale`` times as large.

        Raises:
            RasterError: the file is gone or damaged.
        """
        width, height = self.plan.size_of(window)
        with TileReader(self.raster) as reader:
            shown = reader.read(window, (round(width * scale), round(height * scale))).picture
        if shown is None:
            raise RasterError(f"{self.raster.name} has changed: {window.box} holds no data now.")
        return shown

    def _is_confident(self, scores: NDArray[Any]) -> bool:
        least = getattr(self.retriever.model.config, "confident_score", None)
        return least is None or bool(scores.max() >= least)

    def _embed_query(self, text: str | None, image: ImageSource | None) -> Tensor:
        """Return one unit vector (D,): of the text, the picture, or the mean of both."""
        model, processor = self.retriever.model, self.retriever.processor
        asked = [] if text is None else [embed_texts(model, processor, [text])[0]]
        if image is not None:
            asked.append(embed_image(model, processor, image, regions=self.retriever.regions))
        return F.normalize(torch.stack(asked).mean(dim=0), dim=0)

    def _rerank(
        self, scores: Tensor, words: str | None, *, rerank: str, temperature: float | None
    ) -> Tensor | None:
        """Return the scores (n,) that order instead, or None."""
        if rerank == "none":
            return None
        if rerank == "match":
            return self._match(scores, words)
        return self._other_queries(by_words=words is not None).rerank(
            scores,
            rerank=rerank,
            temperature=smr_temperature(self.retriever.model, temperature),
            left_out=self._bank.rows_of(words) if words else (),
        )

    def _match(self, scores: Tensor, words: str | None) -> Tensor:
        if words is None:
            raise QueryError(
                "rerank 'match' judges a picture against a text and there is no text. "
                "Add one, or use rerank 'none', 'smr' or 'mr'."
            )
        if self._matcher is None:
            self._matcher = LiveMatcher(self.retriever.model, self.retriever.processor)
        return self._matcher.rerank_pictures(
            scores,
            words,
            ids=torch.arange(len(scores)),
            read=lambda row: self.picture_of(self.windows[row]),
        )

    def _other_queries(self, *, by_words: bool) -> OtherQueries:
        """Return the caption bank against the tiles, or the tiles against one another."""
        if by_words not in self._others:
            rows = evenly_spaced(len(self.vectors), most=_MOST_OTHERS)
            self._others[by_words] = (
                OtherQueries(
                    self._bank.vectors(self.retriever.model, self.retriever.processor), self.vectors
                )
                if by_words
                else OtherQueries(self.vectors[rows], self.vectors, own_candidates=rows)
            )
        return self._others[by_words]

    def _hit(
        self, rank: int, row: int, scores: NDArray[Any], merged: int, reranked: Tensor | None
    ) -> SceneHit:
        window = self.windows[row]
        placed = window_places(self.raster, window)
        return SceneHit(
            rank=rank,
            score=float(scores[row]),
            window=window,
            corners=None if placed is None else placed[:4],
            centre=None if placed is None else placed[4],
            merged=merged,
            rerank_score=None if reranked is None else float(reranked[row]),
        )


def search_scene(
    retriever: Retriever,
    raster: str | Path,
    *,
    text: str | None = None,
    image: ImageSource | None = None,
    top_k: int = TOP_K,
    rerank: str = "none",
    **cutting: Any,  # noqa: ANN401 - the options of SceneIndex.build
) -> SceneAnswer:
    """Find the places of one raster that suit words, a picture, or both.

    For several queries on one raster keep the ``SceneIndex``. Arguments, options and errors are
    those of ``SceneIndex.build`` and ``SceneIndex.search``.
    """
    check_rerank(rerank)
    check_top_k(top_k)
    split_query(None, text, image)  # refuses a query that no scene could answer, before the work
    index = SceneIndex.build(retriever, raster, **cutting)
    return index.search(text=text, image=image, top_k=top_k, rerank=rerank)
