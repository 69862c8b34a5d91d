"""The Hugging Face Trainer for the detector of objects seen from above."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.ops import box_convert
from transformers import PreTrainedModel, RTDetrImageProcessor, TrainerCallback

from rsctir_hf.data.sampler import CaptionAwareSampler
from rsctir_hf.detection.average_precision import evaluate_detection
from rsctir_hf.detection.boxed_sets import DetectorData
from rsctir_hf.detection.crops import BoxedPicture, BoxedView, CropRule
from rsctir_hf.detection.detector_args import DetectorModelArguments, DetectorTrainingArguments
from rsctir_hf.hub.card_tables import RSOD
from rsctir_hf.models.overhead import OverheadDetector, OverheadDetectorConfig
from rsctir_hf.training.packaged_weights import backbone_state_dict
from rsctir_hf.training.sets import VALIDATION
from rsctir_hf.training.staged import StagedTrainer, hold_statistics


class DetectorTrainer(StagedTrainer):
    """Trains a detector on random crops, and evaluates AP50 on whole pictures.

    Args:
        model: the detector.
        args: crops, freezing, averaging and all of ``TrainingArguments``.
        processor: the image processor; saved with every checkpoint.
        data: training pictures, and those the AP50 is computed over.
    """

    args: DetectorTrainingArguments

    def __init__(
        self,
        model: nn.Module,
        args: DetectorTrainingArguments,
        *,
        processor: RTDetrImageProcessor,
        data: DetectorData,
        callbacks: list[TrainerCallback] | None = None,
    ) -> None:
        self.data = data
        rule = CropRule(
            side=args.crop_side,
            picture_side=processor.size["max_width"],
            scales=(args.crop_scales[0], args.crop_scales[-1]),
            object_share=args.object_share,
            colour_jitter=args.colour_jitter,
        )
        self.view = BoxedView(data.train, rule, seed=args.seed)
        super().__init__(
            model,
            args,
            train_dataset=self.view,
            eval_dataset=data.validation,
            data_collator=BoxedCollator(processor),
            processing_class=processor,
            callbacks=callbacks,
        )

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """Return the sum of the losses of FCOS, as the model computes it."""
        if self.args.hold_batch_norm:
            hold_statistics(model)
        outputs = model(**inputs)
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    def get_train_dataloader(self) -> DataLoader:
        """Load batches in an order that is a function of seed and epoch."""
        batches = CaptionAwareSampler(
            [()] * len(self.view), batch_size=self.args.train_batch_size, seed=self.args.seed
        )
        return self.loader_over(self.view, batches)

    def score(self, rows: Any) -> dict[str, float]:  # noqa: ANN401
        """Return ``mAP50`` and ``AP50_NAME`` of each class over pictures, in percent."""
        return evaluate_detection(
            self.model, self.processing_class, rows, batch_size=self.args.per_device_eval_batch_size
        )

    def final_results(self) -> dict[str, Any]:
        """Return the report on validation."""
        report = {
            "model": self.args.model_name,
            "data": RSOD,
            "split": VALIDATION,
            "pictures": len(self.data.validation),
            "seed": self.args.seed,
            "metrics": self.score(self.data.validation),
        }
        return {"validation": [report]}


class BoxedCollator:
    """Makes a batch of crops: normalised pixels, and labels as transformers' detectors take them.

    Args:
        processor: normalises; crops already have their size.
    """

    def __init__(self, processor: RTDetrImageProcessor) -> None:
        self.processor = processor

    def __call__(self, crops: Sequence[BoxedPicture]) -> dict[str, Any]:
        """Return ``pixel_values`` (B, 3, H, W) and ``labels``."""
        images = [crop.image for crop in crops]
        pixels = self.processor(images=images, do_resize=False, do_pad=False, return_tensors="pt")[
            "pixel_values"
        ]
        return {"pixel_values": pixels, "labels": [label_of(crop) for crop in crops]}


def label_of(crop: BoxedPicture) -> dict[str, Tensor]:
    """Return boxes as centre, width and height in 0..1 (N, 4), and their classes (N,)."""
    scale = torch.tensor(crop.image.size * 2, dtype=torch.float32)
    boxes = box_convert(torch.from_numpy(crop.boxes), "xyxy", "cxcywh") / scale
    return {"boxes": boxes, "class_labels": torch.from_numpy(crop.labels)}


def build_detector(
    arguments: DetectorModelArguments, classes: Sequence[str]
) -> tuple[PreTrainedModel, RTDetrImageProcessor]:
    """Build a detector from packaged backbone weights, and the image processor that serves it.

    Args:
        arguments: the recipe's model arguments.
        classes: names, in the order of the labels.

    Raises:
        MissingDependencyError: if the package with the weights is absent.
    """
    names = dict(enumerate(classes))
    config = OverheadDetectorConfig(
        backbone=arguments.backbone,
        pyramid_channels=arguments.pyramid_channels,
        head_convs=arguments.head_convs,
        id2label=names,
        label2id={name: number for number, name in names.items()},
    )
    model = OverheadDetector(config)
    if arguments.image_weights == "packaged":
        # The classifier is not needed, so it finds no place.
        model.detector.backbone.net.load_state_dict(
            backbone_state_dict(arguments.backbone), strict=False
        )
    side = arguments.picture_side
    processor = RTDetrImageProcessor(
        size={"max_height": side, "max_width": side},
        do_normalize=True,
        image_mean=arguments.image_mean,
        image_std=arguments.image_std,
        do_pad=True,
    )
    return model, processor
