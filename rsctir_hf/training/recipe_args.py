"""What a training recipe may say: three typed groups of arguments, read by ``HfArgumentParser``.

A recipe is a flat YAML file whose keys are the fields below (and those of
``transformers.TrainingArguments``); a flag ``--key value`` on the command line overrides it.
"""

import math
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import HfArgumentParser, TrainingArguments
from transformers.trainer_utils import HubStrategy

from rsctir_hf.errors import RecipeError
from rsctir_hf.regions.proposer import MODEL_REGIONS, NO_REGIONS
from rsctir_hf.training.data_args import DataArguments
from rsctir_hf.training.field_help import explain_flags
from rsctir_hf.training.objectives.objective import Options
from rsctir_hf.training.objectives.registry import read_objectives
from rsctir_hf.training.recipe_files import check, read_mapping, read_recipe, read_yaml

ON_VALIDATION, BY_PICTURES = "validation", "pictures"
FAMILIES = ("cmpagl", "galr")
SMALLEST_SIDE = 32  # pixels; the networks halve the side of a picture five times


@dataclass
class ModelArguments:
    """Which model is trained and what it starts from.

    Attributes:
        family: ``cmpagl`` or ``galr``; default: that of ``initial_model``, else ``cmpagl``.
        initial_model: a model directory or Hub id to go on from; the two weight fields
            below are then ignored.
        image_weights: ``packaged`` (weights inside a Python package), ``timm`` (timm's own,
            from the Hub) or ``none``.
        text_weights: ``minilm`` (packaged), ``glove`` (packaged word vectors for a GRU),
            a Hub id or folder of a BERT, or ``none``.
        text_layers: use only the first so many layers of that BERT; 0: all of them.
        config: overrides of the family's configuration fields, as a mapping.
        image_mean: channel means the image weights expect, 0..1.
        image_std: channel deviations the image weights expect.
        max_tokens: longest caption in tokens; longer ones are cut.
        min_word_count: word tokenizer only: rarer words become unknown.
    """

    family: str | None = None
    initial_model: str | None = None
    image_weights: str = "packaged"
    text_weights: str = "minilm"
    text_layers: int = 0
    config: dict[str, Any] | str | None = None
    image_mean: list[float] = field(default_factory=lambda: [0.5, 0.5, 0.5])
    image_std: list[float] = field(default_factory=lambda: [0.5, 0.5, 0.5])
    max_tokens: int = 48
    min_word_count: int = 1

    def __post_init__(self) -> None:
        if self.family is None and not self.initial_model:
            self.family = FAMILIES[0]
        check(self, "family", self.family in (None, *FAMILIES), " or ".join(FAMILIES))
        self.config = self.options

    @property
    def options(self) -> dict[str, Any]:
        """``config`` as a mapping; from a flag it comes as inline YAML."""
        return read_mapping("config", self.config)


@dataclass
class StagedTrainingArguments(TrainingArguments):
    """``TrainingArguments`` plus staged freezing, learning rates by module and averaging.

    Attributes:
        output_dir: where checkpoints and the finished model go.
        overwrite_output_dir: write over the finished model, or the unfinished run, that lies there.
        frozen_epochs: module prefix -> epochs it stays frozen (-1: always). A prefix may begin
            with ``image_tower`` or ``text_tower``: the pretrained network of either family's
            picture or text side; ``image_tower.early_half`` is the first half of its blocks and
            what lies before them, ``image_neck`` what lies between it and the projection.
        lr_factors: module prefix, likewise -> factor on the learning rate.
        average_decay: decay of the exponential moving average of weights that is
            evaluated and saved; 0 for none.
        hold_batch_norm: keep the running statistics of every batch norm as they are. Right for
            pretrained networks, whose statistics small batches of one kind of imagery would
            spoil (our choice); switch it off for a random start.
        early_stopping_epochs: stop after so many evaluations without a better score; 0: never.
        hub_strategy: with ``push_to_hub``, ``end`` pushes the finished model alone. The other
            strategies of ``TrainingArguments`` push unfinished ones as well, which come without
            their code and with ``training_args.bin``, a pickle.
    """

    output_dir: str | None = "outputs"
    overwrite_output_dir: bool = False
    hub_strategy: HubStrategy | str = "end"
    frozen_epochs: dict[str, float] | str | None = None
    lr_factors: dict[str, float] | str | None = None
    average_decay: float = 0.0
    hold_batch_norm: bool = True
    early_stopping_epochs: int = 0

    def __post_init__(self) -> None:
        if self.bf16 and not torch.accelerator.is_available():
            self.use_cpu = True  # transformers asks for this, to be sure that it is meant
        if self.disable_tqdm is None and not sys.stderr.isatty():
            self.disable_tqdm = True  # a file or pipe gets the figures, a line each
        super().__post_init__()
        self.frozen_epochs = self.freezing
        self.lr_factors = self.factors
        check(self, "average_decay", 0 <= self.average_decay < 1, "0 <= decay < 1")
        check(self, "early_stopping_epochs", self.early_stopping_epochs >= 0, "0 or more")

    @property
    def freezing(self) -> dict[str, float]:
        """``frozen_epochs`` as a mapping; from a flag it comes as inline YAML."""
        return read_mapping("frozen_epochs", self.frozen_epochs)

    @property
    def factors(self) -> dict[str, float]:
        """``lr_factors`` as a mapping; from a flag it comes as inline YAML."""
        return read_mapping("lr_factors", self.lr_factors)

    @property
    def folder(self) -> Path:
        """``output_dir`` as a path."""
        return Path(self.output_dir or ".")

    @property
    def model_name(self) -> str:
        """What record and card call the model: ``run_name``, or the folder's name."""
        return self.run_name or self.folder.name


