"""What embedding asks of a model and of what makes its inputs.

Anything with these methods fits, whether it is ours, a ``CLIPModel`` or a user's own class.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypedDict, runtime_checkable

from PIL import Image
from torch import Tensor

#: A picture as users give it: a file, or a picture in memory.
PictureSource = str | Path | Image.Image
Progress = Callable[[int, int], None]


class BatchOptions(TypedDict, total=False):
    """How many pictures are embedded at once; their vectors do not depend on it.

    Attributes:
        batch_size: pictures per forward pass; None: ``encode.default_batch_size``.
        workers: threads of one processor each that read and embed batches of their own. 0 does all
            in the caller's thread; None: ``encode.PictureEmbedding.workers``.
        progress: called with (done, total) after each batch; total is 0 where it is not known.
    """

    batch_size: int | None
    workers: int | None
    progress: Progress | None


@runtime_checkable
class DualEncoder(Protocol):
    """Anything that embeds pictures and sentences into one space.

    Each side gives vectors, or an output of transformers whose ``pooler_output`` holds them.
    """

    config: Any

    def get_image_features(self, pixel_values: Tensor) -> Any:  # noqa: ANN401
        """Embed pictures (B, 3, H, W) as (B, D), or return an output whose pooled vector is."""

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:  # noqa: ANN401
        """Embed token ids (C, T) as (C, D), likewise."""


class Processor(Protocol):
    """Makes the inputs of a dual encoder; a ``ProcessorMixin`` of transformers is one."""

    tokenizer: Any
    image_processor: Any

    def __call__(self, **inputs: Any) -> Mapping[str, Tensor]:  # noqa: ANN401
        """Turn ``images`` into ``pixel_values`` (B, 3, H, W) and what else the model takes."""

    def save_pretrained(self, save_directory: str | Path) -> Any:  # noqa: ANN401
        """Write it below a folder."""


@runtime_checkable
class RegionGraphModel(Protocol):
    """A model that can show the region graph it reasons over."""

    def get_region_graph(self, pixel_values: Tensor) -> Any:  # noqa: ANN401 (a GaLRRegionGraph)
        """Return boxes, scores, salience, kept nodes and adjacency of (B, 3, H, W) pictures."""


@runtime_checkable
class PatchEncoder(Protocol):
    """A model that also embeds the patches of a picture into the space of whole pictures."""

    def get_patch_features(self, pixel_values: Tensor) -> Tensor:
        """Embed pictures (B, 3, H, W) as unit vectors (B, T, D), row by row of a square map."""
