"""Turn pictures into model inputs, with the regions that are handed in with them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from rsctir_hf.embedding.roles import Processor, RegionGraphModel
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


@dataclass(frozen=True)
class RegionSource:
    """Where the regions of every picture come from, checked against the model once.

    Attributes:
        name: what indexes and results record: ``model``, ``none`` or a proposer's name.
        proposer: finds the regions that are handed in; None where nobody does.
        left_out: no region is handed in to a model that would propose its own.
    """

    name: str
    proposer: RegionProposer | None = None
    left_out: bool = False

    @property
    def detector(self) -> DetectorRecord | None:
        """What identifies the detector.

        A proposer of the user's own may do without a ``record``: then its name is all there is.
        """
        return self.proposer.record if isinstance(self.proposer, RecordedProposer) else None

    def find(self, pictures: Iterable[Image.Image]) -> list[Regions] | None:
        """Return the regions to hand in with B pictures; None: the model proposes its own.

        Raises:
            RegionsError: a proposer's answer has no sense.
            UnsupportedError: a detector cannot look at one of them.
        """
        if self.proposer is not None:
            return propose(self.proposer, pictures)
        if self.left_out:
            return [Regions(torch.zeros(0, 4), torch.zeros(0)) for _ in pictures]
        return None


def region_source(model: nn.Module, regions: str | RegionProposer = MODEL_REGIONS) -> RegionSource:
    """Check that a model can use regions: ``model`` (its own), ``none``, or a proposer's.

    A model without a region branch has none, whichever of the two words is given.

    Raises:
        RegionsError: another word than ``model`` or ``none``, or no name of its own.
        UnsupportedError: a proposer for a model that takes no regions.
    """
    config = getattr(model, "config", None)
    has_branch = isinstance(model, RegionGraphModel) and getattr(config, "use_regions", True)
    if isinstance(regions, str) and regions in (MODEL_REGIONS, NO_REGIONS):
        left_out = regions == NO_REGIONS and has_branch
        return RegionSource(regions if has_branch else NO_REGIONS, left_out=left_out)
    name = getattr(regions, "name", "")
    if isinstance(regions, str) or not callable(regions) or name in ("", MODEL_REGIONS, NO_REGIONS):
        raise RegionsError(
            f"regions is {regions!r}; expected 'model', 'none' or a proposer with a name of its "
            "own, such as regions.detector.load_detector(ID_OR_FOLDER) gives."
        )
    if not has_branch or getattr(config, "region_source", MODEL_REGIONS) != MODEL_REGIONS:
        raise UnsupportedError(
            f"{type(model).__name__} takes no regions of {name}: it has no region branch, or one "
            "for precomputed nodes. Use regions 'model', or a GaLR model with regions."
        )
    return RegionSource(name, proposer=regions)


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
    """The half of embedding that comes before the model.

    Args:
        processor: of the model.
        regions: what is handed in with the pictures.
        symmetries: see ``Encoder.images``.

    Raises:
        QueryError: ``symmetries`` is neither 1 nor 8.
    """

    def __init__(self, processor: Processor, regions: RegionSource, symmetries: int = 1) -> None:
        self._processor, self._regions = processor, regions
        self._shown = first_symmetries(symmetries)

    @property
    def proposes(self) -> bool:
        """Whether a proposer looks at the pictures."""
        return self._regions.proposer is not None

    def __call__(self, named: Sequence[tuple[str, Any]]) -> PreparedImages:
        """Make model inputs of pictures: what messages call each, what ``read_image`` reads."""
        kept, pictures, found, skipped = [], [], [], []
        for place, (name, source) in enumerate(named):
            try:
                picture = read_image(source, name=name)
                views = [turned(picture, symmetry) for symmetry in self._shown]
                found.append(self._regions.find(views) or [])
                pictures.append(picture)
                kept.append(place)
            except ImageReadError as error:
                skipped.append(Skipped(path=name, reason=str(error)))
            except UnsupportedError as error:
                skipped.append(Skipped(path=name, reason=f"{name}: {error}"))
        inputs = [
            picture_inputs(
                self._processor,
                [turned(picture, symmetry) for picture in pictures],
                [each[view] for each in found if each] or None,
            )
            for view, symmetry in enumerate(self._shown if pictures else ())
        ]
        return PreparedImages(tuple(inputs), tuple(kept), tuple(skipped))


def picture_inputs(
    processor: Processor, pictures: Sequence[Image.Image], regions: Sequence[Regions] | None
) -> dict[str, Tensor]:
    """Turn B RGB pictures, and regions that were found already, into tensors on the CPU."""
    given = {} if regions is None else {"regions": regions}
    return dict(processor(images=list(pictures), return_tensors="pt", **given))
