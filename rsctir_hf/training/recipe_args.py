"""What a training recipe may say: three typed groups of arguments, read by ``HfArgumentParser``.

A recipe is a flat YAML file whose keys are the fields below (and those of
``transformers.TrainingArguments``); a flag ``--key value`` on the command line overrides it.
"""

import os
import re
import sys
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from transformers import HfArgumentParser, TrainingArguments
from transformers.trainer_utils import HubStrategy

from rsctir_hf.data.benchmarks import DRAWN
from rsctir_hf.errors import RecipeError
from rsctir_hf.files.rows import decode
from rsctir_hf.regions.proposer import MODEL_REGIONS, NO_REGIONS

SMALLEST_SIDE = 32  # pixels; the networks halve the side of a picture five times


def check(arguments: object, name: str, fits: bool, expected: str) -> None:
    """Raise ``RecipeError``, with value and what is expected of a field, unless it fits."""
    if not fits:
        raise RecipeError(f"{name} is {getattr(arguments, name)!r}; expected {expected}.")


@dataclass
class ModelArguments:
    """Which model is trained and what it starts from.

    Attributes:
        family: ``cmpagl`` or ``galr``.
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

    family: str = "cmpagl"
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
        check(self, "family", self.family in ("cmpagl", "galr"), "'cmpagl' or 'galr'")
        self.config = self.options

    @property
    def options(self) -> dict[str, Any]:
        """``config`` as a mapping; from a flag it comes as inline YAML."""
        return read_mapping("config", self.config)


@dataclass
class DataArguments:
    """Where the pictures and captions come from.

    Attributes:
        benchmark: ``ucm``, ``rsicd``, ``rsitmd`` or ``sydney``.
        data: imagefolder, release folder or Hub id.
        images: folder of the pictures when ``data`` holds caption files only.
        extra_data: further training sets, name -> place. The name is another benchmark and the
            place its folder or Hub id (it may hold a part of the benchmark only, and any of its
            splits but train may be absent); or the name is ``drawn`` and the place
            ``generated:COUNT``, which draws so many scenes that are not in the shipped gallery.
        complete: refuse a release of ``benchmark`` whose counts differ from the official ones.
        test_split: name of a held-out split that the leakage check also looks at; it is
            never scored here.
        validation_share: share of train held out for validation, for a ``benchmark`` without an
            official validation split; 0 uses the official one.
        allow_leakage: go on although a picture stands in two splits.
        max_train_images: use the first so many training pictures of each set (0: all), and
            draw no more scenes than that; for smoke runs.
        streaming: read the training pictures of ``data``, a Hub id, as they are needed instead of
            downloading them first; what that cannot do is said in ``rsctir_hf.data.stream``.
            Held-out splits are downloaded whole.
        shuffle_buffer: of a stream, the pictures among which the next one is drawn.
    """

    benchmark: str = "ucm"
    data: str = ""
    images: str | None = None
    extra_data: dict[str, str] | str | None = None
    complete: bool = True
    test_split: str = ""
    validation_share: float = 0.0
    allow_leakage: bool = False
    max_train_images: int = 0
    streaming: bool = False
    shuffle_buffer: int = 1000

    def __post_init__(self) -> None:
        self.extra_data = self.extra
        if self.streaming and (self.extra_data or self.validation_share):
            raise RecipeError(
                f"streaming is on with extra_data {self.extra_data} and validation_share "
                f"{self.validation_share}. A stream is one set with an official validation split; "
                "leave both out, or switch streaming off."
            )
        check(self, "validation_share", 0 <= self.validation_share < 1, "0 <= share < 1")
        check(self, "max_train_images", self.max_train_images >= 0, "0 (all) or more")
        check(self, "shuffle_buffer", self.shuffle_buffer >= 1, "at least 1")
        if self.benchmark in self.extra_data:
            raise RecipeError(
                f"extra_data names {self.benchmark!r}, which is the main set (benchmark) already."
            )
        if self.drawn_scenes < 0:
            raise RecipeError(
                f"extra_data: {DRAWN} is {self.extra_data[DRAWN]!r}; expected 'generated:COUNT', "
                "for example generated:400."
            )

    @property
    def extra(self) -> dict[str, str]:
        """``extra_data`` as a mapping; from a flag it comes as inline YAML."""
        return read_mapping("extra_data", self.extra_data)

    @property
    def drawn_scenes(self) -> int:
        """How many scenes to draw for training; 0: none, -1: the entry cannot be read."""
        if DRAWN not in self.extra:
            return 0
        found = re.fullmatch(r"generated:([1-9]\d*)", str(self.extra[DRAWN]))
        return int(found[1]) if found else -1


@dataclass
class StagedTrainingArguments(TrainingArguments):
    """``TrainingArguments`` plus staged freezing, learning rates by module and averaging.

    Attributes:
        output_dir: where checkpoints and the finished model go.
        overwrite_output_dir: write over the finished model that lies there.
        frozen_epochs: module prefix -> epochs it stays frozen (-1: always).
        lr_factors: module prefix -> factor on the learning rate.
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
    """``StagedTrainingArguments`` plus losses and augmentation.

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
        captions_per_image: captions drawn per picture and step.
        word_drop: chance of each word to be left out of a training caption.
        teachers: model folders or Hub ids whose similarities the model also learns from.
        distillation_weight: weight of that loss.
        distillation_temperature: divides the logits of teachers and model in it; above 1 it shows
            more of what the teachers think of the negatives.
        crop_scale: area range of the random resized crop; empty for none.
        colour_jitter: strength of brightness and contrast changes, 0..1.
        low_resolution: side in pixels of training pictures in the first
            ``low_resolution_epochs`` epochs; 160 px has half the pixels of 224 px.
        low_resolution_epochs: epochs before training pictures have the model's own size.
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
    captions_per_image: int = 1
    word_drop: float = 0.0
    teachers: list[str] = field(default_factory=list)
    distillation_weight: float = 1.0
    distillation_temperature: float = 2.0
    crop_scale: list[float] = field(default_factory=list)
    colour_jitter: float = 0.0
    low_resolution: int = 160
    low_resolution_epochs: int = 0
    regions: str = MODEL_REGIONS
    region_threshold: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        scale = self.crop_scale
        fits = not scale or (len(scale) == 2 and 0 < scale[0] <= scale[1] <= 1)
        check(self, "crop_scale", fits, "two, 0 < low <= high <= 1")
        check(self, "colour_jitter", 0 <= self.colour_jitter < 1, "0 <= strength < 1")
        check(self, "captions_per_image", self.captions_per_image >= 1, "1 or more")
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


def parse_recipe(
    arguments: list[str],
) -> tuple[ModelArguments, DataArguments, RetrievalTrainingArguments]:
    """Read the recipe of a retrieval model; see ``parse_groups``.

    Raises:
        RecipeError: also if teachers are to look at a stream.
    """
    groups = (ModelArguments, DataArguments, RetrievalTrainingArguments)
    model, data, training = parse_groups(arguments, groups)
    if data.streaming and training.teachers:
        raise RecipeError(
            f"streaming is on and teachers are {training.teachers}: teachers look at every picture "
            "before training. Leave one of the two out."
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


def read_mapping(name: str, value: dict[str, Any] | str | None) -> dict[str, Any]:
    """Accept a mapping as such, as inline YAML (from a flag), or not at all.

    Raises:
        RecipeError: if it is something else.
    """
    mapping = read_yaml(value, name) if isinstance(value, str) else value
    if mapping is None:
        return {}
    if not isinstance(mapping, dict):
        raise RecipeError(f"{name} must be a mapping, got {mapping!r}.")
    return mapping


def read_yaml(text: str, name: str) -> Any:  # noqa: ANN401 - whatever YAML holds
    """Return what a YAML text holds.

    Raises:
        RecipeError: it is no YAML, or nested more deeply than Python can follow.
    """
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise RecipeError(f"{name} is not valid YAML: {error}") from error


def read_recipe(path: Path, *, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a recipe file as a flat mapping.

    A line ``extends: other.yaml`` takes over the keys of that recipe, its path being relative to
    this one's folder; own keys win. The mappings ``config`` of both are joined, own fields winning;
    of other mappings only the own one counts.

    Args:
        path: of the file.
        below: the recipes that extend it, which it may not extend in turn.

    Raises:
        RecipeError: if it is missing, unreadable or no mapping, or extends itself.
    """
    if not os.path.isfile(path):
        raise RecipeError(f"No recipe at {path}. The shipped ones are in training/recipes/.")
    if path.resolve() in below:
        raise RecipeError(f"{path} extends itself, by way of others or not. Take that line out.")
    try:
        text = decode(path.read_bytes())
    except (UnicodeDecodeError, OSError) as error:
        raise RecipeError(f"{path} is not valid YAML: {error}") from error
    recipe = read_yaml(text, str(path))
    if not isinstance(recipe, dict):
        raise RecipeError(f"{path} must hold 'key: value' lines, not {type(recipe).__name__}.")
    if (parent := recipe.pop("extends", None)) is None:
        return recipe
    if not isinstance(parent, str):
        raise RecipeError(f"{path}: extends is {parent!r}; expected the name of a recipe file.")
    inherited = read_recipe(path.parent / parent, below=(*below, path.resolve()))
    if isinstance(recipe.get("config"), dict) and isinstance(inherited.get("config"), dict):
        recipe["config"] = {**inherited["config"], **recipe["config"]}
    return {**inherited, **recipe}
