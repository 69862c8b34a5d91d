"""Any object detector of transformers as a proposer of regions: DETR, RT-DETR, YOLOS and others.

    >>> regions = load_detector("hustvl/yolos-tiny", threshold=0.3)  # doctest: +SKIP
    >>> Retriever.from_pretrained("checkpoints/galr-rs", regions=regions)  # doctest: +SKIP

A detector looks at the picture in its own size and hands boxes, scores and class names to a model
with a region branch. Indexes and reports record which one it was (``record``).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    MODEL_FOR_OBJECT_DETECTION_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    AutoModelForObjectDetection,
    PreTrainedConfig,
)

from rsctir_hf.errors import ModelLoadError, RegionsError, UnsupportedError
from rsctir_hf.loading.checks import check_device, load_part, load_weights, weights_fingerprint
from rsctir_hf.loading.hub_files import find_model_files
from rsctir_hf.regions.proposer import (
    MODEL_REGIONS,
    NO_REGIONS,
    DetectorRecord,
    RegionProposer,
    Regions,
)
from rsctir_hf.regions.sanitize import sound_regions

MAX_REGIONS = 20  # N; the region graphs of the papers have as many nodes
THRESHOLD = 0.5  # least score where the caller names none, as in transformers


@dataclass(frozen=True, eq=False)
class Detector:
    """A ``proposer.RegionProposer`` around an object detector.

    Attributes:
        model: in evaluation mode and float32.
        processor: its image processor.
        record: what identifies it.
    """

    model: Any
    processor: Any
    record: DetectorRecord

    @property
    def name(self) -> str:
        """Folder or Hub id."""
        return self.record.source

    @torch.no_grad()
    def __call__(self, image: Image.Image) -> Regions:
        """Find regions in one RGB picture.

        Returns:
            At most ``record.max_regions``, strongest first: boxes (N, 4) in pixels of the picture
            and inside it, scores (N,) above ``record.threshold``, N class names. The same picture
            gives the same regions.

        Raises:
            UnsupportedError: the detector cannot look at a picture of this size.
        """
        width, height = image.size
        try:
            inputs = self.processor(images=image, return_tensors="pt")
            found = self.processor.post_process_object_detection(
                self.model(**inputs.to(next(self.model.parameters()).device)),
                threshold=self.record.threshold,
                target_sizes=[(height, width)],
            )[0]
        except torch.OutOfMemoryError:
            raise  # says nothing about the picture
        except (ValueError, RuntimeError, ZeroDivisionError) as error:
            raise UnsupportedError(
                f"The detector {self.name} cannot look at a picture of {width} x {height} pixels: "
                "it cannot bring one of that shape to the size it works at. Cut or pad the picture "
                "so that it is less narrow, leave it out, or use regions 'model' or 'none'."
            ) from error
        names = self.model.config.id2label
        labels = tuple(str(names.get(label, label)) for label in found["labels"].tolist())
        regions = Regions(boxes=found["boxes"], scores=found["scores"], labels=labels)
        return sound_regions(regions, image.size, proposer=self.name, count=self.record.max_regions)


def load_detector(
    id_or_folder: str | Path,
    *,
    threshold: float = THRESHOLD,
    max_regions: int = MAX_REGIONS,
    device: str = "cpu",
    trust_remote_code: bool = False,
    revision: str | None = None,
) -> Detector:
    """Load an object detector.

    Args:
        id_or_folder: what ``AutoModelForObjectDetection`` and ``AutoImageProcessor`` load.
        threshold: regions with a lower score are left out, 0..1.
        max_regions: most regions of a picture, 1..20; the strongest stay.
        device: as for ``Encoder.from_pretrained``.
        trust_remote_code: likewise.
        revision: likewise.

    Raises:
        RegionsError: ``threshold`` or ``max_regions`` out of range.
        ModelLoadError: likewise, or a model that is no object detector.
    """
    if not 0 <= threshold <= 1:
        raise RegionsError(f"threshold is {threshold}; expected a score from 0 to 1, such as 0.3.")
    if not 1 <= max_regions <= MAX_REGIONS:
        raise RegionsError(f"max_regions is {max_regions}; expected 1 to {MAX_REGIONS}.")
    check_device(device)
    files = find_model_files(id_or_folder, what="detector", revision=revision)
    trust = {"trust_remote_code": trust_remote_code}
    _check_family(files.name, load_part(AutoConfig, files, "detector", **trust))
    model = load_weights(AutoModelForObjectDetection, files, "detector", **trust)
    processor = load_part(AutoImageProcessor, files, "image processor", **trust)
    if not hasattr(processor, "post_process_object_detection"):
        raise ModelLoadError(
            f"{files.name!r} has a {type(processor).__name__}, which makes no boxes of a "
            "detector's output. Put the image processor that belongs to the detector beside it."
        )
    record = DetectorRecord(
        source=files.name,
        revision=files.revision,
        fingerprint=weights_fingerprint(model),
        threshold=float(threshold),
        max_regions=max_regions,
    )
    return Detector(model.eval().to(device), processor, record)


def choose_regions(
    named: str,
    threshold: float | None = None,
    *,
    like: DetectorRecord | None = None,
    device: str = "cpu",
    trust_remote_code: bool = False,
) -> str | RegionProposer:
    """Turn what a user typed into regions: ``model``, ``none``, or a loaded detector.

    Args:
        named: ``model``, ``none``, a folder or a Hub id.
        threshold: of a detector; None takes that of ``like``, or the default.
        like: the detector of an index that is to be searched.
        device: as for ``load_detector``.
        trust_remote_code: likewise.

    Raises:
        RegionsError: a threshold without a detector, or out of range.
        ModelLoadError: see ``load_detector``.
    """
    if named in (MODEL_REGIONS, NO_REGIONS):
        if threshold is not None:
            raise RegionsError(
                f"threshold is {threshold} and regions is {named!r}: only a detector's regions "
                "have a threshold. Name a detector, or leave the threshold out."
            )
        return named
    if threshold is None:
        threshold = THRESHOLD if like is None else like.threshold
    return load_detector(
        named,
        threshold=threshold,
        max_regions=MAX_REGIONS if like is None else like.max_regions,
        device=device,
        revision=like.revision if like is not None and like.source == named else None,
        trust_remote_code=trust_remote_code,
    )


def _check_family(name: str, config: PreTrainedConfig) -> None:
    """Refuse another kind of model in one sentence; transformers lists every class it knows."""
    brought = getattr(config, "auto_map", None) or {}
    if type(config) in MODEL_FOR_OBJECT_DETECTION_MAPPING or (
        AutoModelForObjectDetection.__name__ in brought
    ):
        return
    raise ModelLoadError(
        f"{name!r} is a model of type {config.model_type!r}, which is no object detector. Expected "
        "one that AutoModelForObjectDetection loads (detr, rt_detr, yolos and others). Name such a "
        "detector, or use regions 'model' or 'none'."
    )
