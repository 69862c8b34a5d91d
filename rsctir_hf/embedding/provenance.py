"""What an index says about itself: which model made it, from which regions, where its files lie.

It stands in the record of the index (``contract.VectorIndex.record``), whatever engine keeps that.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rsctir_hf.errors import IndexMismatchError
from rsctir_hf.regions.proposer import MODEL_REGIONS, NO_REGIONS, DetectorRecord


@dataclass(frozen=True)
class Manifest:
    """Describes what made an index.

    Attributes:
        model_id: folder or Hub id of the model.
        model_revision: commit on the Hub, or None.
        fingerprint: of the model's weights.
        regions: ``model``, ``none`` or a detector's name.
        detector: what identifies the detector; None where there is none or it said no more than
            its name, and in indexes of before detectors were recorded.
    """

    model_id: str
    model_revision: str | None
    fingerprint: str
    regions: str
    detector: DetectorRecord | None = None

    def noted_in(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the record of an index with this noted in it."""
        return {**record, **asdict(self)}


def read_manifest(record: Mapping[str, Any], place: str | Path) -> Manifest:
    """Read what the record of an index says.

    Args:
        record: of the index.
        place: folder or server of the index, for the message.

    Raises:
        IndexMismatchError: the record is empty or damaged.
    """
    if not record:
        raise IndexMismatchError(
            f"{place} holds no index. Make one with 'rsctir index': --index FOLDER, or --engine "
            "URI where a server keeps it."
        )
    try:
        detector = record.get("detector")
        return Manifest(
            model_id=record["model_id"],
            model_revision=record["model_revision"],
            fingerprint=record["fingerprint"],
            regions=record["regions"],
            detector=None if detector is None else DetectorRecord(**detector),
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise IndexMismatchError(
            f"The record of the index in {place} is damaged ({error}). Build the index anew."
        ) from error


def own_regions(manifest: Manifest, place: str | Path) -> str:
    """Return the regions of an index where they need no detector: ``model`` or ``none``.

    Raises:
        IndexMismatchError: it was made with a detector; says how to hand that in.
    """
    if manifest.regions not in (MODEL_REGIONS, NO_REGIONS):
        raise IndexMismatchError(
            f"The index in {place} was made with the regions of {_regions_of(manifest)}. Load "
            "that detector and hand it in: regions=load_detector(ID_OR_FOLDER, threshold=...)."
        )
    return manifest.regions


def check_same_maker(manifest: Manifest, here: Manifest, place: str | Path) -> None:
    """Refuse an index that other weights or other regions made than those at hand.

    Args:
        manifest: of the index.
        here: what the model and regions at hand would note.
        place: folder or server of the index, for the message.

    Raises:
        IndexMismatchError: names both.
    """
    if manifest.fingerprint == here.fingerprint and _same_regions(manifest, here):
        return
    raise IndexMismatchError(
        f"The index in {place} was made with {manifest.model_id or 'an unnamed model'} "
        f"(weights {manifest.fingerprint}, regions {_regions_of(manifest)}); the model at hand "
        f"is {here.model_id or 'unnamed'} (weights {here.fingerprint}, regions "
        f"{_regions_of(here)}). Build the index anew or load the model and regions that made it."
    )


def _same_regions(one: Manifest, other: Manifest) -> bool:
    if one.detector is not None and other.detector is not None:
        return one.detector.finds_the_same(other.detector)
    return (one.regions, one.detector) == (other.regions, other.detector)


def _regions_of(manifest: Manifest) -> str:
    return manifest.regions if manifest.detector is None else str(manifest.detector)
