"""The tiles of one scene as vectors, and questions put to them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from PIL import Image
from torch import Tensor

from rsctir_hf.embedding.roles import PictureSource, Progress
from rsctir_hf.errors import QueryError, RasterError
from rsctir_hf.files.names import as_text
from rsctir_hf.geo.raster import Raster, TileReader
from rsctir_hf.geo.tiling import Window, heat_map, merge_windows
from rsctir_hf.scene.answer import SceneAnswer, SceneHit
from rsctir_hf.scene.plan import (
    LEAST_VALID,
    CuttingOptions,
    TilePlan,
    map_corners,
    open_and_plan,
    window_places,
)
from rsctir_hf.scene.scene_pass import ScenePass
from rsctir_hf.search.gallery import PictureNotes
from rsctir_hf.search.hits import Hit, confidence
from rsctir_hf.search.other_queries import check_rerank
from rsctir_hf.search.query import Asked, check_top_k, in_words, read_parts
from rsctir_hf.search.retriever import Retriever

TOP_K = 20


class SceneIndex:
    """The tiles of one scene as vectors: embedded once, asked as often as you like.

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
        self.raster, self.plan = raster, plan
        self.windows, self.vectors = tuple(windows), vectors
        self.tiles = retriever.with_empty_gallery()
        addresses = [str(plan.address_of(raster, window)) for window in windows]
        self.tiles.add(vectors, addresses, PictureNotes.of(len(addresses)))
        self.tiles.finish_adding()

    @classmethod
    def build(
        cls,
        retriever: Retriever,
        raster: str | Path | Raster,
        *,
        batch_size: int | None = None,
        workers: int | None = None,
        progress: Progress | None = None,
        **cutting: Unpack[CuttingOptions],
    ) -> "SceneIndex":
        """Embed the windows of a raster.

        Args:
            retriever: the model that searches.
            raster: a file, an address that GDAL fetches, as text, or what
                ``geo.raster.open_raster`` returned.
            batch_size: tiles per forward pass; see ``encode.default_batch_size``.
            workers: threads that embed; see ``BatchOptions``.
            progress: called with (windows done, windows in all).
            cutting: see ``CuttingOptions``; how it is read is for a file only.

        Raises:
            RasterError: no raster, damaged, or no window holds enough data.
            QueryError: options that make no sense.
        """
        least_valid = cutting.get("least_valid", LEAST_VALID)
        scene, plan = open_and_plan(raster, retriever.encoder.config, **cutting)
        done = ScenePass(plan, least_valid, progress)
        vectors = done.run(retriever.encoder, scene, batch_size=batch_size, workers=workers)
        if not done.windows:
            no_data = (
                f"none of its {len(plan.windows)} windows has data in {least_valid:.0%} of its "
                "pixels. Check its nodata value or mask."
            )
            why = done.skipped[0].reason if done.skipped else no_data
            raise RasterError(f"{scene.name} holds nothing to search: {why}")
        return cls(retriever, scene, plan=plan, windows=done.windows, vectors=vectors)

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def skipped(self) -> int:
        """Windows left out, since too few of their pixels hold data."""
        return len(self.plan.windows) - len(self.windows)

    def search(
        self,
        *,
        text: str | Sequence[Asked] | None = None,
        image: PictureSource | None = None,
        top_k: int = TOP_K,
        rerank: str = "none",
        temperature: float | None = None,
    ) -> SceneAnswer:
        """Find the places that suit words, a picture, or both.

        Args:
            text: words, or several words and pictures, wanted or not (``Retriever.search``).
            image: a path or PIL picture.
            top_k: how many hits, after merging.
            rerank: ``none``, ``smr`` (our reading), ``mr`` or ``match``.
            temperature: of SMR; default ``config.smr_temperature``.

        Raises:
            QueryError: empty query, unknown or impossible rerank.
            ImageReadError: the query picture cannot be read.
            UnsupportedError: ``rerank="match"`` and the model cannot judge pairs.
        """
        check_scene_rerank(rerank)
        check_top_k(top_k)
        asked = read_parts(text, image)
        found = self.tiles.search(asked, top_k=len(self), rerank=rerank, temperature=temperature)
        scale = self.tiles.score_scale(asked)
        pictures = [part.image for part in asked if isinstance(part.image, str | Path)]
        # by row of ``windows``, which is the tile's id
        by_row = sorted(found, key=lambda hit: hit.item)
        scores = np.array([hit.score for hit in by_row], np.float32)
        order = np.array([-hit.rank for hit in by_row], np.float32)
        merged = merge_windows(self.windows, order, top_k=top_k)
        return SceneAnswer(
            raster=self.raster,
            hits=tuple(
                self._hit(rank, by_row[rows[0]], len(rows))
                for rank, rows in enumerate(merged, start=1)
            ),
            windows=self.windows,
            scores=scores,
            heat=heat_map(self.windows, scores, self.raster.size, cell=self.plan.cell),
            cell=self.plan.cell,
            warnings=self.plan.warnings,
            skipped=self.skipped,
            confidence=confidence(found),
            fits_from=None if scale is None else scale.fits_from,
            text=in_words([part for part in asked if part.text is not None]) or None,
            image=next((as_text(Path(one).name) for one in pictures), None),
        )

    def located(self, answer: SceneAnswer, query: str | Sequence[Asked]) -> SceneAnswer:
        """Return an answer whose hits also say where in their window the query is, ``thing``.

        Raises:
            QueryError: see ``search.heat.HeatMaps.of``.
            RasterError: the file is gone or damaged.
        """
        heat = self.tiles.heat
        return replace(
            answer,
            hits=tuple(
                replace(hit, thing=hit.window.part(heat.of(self.picture_of(hit.window), query).box))
                for hit in answer.hits
            ),
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

    def _hit(self, rank: int, tile: Hit, merged: int) -> SceneHit:
        window = self.windows[tile.item]
        placed = window_places(self.raster, window)
        return SceneHit(
            rank=rank,
            score=tile.score,
            window=window,
            corners=None if placed is None else placed[:4],
            centre=None if placed is None else placed[4],
            map_corners=map_corners(self.raster, window),
            merged=merged,
            rerank_score=tile.rerank_score,
            level=tile.level,
        )


def check_scene_rerank(rerank: str) -> None:
    """Raise ``QueryError`` when ``rerank`` is none, or needs what a scene does not keep."""
    check_rerank(rerank)
    if rerank == "fine":
        raise QueryError(
            "rerank 'fine' compares patch tokens, which a scene does not keep. Index its tiles: "
            "rsctir index --model MODEL --rasters RASTER --index INDEX --tokens, and search that."
        )


def search_scene(
    retriever: Retriever,
    raster: str | Path,
    *,
    text: str | Sequence[Asked] | None = None,
    image: PictureSource | None = None,
    top_k: int = TOP_K,
    rerank: str = "none",
    **cutting: Any,  # noqa: ANN401 - things, and the options of SceneIndex.build
) -> SceneAnswer:
    """Find the places of one raster that suit words, a picture, or both.

    For several queries on one raster keep the ``SceneIndex``. With ``things`` each hit says where
    in its window the query is (``SceneIndex.located``). Other arguments, options and errors are
    those of ``SceneIndex.build`` and ``SceneIndex.search``.
    """
    check_scene_rerank(rerank)
    check_top_k(top_k)
    asked = read_parts(text, image)  # refuses what no scene could answer, before the work
    things = cutting.pop("things", False)
    index = SceneIndex.build(retriever, raster, **cutting)
    answer = index.search(text=asked, top_k=top_k, rerank=rerank)
    return index.located(answer, asked) if things else answer
