"""``rsctir facets``: what an index can be filtered by."""

from dataclasses import asdict

from rsctir_cli.analyst import Facets
from rsctir_hf.cli.output import in_one_line, print_result
from rsctir_hf.search.facets import Facet, dated
from rsctir_hf.search.facets import facets as facets_of
from rsctir_hf.search.filter_advice import filter_advice, written
from rsctir_hf.search.stored import open_stored
from rsctir_hf.search.written_filters import read_dates, read_filter


def facets(asked: Facets) -> None:
    """Print the columns of an index, one a line or as JSON."""
    only, dates = read_filter(asked.where, asked.bbox), read_dates(asked.after, asked.before)
    index = open_stored(asked.place)
    only = dated(index, only, dates)
    found = facets_of(index, only=only, values=asked.values)
    passing = len(index) if only is None else len(index.ids(only))
    advice = None if passing else filter_advice(index, only)
    said = [f"{passing} of {len(index)} pictures pass.", *([advice] if advice else [])]
    result = {
        "pictures": len(index),
        "passing": passing,
        "hint": advice,
        "facets": [asdict(facet) for facet in found],
    }
    print_result("\n".join([*said, *map(in_words, found)]), result, as_json=asked.as_json)


def in_words(facet: Facet) -> str:
    """Write a column in one line, its values as ``--where`` takes them."""
    told = [f"{written(value)} ({count})" for value, count in facet.values]
    if facet.low is not None:
        told = [f"{facet.low} to {facet.high}", *(told if facet.distinct <= len(told) else [])]
    more = facet.distinct - len(facet.values)
    if more and facet.low is None:
        told.append(f"and {more} more")
    return in_one_line(f"{facet.name} ({facet.kind}, {facet.count}): {', '.join(told)}")
