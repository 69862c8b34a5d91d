"""What made some vectors: which model, from which regions and settings.

A folder of embeddings and the record of an index (``contract.VectorIndex.record``) both hold it, so
that vectors of two models never meet.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsctir_hf.errors import IndexMismatchError
from rsctir_hf.regions.proposer import MODEL_REGIONS, NO_REGIONS, DetectorRecord
from rsctir_hf.vector_index.opening import server_of
from rsctir_hf.vector_index.shards import Precision

#: What the record of an index of rasters holds besides: those of these options that cut them.
RASTERS = "rasters"
CUT_BY = ("tile", "overlap", "gsd", "bands", "nodata", "crs")


@dataclass(frozen=True)
class Provenance:
    """All that the numbers of an embedding depend on, besides the picture.

    Attributes:
        model_id: folder or Hub id of the model.
        model_revision: commit on the Hub, or None.
        fingerprint: of the model's weights (``checks.weights_fingerprint``), or of these and an
            adapter's.
        regions: ``model``, ``none`` or a detector's name.
        detector: what identifies the detector; None where there is none or it says no more than
            its name.
        preprocessing: fingerprint of the image processor's settings.
        symmetries: views of a picture that are averaged, 1 or 8.
        dtype: of the stored numbers.
        adapter: folder or ``OWNER/NAME@COMMIT`` of what was merged into the weights; or None.
    """

    model_id: str
    model_revision: str | None
    fingerprint: str
    regions: str
    detector: DetectorRecord | None
    preprocessing: str
    symmetries: int = 1
    dtype: Precision = "float32"
    adapter: str | None = None

    def same_model(self, other: "Provenance") -> bool:
        """Tell whether the same weights and regions made both; they may lie elsewhere."""
        if self.detector is not None and other.detector is not None:
            same_regions = self.detector.finds_the_same(other.detector)
        else:
            same_regions = (self.regions, self.detector) == (other.regions, other.detector)
        return self.fingerprint == other.fingerprint and same_regions

    def makes_the_same(self, other: "Provenance") -> bool:
        """Tell whether both make the same embeddings, to the number."""
        return self.same_model(other) and self._settings() == other._settings()

    def _settings(self) -> tuple[str | int, ...]:
        return self.preprocessing, self.symmetries, self.dtype

    def __str__(self) -> str:
        adapter = f" with the adapter {self.adapter}" if self.adapter else ""
        return (
            f"{self.model_id or 'an unnamed model'}{adapter} (weights {self.fingerprint}, regions "
            f"{self.detector or self.regions}, preprocessing {self.preprocessing}, symmetries "
            f"{self.symmetries}, {self.dtype})"
        )


def read_provenance(record: Mapping[str, Any], place: str | Path) -> Provenance:
    """Read what the record of an index says; ``place`` is its folder or server, for the message.

    Raises:
        IndexMismatchError: the record is empty or damaged.
    """
    if not record:
        raise IndexMismatchError(
            f"{place} holds no index. Make one with 'rsctir index': --index FOLDER, or --engine "
            "URI where a server keeps it."
        )
    try:
        # Most records are of a model without one, and older ones do not say so.
        said = {"adapter": None, **record}
        fields = {name: said[name] for name in Provenance.__dataclass_fields__}
        if fields["detector"] is not None:
            fields["detector"] = DetectorRecord(**fields["detector"])
        if not isinstance(fields["model_id"], str):
            raise TypeError(f"model_id is {fields['model_id']!r}")
        if not isinstance(fields["adapter"], str | None):
            raise TypeError(f"adapter is {fields['adapter']!r}")
        return Provenance(**fields)
    except (TypeError, KeyError, AttributeError) as error:
        raise IndexMismatchError(
            f"The record of the index in {place} is damaged ({error}). Build the index anew."
        ) from error


def own_regions(made_by: Provenance, place: str | Path) -> str:
    """Return the regions of an index where they need no detector: ``model`` or ``none``.

    Raises:
        IndexMismatchError: it was made with a detector; says how to hand that in.
    """
    if made_by.regions not in (MODEL_REGIONS, NO_REGIONS):
        raise IndexMismatchError(
            f"The index in {place} was made with the regions of "
            f"{made_by.detector or made_by.regions}. Load that detector and hand it in: "
            "regions=load_detector(ID_OR_FOLDER, threshold=...)."
        )
    return made_by.regions


def check_same_model(record: Mapping[str, Any], here: Provenance, place: str | Path) -> None:
    """Refuse an index in ``place`` that other weights or regions made than those at hand, ``here``.

    Args:
        record: of the index.
        here: of the model and regions at hand.
        place: folder or server of the index.

    Raises:
        IndexMismatchError: names both, and the command that embeds all again; or see
            ``read_provenance``.
    """
    made_by = read_provenance(record, place)
    if not made_by.same_model(here):
        raise IndexMismatchError(
            f"The index in {place} was made with {made_by}; the model at hand is {here}. Load the "
            f"model and regions that made it, or embed all again{_again(record, here, place)}"
        )


def _again(record: Mapping[str, Any], here: Provenance, place: str | Path) -> str:
    """Name the command that makes an index again with the model at hand; it ends the message."""
    index = ["rsctir", "index", "--model", here.model_id or "MODEL"]
    if here.model_revision is not None:
        index += ["--revision", here.model_revision]
    cut = record.get(RASTERS)
    if here.adapter is not None:
        index += ["--adapter", here.adapter]
    index += ["--images" if cut is None else "--rasters", str(record.get("root") or "FOLDER")]
    if isinstance(cut, Mapping):
        index += [f"--{name}={cut[name]}" for name in CUT_BY if name in cut]
    if here.detector is not None:
        index += ["--regions", here.detector.source, "--threshold", str(here.detector.threshold)]
    elif here.regions == NO_REGIONS:
        index += ["--regions", NO_REGIONS]
    if server_of(place) is not None:
        return f", into another table or collection named in URI: {shlex.join(index)} --engine URI"
    return f": {shlex.join([*index, '--index', str(place), '--rebuild'])}"
