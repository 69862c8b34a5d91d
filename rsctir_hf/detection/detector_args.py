"""What a recipe of the detector may say; the file is read as those of retrieval are."""

from dataclasses import dataclass, field

from rsctir_hf.training.recipe_args import StagedTrainingArguments, parse_groups
from rsctir_hf.training.recipe_files import check

STRIDE = 32  # of the coarsest level; sides of crops are multiples of it


@dataclass
class DetectorModelArguments:
    """Which detector is trained.

    Attributes:
        backbone: timm name.
        image_weights: ``packaged`` (weights inside a Python package) or ``none``.
        pyramid_channels: width of pyramid and heads, a multiple of 32.
        head_convs: convolutions of each head.
        picture_side: longest side in pixels the processor gives a picture.
        image_mean: channel means the image weights expect, 0..1.
        image_std: channel deviations the image weights expect.
    """

    backbone: str = "efficientnet_lite0"
    image_weights: str = "packaged"
    pyramid_channels: int = 32
    head_convs: int = 4
    picture_side: int = 640
    image_mean: list[float] = field(default_factory=lambda: [0.5, 0.5, 0.5])
    image_std: list[float] = field(default_factory=lambda: [0.5, 0.5, 0.5])

    def __post_init__(self) -> None:
        known = self.image_weights in ("packaged", "none")
        check(self, "image_weights", known, "'packaged' or 'none'")
        check(self, "picture_side", self.picture_side >= STRIDE, f"at least {STRIDE} px")


@dataclass
class DetectorDataArguments:
    """Where the pictures and boxes come from.

    Attributes:
        data: folder with ``classes.json`` and the folder ``train``, as RSOD is laid out here.
        validation_share: share of each class's train pictures held out for validation.
        repeats: crops cut from each of these pictures in an epoch.
        drawn_scenes: scenes drawn by our own code of each type that shows one of the classes.
        drawn_others: the same of each other type; what stands there is not to be found.
        max_train_images: use the first so many pictures (0: all) and at most as many scenes of a
            type; for smoke runs.
    """

    data: str = ""
    validation_share: float = 0.15
    repeats: int = 1
    drawn_scenes: int = 0
    drawn_others: int = 0
    max_train_images: int = 0

    def __post_init__(self) -> None:
        check(self, "validation_share", 0 < self.validation_share < 1, "0 < share < 1")
        check(self, "repeats", self.repeats >= 1, "1 or more")
        for name in ("drawn_scenes", "drawn_others", "max_train_images"):
            check(self, name, getattr(self, name) >= 0, "0 or more")


@dataclass
class DetectorTrainingArguments(StagedTrainingArguments):
    """``StagedTrainingArguments`` plus how training crops are cut.

    Attributes:
        crop_side: pixels of the square crops, a multiple of 32.
        crop_scales: least and greatest size of a picture a crop is cut from, against the size
            it has for the processor.
        object_share: share of crops laid around an object.
        colour_jitter: strength of brightness, contrast and saturation changes, 0..1.
    """

    crop_side: int = 384
    crop_scales: list[float] = field(default_factory=lambda: [0.6, 1.4])
    object_share: float = 0.7
    colour_jitter: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        whole = self.crop_side >= STRIDE and self.crop_side % STRIDE == 0
        check(self, "crop_side", whole, f"a multiple of {STRIDE}")
        scales = self.crop_scales
        ordered = len(scales) == 2 and 0 < scales[0] <= scales[1]
        check(self, "crop_scales", ordered, "two, 0 < low <= high")
        check(self, "colour_jitter", 0 <= self.colour_jitter < 1, "0 <= strength < 1")


def parse_detector_recipe(
    arguments: list[str],
) -> tuple[DetectorModelArguments, DetectorDataArguments, DetectorTrainingArguments]:
    """Read the recipe of a detector; see ``parse_groups``."""
    groups = (DetectorModelArguments, DetectorDataArguments, DetectorTrainingArguments)
    model, data, training = parse_groups(arguments, groups)
    return model, data, training
