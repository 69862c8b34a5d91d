"""Turn pictures into model inputs, with the regions that are handed in with them.

This is the half of embedding that can run in threads, ahead of the model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from rsctir_hf.embedding.read_ahead import default_workers
from rsctir_hf.embedding.roles import RegionGraphModel
from rsctir_hf.errors import ImageReadError, RegionsError, UnsupportedError
from rsctir_hf.files.pictures import first_symmetries, read_image, turned
from rsctir_hf.regions.proposer import (
    MODEL_REGIONS,
    NO_REGIONS,
    DetectorRecord,
    RecordedProposer,
    RegionProposer,
    Regions,
)
from rsctir_hf.regions.sanitize import propose


@dataclass(frozen=True)
class Skipped:
    """A picture that could not be read, or that a detector cannot look at, and why."""

    path: str
    reason: str


def regions_name(model: nn.Module, regions: str | RegionProposer = MODEL_REGIONS) -> str:
    """Name the regions that embeddings of ``model`` use: ``model``, ``none`` or a detector's name.

    This is what indexes and results record, beside ``detector_record``. A model without a region
    branch has none.

    Raises:
        RegionsError: another word than ``model`` or ``none``, or no name of its own.
        UnsupportedError: a proposer for a model that takes no regions.
    """
    if regions in (MODEL_REGIONS, NO_REGIONS):
        return str(regions) if _uses_regions(model) else NO_REGIONS
    name = getattr(regions, "name", "")
    if isinstance(regions, str) or not callable(regions) or name in ("", MODEL_REGIONS, NO_REGIONS):
        raise RegionsError(
            f"regions is {regions!r}; expected 'model', 'none' or a proposer with a name of its "
            "own, such as regions.detector.load_detector(ID_OR_FOLDER) gives."
        )
    source = getattr(model.config, "region_source", MODEL_REGIONS)
    if not _uses_regions(model) or source != MODEL_REGIONS:
        raise UnsupportedError(
            f"{type(model).__name__} takes no regions of {name}: it has no region branch, or one "
            "for precomputed nodes. Use regions 'model', or a GaLR model with regions."
        )
    return name


def detector_record(
    model: nn.Module, regions: str | RegionProposer = MODEL_REGIONS
) -> DetectorRecord | None:
    """Return what identifies the detector behind ``regions_name``; None where there is none.

    A proposer of the user's own may do without a ``record``: then its name is all there is.

    Raises:
        RegionsError, UnsupportedError: see ``regions_name``.
    """
    regions_name(model, regions)
    return regions.record if isinstance(regions, RecordedProposer) else None


@dataclass(frozen=True)
class PreparedImages:
    """One batch of pictures as model inputs, still on the CPU.

    Attributes:
        views: the tensors of ``get_image_features`` for n pictures, one mapping for each symmetry;
            none where n is 0.
        kept: places of those n pictures in the batch that was given.
        skipped: the other pictures.
    """

    views: tuple[Mapping[str, Tensor], ...]
    kept: tuple[int, ...]
    skipped: tuple[Skipped, ...]


class Preparation:
    """Turns pictures into model inputs; the half of embedding that runs ahead of the model.

    Args:
        model: whose ``embed_prepared`` will embed them.
        processor: its processor.
        regions: see ``embed_images``.
        symmetries: see ``embed_images``.

    Raises:
        QueryError, RegionsError, UnsupportedError: see ``embed_images``.
    """

    def __init__(
        self,
        model: nn.Module,
        processor: Any,  # noqa: ANN401
        *,
        regions: str | RegionProposer = MODEL_REGIONS,
        symmetries: int = 1,
    ) -> None:
        regions_name(model, regions)  # refuses what no picture could be embedded with
        self._model, self._processor, self._regions = model, processor, regions
        self._shown = first_symmetries(symmetries)

    def workers(self, wanted: int | None) -> int:
        """Return how many threads may prepare: none where a proposer looks at the pictures.

        A proposer may be a network of its own, which nobody promised to be safe in threads.
        """
        if not isinstance(self._regions, str):
            return 0
        return default_workers() if wanted is None else wanted

    def __call__(self, sources: Sequence[Any], names: Sequence[str]) -> PreparedImages:
        """Read pictures and make them model inputs.

        Args:
            sources: what ``pictures.read_image`` reads.
            names: what messages call each of them.
        """
        kept, pictures, found, skipped = [], [], [], []
        for place, (source, name) in enumerate(zip(sources, names, strict=True)):
            try:
                picture = read_image(source, name=name)
                found.append(self._propose(picture))
                pictures.append(picture)
                kept.append(place)
            except ImageReadError as error:
                skipped.append(Skipped(path=name, reason=str(error)))
            except UnsupportedError as error:
                skipped.append(Skipped(path=name, reason=f"{name}: {error}"))
        views = [
            self._view(pictures, [each[view] for each in found if each], symmetry)
            for view, symmetry in enumerate(self._shown if pictures else ())
        ]
        return PreparedImages(tuple(views), tuple(kept), tuple(skipped))

    def _propose(self, picture: Image.Image) -> list[Regions]:
        """Return what a proposer finds in each view of a picture; nothing without a proposer."""
        if isinstance(self._regions, str):
            return []
        return propose(self._regions, (turned(picture, symmetry) for symmetry in self._shown))

    def _view(
        self,
        pictures: Sequence[Image.Image],
        found: Sequence[Regions],
        symmetry: Image.Transpose | None,
    ) -> dict[str, Tensor]:
        seen = [turned(picture, symmetry) for picture in pictures]
        handed_in = found or regions_to_hand_in(self._model, seen, self._regions)
        return inputs_with(self._processor, seen, handed_in)


def regions_to_hand_in(
    model: nn.Module, pictures: Sequence[Image.Image], regions: str | RegionProposer
) -> list[Regions] | None:
    """Return the regions to hand in with each of B pictures; None: the model proposes its own."""
    name = regions_name(model, regions)
    if not isinstance(regions, str):
        return propose(regions, pictures)
    if name == NO_REGIONS and regions_name(model) != NO_REGIONS:
        return [Regions(boxes=torch.zeros(0, 4), scores=torch.zeros(0))] * len(pictures)
    return None


def inputs_with(
    processor: Any,  # noqa: ANN401
    pictures: Sequence[Image.Image],
    handed_in: Sequence[Regions] | None,
) -> dict[str, Tensor]:
    """Turn B RGB pictures, and regions that were found already, into tensors on the CPU."""
    given = {} if handed_in is None else {"regions": handed_in}
    return dict(processor(images=list(pictures), return_tensors="pt", **given))


def _uses_regions(model: nn.Module) -> bool:
    config = getattr(model, "config", None)
    return isinstance(model, RegionGraphModel) and getattr(config, "use_regions", True)
