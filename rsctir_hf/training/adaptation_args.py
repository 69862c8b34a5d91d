"""What a recipe of an adaptation without captions may say; read as those of retrieval are."""

from dataclasses import dataclass, field
from pathlib import Path

from rsctir_hf.errors import RecipeError
from rsctir_hf.training.own_data import check_own_name, own_name
from rsctir_hf.training.recipe_args import (
    ModelArguments,
    RetrievalTrainingArguments,
    parse_groups,
)
from rsctir_hf.training.recipe_files import check, read_mapping, read_recipe

MARK = "without_captions"


@dataclass
class PictureArguments:
    """Where the pictures come from.

    Attributes:
        data: folder of pictures, with subfolders or not; captions beside them are not read.
        second_data: folder of another sensor's pictures of the same places, with equal file names:
            the picture tower learns to read these as it reads those of ``data``.
        data_name: what records and card call them; default: the name of the folder.
        data_licence: of the pictures, for the card, such as ``cc-by-4.0``.
        data_source: who made them, where and when, for the card.
        caption_bank: text file with a sentence a line, of what such pictures may show; default:
            the one of the package.
        keep_data: benchmarks that ``initial_model`` knew; see ``DataArguments``.
        complete: see ``DataArguments``; of ``keep_data``.
        allow_missing: leave out pictures without a partner in the other folder.
        allow_leakage: go on although a picture stands in ``keep_data`` too.
        max_train_images: use the first so many pictures (0: all).
    """

    data: str = ""
    second_data: str | None = None
    data_name: str | None = None
    data_licence: str | None = None
    data_source: str | None = None
    caption_bank: str | None = None
    keep_data: dict[str, str] | str | None = None
    complete: bool = True
    allow_missing: bool = False
    allow_leakage: bool = False
    max_train_images: int = 0

    def __post_init__(self) -> None:
        self.keep_data = self.kept
        check(self, "max_train_images", self.max_train_images >= 0, "0 (all) or more")
        if self.data:
            check_own_name(self.name)

    @property
    def name(self) -> str:
        """What records call the pictures that are learnt from."""
        return self.data_name or own_name(self.second_data or self.data)

    @property
    def kept(self) -> dict[str, str]:
        """``keep_data`` as a mapping; from a flag it comes as inline YAML."""
        return read_mapping("keep_data", self.keep_data)


@dataclass
class AdaptationArguments(RetrievalTrainingArguments):
    """``RetrievalTrainingArguments`` plus what is learnt from pictures alone.

    The losses of captions rest: ``contrastive_weight`` and its like have no effect.

    Attributes:
        without_captions: marks a recipe of this kind.
        bank_weight: weight of learning what ``pseudo_captions`` assigns to each picture.
        assignment_temperature: of those assignments; lower is sharper.
        balance_rounds: of Sinkhorn's algorithm in them.
        neighbours: pictures that look most alike, over which they are averaged.
        sharpening: power that the averages are raised to; 1: none.
        label_free_weight: weight of the three terms of ``objectives.label_free``, over two views
            or two sensors.
        label_free_temperature: of NT-Xent in them.
        anchor_weight: weight of 1 - cosine to the vector of the initial model.
    """

    without_captions: bool = False
    bank_weight: float = 1.0
    assignment_temperature: float = 0.05
    balance_rounds: int = 1
    neighbours: int = 10
    sharpening: float = 2.0
    label_free_weight: float = 0.1
    label_free_temperature: float = 0.1
    anchor_weight: float = 1.0
    crop_scale: list[float] = field(default_factory=lambda: [0.6, 1.0])

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("bank_weight", "label_free_weight", "anchor_weight"):
            check(self, name, getattr(self, name) >= 0, "0 or more")
        for name in ("assignment_temperature", "label_free_temperature", "sharpening"):
            check(self, name, getattr(self, name) > 0, "more than 0")
        for name in ("balance_rounds", "neighbours"):
            check(self, name, getattr(self, name) >= 0, "0 or more")


def learns_from_pictures(arguments: list[str]) -> bool:
    """Tell whether a command line asks for an adaptation: the flag, or the recipe it names."""
    for place, word in enumerate(arguments):
        flag, _, value = word.partition("=")
        if flag == f"--{MARK}":
            said = value or next(iter(arguments[place + 1 :]), "true")
            return said.startswith("--") or said.lower() in ("true", "1", "yes")
    if not arguments or arguments[0].startswith("-"):
        return False
    return bool(read_recipe(Path(arguments[0])).get(MARK))


def parse_adaptation(
    arguments: list[str],
) -> tuple[ModelArguments, PictureArguments, AdaptationArguments]:
    """Read the recipe of an adaptation; see ``parse_groups``.

    Raises:
        RecipeError: also if there is no model to go on from, or something is asked for that needs
            captions.
    """
    groups = (ModelArguments, PictureArguments, AdaptationArguments)
    model, data, training = parse_groups(arguments, groups)
    if not model.initial_model:
        raise RecipeError(
            "No initial_model is named. Pictures without captions can only carry on with a model "
            "that has learnt words: --initial_model FOLDER_OR_ID."
        )
    if not data.data:
        raise RecipeError("No data is named. Give a folder of pictures: --data FOLDER.")
    needs_captions = {
        name: getattr(training, name)
        for name in ("teachers", "lora", "load_best_model_at_end")
        if getattr(training, name)
    }
    if needs_captions or training.fixed_share is None:
        said = needs_captions or {"base_share": training.base_share}
        raise RecipeError(
            f"{said}: without captions nothing can be chosen on validation, and no teacher or "
            "adapter is trained. Leave it out, and give base_share as a number."
        )
    return model, data, training