@dataclass
class RetrievalTrainingArguments(StagedTrainingArguments):
    """How it is trained: losses, augmentation, freezing and averaging.

    Attributes:
        contrastive_weight: weight of the symmetric InfoNCE.
        triplet_weight: weight of the triplet loss.
        matching_weight: weight of the matching loss (families with a fusion encoder only).
        pre_alignment_fraction: share of training in which the matching loss rests, so
            that the towers are aligned before fusion (CMPAGL's pre-alignment; 0.2 is our choice).
        triplet_margin: margin m of the triplet loss.
        triplet_negatives: ``sum``, ``hardest`` or ``mean``.
        intra_weight: weight lambda of the intra-class term.
        intra_margin: distance delta below which a matched pair is left alone.
        intra_positives: ``pairs`` or ``all``.
        objectives: further losses, name -> their options, such as ``{NAME: {weight: 0.5}}``; which
            there are is said in docs/methods.md.
        captions_per_image: captions drawn per picture and step.
        word_drop: chance of each word to be left out of a training caption.
        teachers: model folders or Hub ids whose similarities the model also learns from.
        distillation_weight: weight of that loss.
        distillation_temperature: divides the logits of teachers and model in it; above 1 it shows
            more of what the teachers think of the negatives.
        crop_scale: area range of the random resized crop; empty for none.
        colour_jitter: strength of brightness and contrast changes, 0..1.
        base_share: share of the initial model's weights in the finished ones, 0 (none) to 1 (all),
            or ``validation``: the greatest that keeps ``kept_gain``, or ``pictures``: by their
            number (``base_weights.share_by_pictures``).
        kept_gain: with ``base_share: validation``, the part of the best validation mR's gain over
            the initial model that must be kept, 0 to 1; less than 1 keeps more of what it knew.
        lora: train a small adapter (PEFT) instead of the weights of the initial model; the finished
            folder then holds that adapter alone. Parts frozen for good get none.
        lora_rank: rank of its matrices.
        lora_alpha: they act with the weight alpha / rank.
        lora_learning_rate: its learning rate, in the place of learning_rate and lr_factors.
        low_resolution: side in pixels of training pictures in the first
            ``low_resolution_epochs`` epochs; 160 px has half the pixels of 224 px.
        low_resolution_epochs: epochs before training pictures have the model's own size.
        dry_run: say what the run would read, its steps and an estimate of its time, and end;
            nothing is written.
        regions: of GaLR: ``model`` for its own, or folder or Hub id of an object detector, which
            looks at each picture as it is trained on.
        region_threshold: least score of that detector's regions; default: 0.5.
    """

    contrastive_weight: float = 1.0
    triplet_weight: float = 1.0
    matching_weight: float = 1.0
    pre_alignment_fraction: float = 0.2
    triplet_margin: float = 0.2
    triplet_negatives: Literal["sum", "hardest", "mean"] = "mean"
    intra_weight: float = 0.1
    intra_margin: float = 0.0
    intra_positives: Literal["pairs", "all"] = "pairs"
    objectives: dict[str, Any] | str | None = None
    captions_per_image: int = 1
    word_drop: float = 0.0
    teachers: list[str] = field(default_factory=list)
    distillation_weight: float = 1.0
    distillation_temperature: float = 2.0
    crop_scale: list[float] = field(default_factory=list)
    colour_jitter: float = 0.0
    base_share: str = "0"
    kept_gain: float = 1.0
    lora: bool = False
    lora_rank: int = 8
    lora_alpha: int = 16
    lora_learning_rate: float = 1e-3
    low_resolution: int = 160
    low_resolution_epochs: int = 0
    dry_run: bool = False
    regions: str = MODEL_REGIONS
    region_threshold: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.objectives = read_mapping("objectives", self.objectives)
        read_objectives(self.objectives)
        scale = self.crop_scale
        fits = not scale or (len(scale) == 2 and 0 < scale[0] <= scale[1] <= 1)
        check(self, "crop_scale", fits, "two, 0 < low <= high <= 1")
        check(self, "colour_jitter", 0 <= self.colour_jitter < 1, "0 <= strength < 1")
        check(self, "captions_per_image", self.captions_per_image >= 1, "1 or more")
        share = self.fixed_share
        check(
            self,
            "base_share",
            share is None or 0 <= share <= 1,
            f"{ON_VALIDATION!r}, {BY_PICTURES!r} or 0..1",
        )
        check(self, "kept_gain", 0 <= self.kept_gain <= 1, "0 <= part <= 1")
        check(self, "lora_rank", self.lora_rank >= 1, "1 or more")
        check(self, "lora_alpha", self.lora_alpha >= 1, "1 or more")
        if self.lora:
            check(self, "hold_batch_norm", self.hold_batch_norm, "true with lora")
            self.learning_rate, self.lr_factors = self.lora_learning_rate, {}
        if self.regions == NO_REGIONS:
            raise RecipeError(
                "regions is 'none'; expected 'model' or a detector. To train GaLR without regions, "
                "write config: {use_regions: false}."
            )
        check(self, "word_drop", 0 <= self.word_drop < 1, "0 <= chance < 1")
        warm = self.distillation_temperature > 0
        check(self, "distillation_temperature", warm, "more than 0")
        check(self, "pre_alignment_fraction", 0 <= self.pre_alignment_fraction <= 1, "0..1")
        if self.low_resolution < SMALLEST_SIDE or self.low_resolution_epochs < 0:
            raise RecipeError(
                f"low_resolution is {self.low_resolution} px for {self.low_resolution_epochs} "
                f"epochs; expected at least {SMALLEST_SIDE} px and 0 epochs or more."
            )

    @property
    def chosen_objectives(self) -> dict[str, Options]:
        """``objectives`` with their options checked, by name."""
        return read_objectives(read_mapping("objectives", self.objectives))

    @property
    def fixed_share(self) -> float | None:
        """``base_share`` as a number; None where it depends on the data."""
        if self.base_share in (ON_VALIDATION, BY_PICTURES):
            return None
        with suppress(ValueError):
            return float(self.base_share)
        return math.nan  # which fits nothing


