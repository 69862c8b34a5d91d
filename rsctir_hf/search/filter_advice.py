"""What an index holds where a filter asks for something that is in none of its entries."""

from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from rsctir_hf.files.atomic import parse_json
from rsctir_hf.search.gallery import OWN_FIELDS
from rsctir_hf.search.scene_labels import SCENE
from rsctir_hf.vector_index.arguments import Scalar
from rsctir_hf.vector_index.conditions import Condition, Contains
from rsctir_hf.vector_index.contract import SearchFilter, VectorIndex, Wanted

LOOKED_AT = 10_000  # entries of a larger index, evenly spaced
_SHOWN = 5


def filter_advice(index: VectorIndex, only: SearchFilter | None) -> str | None:
    """Say which fields or values of a filter no entry has, and which there are; None if all are.

    Args:
        index: that is searched.
        only: the filter.
    """
    unmet = {
        name: [value for value in values if not len(index.ids(SearchFilter({name: value}), most=1))]
        for name, values in (only.wanted if only else {}).items()
    }
    if not any(unmet.values()):
        return None
    known: dict[str, Counter[Scalar]] = {}
    for entry in index.entries_of(index.ids(most=LOOKED_AT)):
        for name, value in entry.metadata.items():
            known.setdefault(name, Counter())[value] += 1
    return " ".join(
        _unknown_value(name, value, known[name])
        if name in known
        else _unknown_field(name, sorted(known.keys() - set(OWN_FIELDS)))
        for name, values in unmet.items()
        for value in values[: None if name in known else 1]
    )


def _unknown_field(name: str, fields: list[str]) -> str:
    there = f"There are {', '.join(fields)}." if fields else "Its pictures have no metadata."
    if name == SCENE:
        there += " Index them again with --classes NAMES, and each gets its likeliest scene."
    return f"No picture of the index has a field {name!r}.{_meant(name, fields)} {there}"


def _unknown_value(name: str, value: Wanted, values: Mapping[Scalar, int]) -> str:
    told = {written(each): each for each in values}
    meant = "" if isinstance(value, Condition) else _meant(str(value), told)
    if isinstance(value, Condition) and not isinstance(value, Contains) and len(told) > _SHOWN:
        least, greatest = _ends(values)
        return f"No picture of the index has {name} {value}. There are {least} to {greatest}."
    most = sorted(told, key=lambda each: -values[told[each]])
    more = f" and {len(most) - _SHOWN} more" if len(most) > _SHOWN else ""
    return (
        f"No picture of the index has {_asked(name, value)}.{meant} There are "
        f"{', '.join(most[:_SHOWN])}{more}."
    )


def _meant(said: str, there: Iterable[str]) -> str:
    """Name those that differ in case, quotation marks or a few letters."""
    by_key: dict[str, list[str]] = {}
    for each in there:
        by_key.setdefault(each.casefold().strip('"'), []).append(each)
    key = said.casefold()
    letters = [] if key.lstrip("-").replace(".", "", 1).isdigit() else by_key  # 2019 is no slip
    close = [key] if key in by_key else get_close_matches(key, letters, n=3)
    named = [each for key in close for each in by_key[key]]
    return f" Is {' or '.join(named)} meant?" if named else ""


def _ends(values: Iterable[Scalar]) -> tuple[Scalar, Scalar]:
    """Return the least and greatest number, or text where there are none."""
    numbers = [each for each in values if not isinstance(each, str)]
    texts = [str(each) for each in values]
    return (min(numbers), max(numbers)) if numbers else (min(texts), max(texts))


def _asked(name: str, value: Wanted) -> str:
    return f"{name} {value}" if isinstance(value, Condition) else f"{name}={written(value)}"


def written(value: Scalar) -> str:
    """Write a value as ``--where`` takes it: a text that reads as something else in quotes."""
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    try:
        parse_json(value)
    except ValueError:
        return value
    return f'"{value}"'
