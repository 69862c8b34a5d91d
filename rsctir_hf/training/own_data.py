"""Own data: captioned pictures that are no benchmark, under the name that its owner gives it.

Nothing about it is known but what its owner says and what the files show. The card asks for what
is missing, and nothing is made up.
"""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from rsctir_hf.data.benchmarks import BENCHMARKS, DRAWN
from rsctir_hf.data.tables import hub_address
from rsctir_hf.errors import DataLayoutError, RecipeError
from rsctir_hf.loading.hub_files import could_be_dataset_id

logger = logging.getLogger(__name__)

#: Part of the pictures held out where there is no validation split.
VALIDATION_SHARE = 0.15
#: With fewer pictures than this a run says what to expect.
FEW_PICTURES = 20
LEAST_PICTURES = 2  # one to train on and one to look at
LONGEST_NAME = 80
CHECKOUT = Path(__file__).resolve().parents[2]
#: What files of captions are mostly called.
SAYS_NOTHING = re.compile(
    r"(meta_?data|captions?|annotations?|labels?|data(set)?|images?|pairs|texts?"
    r"|train(ing)?|val(id|idation)?|dev|test)?([\W\d_]|of)*",
    re.IGNORECASE,
)
#: Names that records give to sets of ours.
TAKEN = (*BENCHMARKS, DRAWN, "sample", "rsod")


@dataclass(frozen=True)
class OwnData:
    """What is known of a set of own data, for records and cards.

    Attributes:
        name: as tables and the model index call it.
        licence: of pictures and captions, in its owner's words.
        source: who made them, where and when, in its owner's words.
        hub_id: where it lies on the Hub.
        from_class_names: its captions were made of the names of classes.
        held_out: how validation pictures were held out of train; None: they are a split of it.
        test: it has a test split.
        captioned: it has captions; without, the picture side alone has learnt from it.
    """

    name: str
    licence: str | None = None
    source: str | None = None
    hub_id: str | None = None
    from_class_names: bool = False
    held_out: str | None = None
    test: bool = False
    captioned: bool = True


def own_name(data: str) -> str:
    """Return what own data without a name is called: as its folder or file, or as on the Hub.

    A file whose name says nothing, such as ``captions.csv``, is called as its folder, unless that
    is the checkout.
    """
    if (hub_id := hub_id_of(data)) is not None:
        return hub_id.rpartition("/")[2]
    place = Path(data).expanduser().resolve()
    if place.is_dir() or not place.suffix:
        return place.name
    elsewhere = place.parent.name if place.parent != CHECKOUT else ""
    return elsewhere if elsewhere and SAYS_NOTHING.fullmatch(place.stem) else place.stem


def hub_id_of(data: str) -> str | None:
    """Return the id of a data set on the Hub, without its revision; None of what lies here."""
    here = Path(data).expanduser().exists()
    return hub_address(data)[0] if could_be_dataset_id(data) and not here else None


def check_own_name(name: str) -> None:
    """Refuse a name that is none, or that readers would take for another set's.

    Raises:
        RecipeError: also if it does not fit into a line of a table.
    """
    plain = name.strip() and name.isprintable() and not set(name) & set("/\\|")
    if not plain or len(name) > LONGEST_NAME:
        raise RecipeError(
            f"Own data is called {name!r}; expected a name of 1 to {LONGEST_NAME} characters "
            "without slashes and bars: --data_name 'My captions'."
        )
    said = name.casefold()
    titles = {each.title: key for key, each in BENCHMARKS.items()} | {"drawn scenes": DRAWN}
    if said in TAKEN or any(title.casefold() in said for title in titles):
        raise RecipeError(
            f"Own data is called {name!r}, which readers of its card would take for another set. "
            f"If it is a benchmark, say --benchmark {' | '.join(BENCHMARKS)}; if not, give it a "
            "name of its own: --data_name 'My captions'."
        )


def check_enough(name: str, pictures: int) -> None:
    """Raise ``DataLayoutError`` where own data has too few pictures, test ones left aside."""
    if pictures < LEAST_PICTURES:
        raise DataLayoutError(
            f"{name} has too few captioned pictures to train on: {pictures}. Expected at least "
            f"{LEAST_PICTURES}, one of them for validation; {FEW_PICTURES} are few, and from 100 "
            "on a model learns something. Add pictures, or look for captions that were not read."
        )


def say_what_to_expect(name: str, *, training: int, validation: int) -> None:
    """Say what few pictures are good for."""
    if training + validation < FEW_PICTURES:
        logger.warning(
            "%s has %d pictures, %d to train on and %d for validation. Expect little: a model "
            "learns so few by heart, and one validation picture moves recall by %.0f points, so "
            "the scores hardly say whether it got better. From %d pictures on they begin to.",
            name,
            training + validation,
            training,
            validation,
            100 / validation,
            FEW_PICTURES,
        )
