"""Where in a picture a query is: one heat map, of the picture seen whole and in smaller windows.

Each window is embedded as a picture of its own, so that small things come nearer, and speaks for
the cells under it, most of all for those in its middle. A model with patches says of large windows
which patch it is. A cell's heat is the mean over the scales of what is more like the query than
like an average sentence. This is our own measure, for any dual encoder; the scales were chosen on
RSOD train (``benchmarks/heat_pointing.py``, results/REGIONS.md).
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.roles import PatchEncoder, PictureSource
from rsctir_hf.errors import QueryError, UnsupportedError
from rsctir_hf.files.pictures import read_image
from rsctir_hf.search.caption_bank import CaptionBank
from rsctir_hf.search.gallery import read_picture
from rsctir_hf.search.hits import Hit
from rsctir_hf.search.query import Asked, QueryPart, joined_words, read_parts

#: Cells along each side of a heat map.
CELLS = 60
#: A cell belongs to the thing where its heat is above this share of the way from mean to peak.
_WARM = 0.5

# Of the drawn heat: share, red, green, blue, opacity.
_COLOURS = np.array(
    [[0, 13, 8, 135, 0], [0.3, 126, 3, 168, 60], [0.65, 248, 149, 64, 130], [1, 240, 249, 33, 190]]
)

#: x1, y1, x2, y2 as shares, 0..1, of a picture's width and height.
SharedBox = tuple[float, float, float, float]


@dataclass(frozen=True)
class Scale:
    """Windows of one size.

    Attributes:
        side: windows along each side of the picture, which overlap.
        share: of the picture's width and height that one covers.
        patches: embed each window's patches where the model can, not the window as a whole.
    """

    side: int
    share: float
    patches: bool = False

    def windows(self) -> list[SharedBox]:
        """Return the windows, row by row."""
        step = (1 - self.share) / max(1, self.side - 1)
        starts = [step * place for place in range(self.side)]
        return [(x, y, x + self.share, y + self.share) for y in starts for x in starts]


SCALES = (Scale(3, 1 / 2, True), Scale(3, 1 / 2), Scale(5, 1 / 3), Scale(7, 1 / 4))
_LEAST_SIDE = 16  # pixels; windows of less are no pictures


@dataclass(frozen=True)
class HeatMap:
    """Where in a picture a query is.

    Attributes:
        cells: (CELLS, CELLS) float32, row by row from the top; only differences mean something.
    """

    cells: Tensor

    @property
    def peak(self) -> tuple[float, float]:
        """X and y of the middle of the hottest cell, as shares of width and height."""
        row, column = divmod(int(self.cells.argmax()), self.cells.shape[1])
        return (column + 0.5) / self.cells.shape[1], (row + 0.5) / self.cells.shape[0]

    @property
    def shares(self) -> Tensor:
        """The heat from the mean, 0, to the peak, 1, for drawing: (CELLS, CELLS)."""
        over = (self.cells - self.cells.mean()).clamp(min=0)
        return over / over.max().clamp(min=torch.finfo(over.dtype).tiny)

    @property
    def box(self) -> SharedBox:
        """The box around the warm cells that hang together with the peak."""
        warm = self.shares >= _WARM
        found = torch.zeros_like(warm)
        found.view(-1)[self.cells.argmax()] = True
        for _ in range(warm.numel()):
            grown = F.max_pool2d(found[None].float(), 3, stride=1, padding=1)[0].bool() & warm
            if torch.equal(grown | found, found):
                break
            found |= grown
        rows, columns = (found.any(dim=axis).nonzero().flatten().tolist() for axis in (1, 0))
        height, width = found.shape
        return (
            columns[0] / width,
            rows[0] / height,
            (columns[-1] + 1) / width,
            (rows[-1] + 1) / height,
        )


@dataclass(frozen=True)
class Looks:
    """A picture as it was looked at; any query can be asked of it.

    Attributes:
        seen: for each scale the vectors (W, T, D) of its windows' patches, T = 1 without them.
    """

    seen: Sequence[tuple[Scale, Tensor]]

    def heat(self, direction: Tensor) -> HeatMap:
        """Return the heat map of what a query adds to an average one, as a direction (D,)."""
        laid = [lay_out(vectors @ direction, scale) for scale, vectors in self.seen]
        return HeatMap(torch.stack(laid).mean(dim=0))


def overlaid(picture: Image.Image, heat: HeatMap) -> Image.Image:
    """Lay a heat map over its RGB picture: clear at the mean, yellow at the peak."""
    shares = heat.shares.numpy()
    layers = [np.interp(shares, _COLOURS[:, 0], values) for values in _COLOURS[:, 1:].T]
    cells = Image.fromarray(np.stack(layers, axis=2).round().astype(np.uint8))
    over = cells.resize(picture.size, Image.Resampling.BILINEAR)
    return Image.alpha_composite(picture.convert("RGBA"), over).convert("RGB")


class HeatMaps:
    """Makes heat maps with one model.

    Args:
        encoder: of pictures and queries.
        bank: knows the average sentence.
    """

    def __init__(self, encoder: Encoder, bank: CaptionBank) -> None:
        self._encoder, self._bank = encoder, bank

    def of(self, image: PictureSource, query: Asked | Sequence[Asked]) -> HeatMap:
        """Return where in a picture a query is; what is not wanted in it is left aside.

        Args:
            image: a path or PIL picture.
            query: words, a picture or several parts, as for ``Retriever.search``.

        Raises:
            QueryError: an empty or contradictory query, or one that wants nothing.
            ImageReadError: the picture cannot be read, or that of the query.
            RegionsError, UnsupportedError: see ``Encoder.inputs``.
        """
        return look_at(self._encoder, read_image(image)).heat(self.direction(query))

    def located(self, hit: Hit, query: Asked | Sequence[Asked]) -> tuple[Hit, Image.Image]:
        """Return a hit with its ``thing``, and its picture under the heat map; errors as ``of``.

        Raises:
            QueryError: the hit is no picture that could be read again.
        """
        if hit.path is None:
            raise QueryError("The hit names no file: its picture was handed in from memory.")
        picture = read_picture(hit.path)
        heat = self.of(picture, query)
        return replace(hit, thing=heat.box), overlaid(picture, heat)

    def direction(self, query: Asked | Sequence[Asked]) -> Tensor:
        """Return the direction (D,) that ``Looks.heat`` takes for a query; errors as ``of``."""
        wanted = [part for part in joined_words(read_parts(query)) if part.wanted]
        if not wanted:
            raise QueryError("A heat map shows what is wanted, and the query names nothing.")
        return torch.stack([part.weight * self._direction(part) for part in wanted]).sum(dim=0)

    def _direction(self, part: QueryPart) -> Tensor:
        if part.text is None:
            return self._encoder.image(cast(PictureSource, part.image))
        return self._encoder.texts([part.text])[0] - self._bank.average(self._encoder)


def look_at(encoder: Encoder, picture: Image.Image, scales: Sequence[Scale] = SCALES) -> Looks:
    """Embed the windows of an RGB picture; a tiny one is enlarged first.

    Raises:
        RegionsError, UnsupportedError: see ``Encoder.inputs``.
    """
    times = math.ceil(_LEAST_SIDE / min(picture.size))
    enlarged = picture.resize((picture.width * times, picture.height * times))
    return Looks([(scale, _vectors(encoder, enlarged, scale)) for scale in scales])


def lay_out(values: Tensor, scale: Scale) -> Tensor:
    """Return the mean (CELLS, CELLS) of maps (W, T) of overlapping windows.

    A window counts for a cell by the cell's nearness to its middle.
    """
    size, side = round(scale.share * CELLS), math.isqrt(values.shape[1])
    maps = F.interpolate(values.view(-1, 1, side, side), size=(size, size), mode="bilinear")
    near = 1 - ((torch.arange(size) + 0.5) / size * 2 - 1).abs()
    weight = near[:, None] * near
    total, weights = torch.zeros(CELLS, CELLS), torch.zeros(CELLS, CELLS)
    for (x, y, *_), each in zip(scale.windows(), maps[:, 0], strict=True):
        rows, columns = (
            slice(start, start + size) for start in (round(y * CELLS), round(x * CELLS))
        )
        total[rows, columns] += each * weight
        weights[rows, columns] += weight
    return total / weights


def _vectors(encoder: Encoder, picture: Image.Image, scale: Scale) -> Tensor:
    """Embed the windows of one scale: (W, T, D)."""
    views = [picture.crop(_pixels(window, picture.size)) for window in scale.windows()]
    if scale.patches and isinstance(encoder.model, PatchEncoder):
        with suppress(UnsupportedError):  # then each window is embedded as a whole
            return torch.cat([each.vectors for each in encoder.patch_batches(views)])
    return encoder.images(views).vectors[:, None]


def _pixels(window: SharedBox, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return a window in whole pixels."""
    (width, height), (left, top, right, bottom) = size, window
    return round(left * width), round(top * height), round(right * width), round(bottom * height)
