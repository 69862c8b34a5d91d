"""What a training recipe may say of its pictures and captions."""

import re
from dataclasses import dataclass

from rsctir_hf.data.benchmarks import BENCHMARKS, DRAWN
from rsctir_hf.errors import RecipeError
from rsctir_hf.training.own_data import check_own_name, own_name
from rsctir_hf.training.recipe_files import check, read_mapping

#: Fields of ``DataArguments`` that say what is known of every benchmark.
FOR_OWN_DATA = (
    *("data_name", "data_licence", "data_source"),
    *("image_column", "caption_column", "class_templates", "allow_missing"),
)


@dataclass
class DataArguments:
    """Where the pictures and captions come from.

    Attributes:
        benchmark: ``ucm``, ``rsicd``, ``rsitmd`` or ``sydney``, where ``data`` is one of these.
            Figures then compare with others. None: it is own data, with the splits it has.
        data: folder, file or Hub id of captioned pictures; of a benchmark its imagefolder or
            release folder.
        data_name: what records and card call own data; default: the name of the folder or file.
        data_licence: of own pictures and captions, for the card, such as ``cc-by-4.0``.
        data_source: who made them, where and when, for the card.
        images: folder of the pictures when ``data`` holds caption files only.
        image_column: of ``data``, with the pictures or their names; none: guessed by its name.
        caption_column: of ``data``, with the captions; none: guessed by its name.
        class_templates: file of sentences with ``{}`` in the place of a class, or ``default``, for
            pictures of which only a class is known; folders of classes need none.
        allow_missing: go on without those pictures of ``data`` that are not there.
        leave_out: list of pairs of ``data`` not to train on, as ``rsctir audit-captions`` writes:
            CSV with the columns ``picture`` and ``caption``. Validation and test keep theirs.
        leave_out_most: leave them out even where they are more than half.
        extra_data: further training sets, name -> place. The name is another benchmark and the
            place its folder or Hub id (it may hold a part of the benchmark only, and any of its
            splits but train may be absent); or the name is ``drawn`` and the place
            ``generated:COUNT``, which draws so many scenes that are not in the shipped gallery;
            or it is any other, of more own data.
        keep_data: benchmarks that ``initial_model`` knew, name -> folder or Hub id, such as
            ``{ucm: data/ucm_captions}``: both models are scored on their test split, once, to see
            what was forgotten.
        complete: refuse a release of a benchmark whose counts differ from the official ones, and
            pictures that are not those of the benchmark named.
        test_split: name of a benchmark's held-out split that the leakage check also looks at; it
            is never scored here. That of own data is looked at wherever there is one, and scored
            once, beside ``initial_model``.
        validation_share: share of train held out for validation. Own data without a validation
            split: default 0.15, see ``rsctir_hf.data.grouped_share``. A benchmark without an
            official one: drawn at random; default: it has one.
        allow_leakage: go on although a picture stands in two splits.
        max_train_images: use the first so many training pictures of each set (0: all), and
            draw no more scenes than that; for smoke runs.
        streaming: read the training pictures of ``data``, a Hub id, as they are needed instead of
            downloading them first; what that cannot do is said in ``rsctir_hf.data.stream``.
            Held-out splits are downloaded whole.
        shuffle_buffer: of a stream, the pictures among which the next one is drawn.
    """

    benchmark: str | None = None
    data: str = ""
    data_name: str | None = None
    data_licence: str | None = None
    data_source: str | None = None
    images: str | None = None
    image_column: str | None = None
    caption_column: str | None = None
    class_templates: str | None = None
    allow_missing: bool = False
    leave_out: str | None = None
    leave_out_most: bool = False
    extra_data: dict[str, str] | str | None = None
    keep_data: dict[str, str] | str | None = None
    complete: bool = True
    test_split: str = ""
    validation_share: float | None = None
    allow_leakage: bool = False
    max_train_images: int = 0
    streaming: bool = False
    shuffle_buffer: int = 1000

    def __post_init__(self) -> None:
        self.extra_data = self.extra
        self.benchmark = self.benchmark or None  # "" on the command line takes a recipe's away
        self.keep_data = self.kept
        self._check_names()
        if self.streaming and (self.extra_data or self.validation_share):
            raise RecipeError(
                f"streaming is on with extra_data {self.extra_data} and validation_share "
                f"{self.validation_share}. A stream is one set with an official validation split; "
                "leave both out, or switch streaming off."
            )
        if self.streaming and self.leave_out:
            raise RecipeError(
                f"leave_out is {self.leave_out} and streaming is on: the list cannot be held "
                "against pictures that have not come yet. Switch streaming off."
            )
        share = self.validation_share
        check(self, "validation_share", share is None or 0 <= share < 1, "0 <= share < 1")
        check(self, "max_train_images", self.max_train_images >= 0, "0 (all) or more")
        check(self, "shuffle_buffer", self.shuffle_buffer >= 1, "at least 1")
        if self.name in self.extra_data:
            raise RecipeError(f"extra_data names {self.name!r}, which is the main set already.")
        lacking = [name for name, place in self.extra.items() if not place]
        if lacking:
            raise RecipeError(
                f"extra_data: {lacking[0]} has no place; expected a folder or Hub id."
            )
        if self.drawn_scenes < 0:
            raise RecipeError(
                f"extra_data: {DRAWN} is {self.extra_data[DRAWN]!r}; expected 'generated:COUNT', "
                "for example generated:400."
            )

    def _check_names(self) -> None:
        """Refuse contradictory names, and a name of own data that would pass for a benchmark's."""
        own = {field: value for field in FOR_OWN_DATA if (value := getattr(self, field))}
        if self.benchmark and own:
            raise RecipeError(
                f"benchmark is {self.benchmark!r} with {own}: of a benchmark, names, terms and "
                "columns are known. Leave these out, or pass --benchmark '' for own data."
            )
        main = [] if self.benchmark else [self.name]
        for name in filter(None, [*main, *(set(self.extra_data or ()) - {*BENCHMARKS, DRAWN})]):
            check_own_name(name)

    @property
    def name(self) -> str:
        """What records call the main set."""
        return self.benchmark or self.data_name or (own_name(self.data) if self.data else "")

    @property
    def extra(self) -> dict[str, str]:
        """``extra_data`` as a mapping; from a flag it comes as inline YAML."""
        return read_mapping("extra_data", self.extra_data)

    @property
    def kept(self) -> dict[str, str]:
        """``keep_data`` as a mapping; from a flag it comes as inline YAML."""
        return read_mapping("keep_data", self.keep_data)

    @property
    def drawn_scenes(self) -> int:
        """How many scenes to draw for training; 0: none, -1: the entry cannot be read."""
        if DRAWN not in self.extra:
            return 0
        found = re.fullmatch(r"generated:([1-9]\d*)", str(self.extra[DRAWN]))
        return int(found[1]) if found else -1