def parse_recipe(
    arguments: list[str],
) -> tuple[ModelArguments, DataArguments, RetrievalTrainingArguments]:
    """Read the recipe of a retrieval model; see ``parse_groups``.

    Raises:
        RecipeError: also if teachers are to look at a stream, or there is no initial model to mix
            in or to adapt, or an adapter would be written over its own model.
    """
    groups = (ModelArguments, DataArguments, RetrievalTrainingArguments)
    model, data, training = parse_groups(arguments, groups)
    if data.streaming and training.teachers:
        raise RecipeError(
            f"streaming is on and teachers are {training.teachers}: teachers look at every picture "
            "before training. Leave one of the two out."
        )
    if data.kept and not model.initial_model:
        raise RecipeError(
            f"keep_data is {data.kept} and no initial_model is named, which knew them. Name one, "
            "or leave keep_data out."
        )
    if not model.initial_model and (training.lora or training.fixed_share != 0):
        raise RecipeError(
            f"lora is {training.lora} and base_share is {training.base_share}, but no "
            "initial_model is named: which model is adapted, or mixed in? Name one, or leave both "
            "out."
        )
    base = Path(model.initial_model or "")
    if training.lora and base.is_dir() and base.resolve() == training.folder.resolve():
        raise RecipeError(
            f"lora is on, and output_dir and initial_model are both {base}: the adapter would take "
            "the place of the model that it needs. Name another --output_dir."
        )
    return model, data, training


def parse_groups(arguments: list[str], groups: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """Read ``recipe.yaml --flag value ...`` (the recipe is optional).

    Args:
        arguments: command line without the program name.
        groups: dataclass types; an object of each is returned.

    Raises:
        RecipeError: if the file is missing, is no mapping, or holds an unknown key or a value that
            cannot be used.
    """
    parser = HfArgumentParser(groups)
    explain_flags(parser, groups)
    if arguments and not arguments[0].startswith("-"):
        recipe = read_recipe(Path(arguments[0]))
        known = {action.dest for action in parser._actions}
        unknown = sorted(set(recipe) - known, key=str)
        if unknown:
            raise RecipeError(f"{arguments[0]}: unknown keys {unknown}. See --help for all keys.")
        parser.set_defaults(**recipe)
        arguments = arguments[1:]
    try:
        return parser.parse_args_into_dataclasses(args=_with_lists(parser, arguments))
    except RecipeError:
        raise
    # What the checks of the fields raise on values of another kind, and transformers on its own.
    except (ValueError, TypeError, LookupError, AttributeError, OSError) as error:
        raise RecipeError(
            f"A value of the recipe or of a flag cannot be used: {error} Compare it with the "
            "recipes in training/recipes/; --help lists all keys."
        ) from error


def _with_lists(parser: HfArgumentParser, arguments: list[str]) -> list[str]:
    """Take lists written as inline YAML, ``--teachers "[]"``, out of a command line.

    They become the defaults of the parser, which knows lists as several words, at least one.
    """
    several = {action.dest for action in parser._actions if action.nargs in ("+", "*")}
    kept: list[str] = []
    remaining = iter(arguments)
    for flag in remaining:
        name, _, text = flag.removeprefix("--").partition("=")
        if not flag.startswith("--") or name not in several:
            kept.append(flag)
            continue
        words = [text] if text else list(islice(remaining, 1))
        if words and (not words[0] or words[0].startswith("[")):
            parser.set_defaults(**{name: read_yaml(words[0] or "[]", name)})
        else:
            kept += [f"--{name}", *words]
    return kept
