"""One pass over a scene: tiles are read in a thread while the model embeds those before them."""

from collections.abc import Iterator
from contextlib import closing

import torch
from PIL import Image
from torch import Tensor

from rsctir_hf.embedding.encode import default_batch_size
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.prepare import Skipped
from rsctir_hf.embedding.read_ahead import read_ahead
from rsctir_hf.embedding.roles import Progress
from rsctir_hf.geo.raster import Raster, Tile, TileReader
from rsctir_hf.geo.tiling import Window
from rsctir_hf.scene.plan import TilePlan


class ScenePass:
    """One pass over a scene.

    Args:
        plan: how it is cut.
        least_valid: windows with a smaller share of pixels that hold data are left out.
        progress: called with (windows done, windows in all).

    Attributes:
        windows: those that were embedded.
        skipped: those with data that could not be embedded, and why.
    """

    def __init__(self, plan: TilePlan, least_valid: float, progress: Progress | None) -> None:
        self.windows: list[Window] = []
        self.skipped: list[Skipped] = []
        self._plan, self._least, self._progress = plan, least_valid, progress
        self._tried: list[int] = []  # places in the plan of the windows that hold data

    def run(
        self,
        encoder: Encoder,
        raster: Raster,
        *,
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> Tensor:
        """Return the vectors (n, D) of the windows that hold data; these are in ``windows``.

        The options are those of ``BatchOptions``.
        """
        parts, embedded = [], 0
        ahead = 2 * (batch_size or default_batch_size(encoder.model))
        for batch in encoder.image_batches(
            self._pictures(raster, ahead=ahead), batch_size=batch_size, workers=workers
        ):
            self.windows += [self._plan.windows[self._tried[at]] for at in batch.kept]
            parts += [batch.vectors] if batch.kept else []
            embedded += len(batch.kept) + len(batch.skipped)
            self.skipped += batch.skipped
            self._tell(self._tried[embedded - 1] + 1)
        self._tell(len(self._plan.windows))
        return torch.cat(parts) if parts else torch.zeros(0, 0)

    def _tell(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done, len(self._plan.windows))

    def _pictures(self, raster: Raster, *, ahead: int) -> Iterator[Image.Image]:
        """Yield the tiles with enough data, noting which they are: they are read far in advance."""
        with TileReader(raster) as reader:

            def read(window: Window) -> Tile:
                return reader.read(window, self._plan.size_of(window))

            # One thread, since a raster must not be read by two at once. Closed before the reader,
            # or it might still read from a file that is shut.
            with closing(read_ahead(read, self._plan.windows, workers=1, most=ahead)) as tiles:
                for place, tile in enumerate(tiles):
                    if tile.picture is not None and tile.valid >= self._least:
                        self._tried.append(place)
                        yield tile.picture
