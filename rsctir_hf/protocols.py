"""The roles that parts of the package play for one another.

A role is a ``Protocol``: anything with these methods fits, whether it is ours, a
``CLIPModel`` or a user's own class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from PIL import Image
from torch import Tensor

from rsctir_hf.entries import BoundingBox, Entry, Metadata, Recall, SearchFilter

MODEL_REGIONS = "model"  # the regions that the model at hand proposes itself
NO_REGIONS = "none"  # global information only


@dataclass(frozen=True)
class Regions:
    """Boxes found in one picture, strongest first.

    Attributes:
        boxes: (N, 4) x1, y1, x2, y2 in pixels of the picture they were found in.
        scores: (N,) in 0..1.
        labels: N class names, or an empty tuple where the proposer knows no classes.
    """

    boxes: Tensor
    scores: Tensor
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class DetectorRecord:
    """What identifies a detector in an index or a report.

    Attributes:
        source: folder or Hub id it was loaded from; its name.
        revision: commit on the Hub, or None for a folder.
        fingerprint: of its weights (``weights.weights_fingerprint``).
        threshold: least score of a region, 0..1.
        max_regions: most regions of a picture, N.
    """

    source: str
    revision: str | None
    fingerprint: str
    threshold: float
    max_regions: int

    def finds_the_same(self, other: "DetectorRecord") -> bool:
        """Tell whether both find the same regions; the same weights may lie elsewhere."""
        return (self.fingerprint, self.threshold, self.max_regions) == (
            other.fingerprint,
            other.threshold,
            other.max_regions,
        )

    def __str__(self) -> str:
        return (
            f"{self.source} (weights {self.fingerprint}, score {self.threshold} or more, "
            f"at most {self.max_regions})"
        )


@runtime_checkable
class DualEncoder(Protocol):
    """Anything that embeds pictures and sentences into one space."""

    config: Any

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """Embed pictures (B, 3, H, W) as (B, D)."""

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Embed token ids (C, T) as (C, D)."""


@runtime_checkable
class PairMatcher(Protocol):
    """A model that also judges a picture and a sentence together."""

    def match(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        pixel_values: Tensor | None = None,
        image_tokens: Tensor | None = None,
    ) -> Tensor:
        """Return the probability (P,) that sentence p describes picture p."""


@runtime_checkable
class RegionGraphModel(Protocol):
    """A model that can show the region graph it reasons over."""

    def get_region_graph(self, pixel_values: Tensor) -> Any:  # noqa: ANN401 (a GaLRRegionGraph)
        """Return boxes, scores, salience, kept nodes and adjacency of (B, 3, H, W) pictures."""


@runtime_checkable
class NodeMaskingModel(Protocol):
    """A model that can leave nodes of its region graph out."""

    config: Any

    def get_features_without_nodes(
        self,
        pixel_values: Tensor,
        hidden: Tensor,
        *,
        region_boxes: Tensor | None = None,
        region_scores: Tensor | None = None,
        region_labels: Tensor | None = None,
        region_mask: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        """Return (V, D) of one picture without the nodes ``hidden`` (V, N), and the graph."""


@runtime_checkable
class BoxMaskingModel(Protocol):
    """A model that can leave out what lies under a box."""

    def get_features_without_boxes(self, pixel_values: Tensor, boxes: Tensor) -> Tensor:
        """Return (V, D) of one picture (1, 3, H, W) without each of the boxes (V, 4)."""


@runtime_checkable
class GlobalWindowModel(Protocol):
    """A model whose tokens look at a window that holds the whole picture."""

    def get_global_attention(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """Return a (B, h, w, M, M) map for each block that used the window."""

    def get_global_scales(self) -> list[Tensor]:
        """Return the learned weight (dim,) of the window in each block that has one."""


class RegionProposer(Protocol):
    """Finds regions in a picture; ``name`` is recorded in results and indexes."""

    @property
    def name(self) -> str:
        """A name of its own, neither ``model`` nor ``none``."""

    def __call__(self, image: Image.Image) -> Regions:
        """Return at most N regions of one RGB picture."""


@runtime_checkable
class RecordedProposer(Protocol):
    """A proposer that says more than its name, so that two of one name are told apart."""

    @property
    def record(self) -> DetectorRecord:
        """What identifies it."""


class VectorIndex(Protocol):
    """Holds unit vectors (n, D) under whole-number ids, and finds the nearest by cosine.

    With each vector go metadata, plain values by name, and perhaps a bounding box. Every method
    raises ``QueryError`` for arguments that make no sense, ``UnknownItemError`` for an id that is
    not there, ``IndexMismatchError`` for vectors of another length, and, where a server holds the
    vectors, ``IndexUnavailableError`` when it does not answer; the next call connects anew.

    An engine whose searches are approximate keeps its ``recall`` in the record, under that name.

    Attributes:
        record: what is noted about the index as a whole, such as which model made it; plain
            values. Assign a new one to change it.
        recall: the share of the true nearest that a search finds, and how that is known.
    """

    record: Mapping[str, Any]

    @property
    def persistent(self) -> bool:
        """Whether a server keeps what was added; else it lives in memory until it is saved."""

    @property
    def place(self) -> str:
        """Where the index lies, for messages; without passwords."""

    @property
    def recall(self) -> Recall:
        """See the class."""

    def __len__(self) -> int: ...

    @property
    def dimension(self) -> int | None:
        """The length D of the vectors; None while there are none."""

    def add(
        self,
        vectors: Tensor,
        *,
        ids: Sequence[int] | Tensor | None = None,
        metadata: Sequence[Metadata] | None = None,
        boxes: Sequence[BoundingBox | None] | None = None,
    ) -> Tensor:
        """Add (n, D) unit vectors; return their ids (n,), the next free ones where not given."""

    def upsert(
        self,
        vectors: Tensor,
        ids: Sequence[int] | Tensor,
        *,
        metadata: Sequence[Metadata] | None = None,
        boxes: Sequence[BoundingBox | None] | None = None,
    ) -> None:
        """Add vectors (n, D), replacing all that is held under ids that are there already."""

    def delete(self, ids: Sequence[int] | Tensor) -> None:
        """Forget these ids; none of them where one is unknown."""

    def ids(self, only: SearchFilter | None = None, *, most: int | None = None) -> Tensor:
        """Return the ids (n,) that pass a filter, ascending; at most ``most``, evenly spaced."""

    def vectors_of(self, ids: Sequence[int] | Tensor) -> Tensor:
        """Return the vectors (n, D) float32 of n ids, in their order."""

    def entries_of(self, ids: Sequence[int] | Tensor) -> list[Entry]:
        """Return what is known about n ids, in their order."""

    def search(
        self, queries: Tensor, top_k: int, *, only: SearchFilter | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return scores (Q, K) and ids (Q, K) of the nearest that pass a filter, best first.

        K is ``top_k`` or, where fewer were found, the most that any query found; the rows of the
        others end in score -inf and id -1. Among equal scores the lower id comes first, where the
        index gave the ids.
        """

    def save(self, folder: Path | None = None) -> None:
        """Make all of it durable: below ``folder``, or, with None, where a server keeps it."""

    def close(self) -> None:
        """Let go of connections."""
