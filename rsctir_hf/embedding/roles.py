"""What embedding asks of a model and of what makes its inputs.

Anything with these methods fits, whether it is ours, a ``CLIPModel`` or a user's own class.
"""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class DualEncoder(Protocol):
    """Anything that embeds pictures and sentences into one space."""

    config: Any

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """Embed pictures (B, 3, H, W) as (B, D)."""

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Embed token ids (C, T) as (C, D)."""


@runtime_checkable
class RegionGraphModel(Protocol):
    """A model that can show the region graph it reasons over."""

    def get_region_graph(self, pixel_values: Tensor) -> Any:  # noqa: ANN401 (a GaLRRegionGraph)
        """Return boxes, scores, salience, kept nodes and adjacency of (B, 3, H, W) pictures."""
