"""``rsctir search`` and ``caption``: questions put to a gallery, and to a caption bank."""

import re
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from rsctir_cli.commands import Caption, Search
from rsctir_cli.options import Fold, Rerank
from rsctir_hf.cli.collection import check_taken_home, write_taken_home
from rsctir_hf.cli.labels import check_search, find_labelled
from rsctir_hf.cli.marks import check_marks, find_marked, has_marks, said_of_marks
from rsctir_hf.cli.output import (
    check_writable,
    describe_retriever,
    in_one_line,
    print_hits,
    refuse_overwriting,
)
from rsctir_hf.cli.sources import (
    asked_parts,
    load_options,
    pictures_of,
)
from rsctir_hf.collection.collected import Collection, changing
from rsctir_hf.collection.features import TakenHome
from rsctir_hf.data.class_names import class_words
from rsctir_hf.errors import QueryError, RsctirError
from rsctir_hf.files.names import as_text, named_path
from rsctir_hf.sample import read_caption_bank
from rsctir_hf.search.facets import dated
from rsctir_hf.search.filter_advice import filter_advice, written
from rsctir_hf.search.hits import Hit
from rsctir_hf.search.permalink import NAMES, read_link, write_link
from rsctir_hf.search.query import QueryPart, describe_parts, in_words
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.search.scene_labels import SCENE
from rsctir_hf.search.stored import open_stored, stored_regions
from rsctir_hf.search.written_filters import read_dates, read_filter

# How what is no text is read from a link.
_READ: dict[str, Any] = {
    "top_k": int,
    "image": lambda text: Path(named_path(text)),
    "concept": lambda text: Path(named_path(text)),
    "unwanted_image": lambda text: Path(named_path(text)),
    "label_head": lambda text: Path(named_path(text)),
    "weight": float,
    "rerank": Rerank,
    "fold": Fold,
}
_IN_LINKS = {"unwanted": "not", "unwanted_image": "not_image"}  # ``not`` names no field
_RANKS = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")


def search(asked: Search) -> None:
    """Search an index that was kept, or several, with the model and the regions that made each.

    Raises:
        QueryError: of several some could not be searched; said when all others were.
    """
    asked = with_scenes(with_link(asked))
    check_marks(asked)
    check_search(asked)
    if not asked.also:
        search_index(asked)
        return
    asked_parts(
        asked, needed=not (has_marks(asked) or asked.labels)
    )  # makes no sense to any of them: said once
    read_ranks(asked.pick)
    read_filter(asked.where, asked.bbox)
    read_dates(asked.after, asked.before)
    places, failed = [asked.place, *asked.also], list[str]()
    for place in places:
        print(f"# {in_one_line(place)}", file=sys.stderr)
        try:
            search_index(replace(asked, place=place, also=None))
        except (OSError, RsctirError) as error:
            failed.append(place)
            print(f"not searched: {in_one_line(str(error))}", file=sys.stderr)
    if failed:
        raise QueryError(
            f"{len(failed)} of {len(places)} indexes could not be searched, as said above: "
            f"{', '.join(failed)}. The others were."
        )


def search_index(asked: Search) -> None:
    """Search one index."""
    parts = asked_parts(asked, needed=not has_other_query(asked))
    hint = describe_parts(parts) if parts else None
    ranks = read_ranks(asked.pick)
    check_files(asked)
    only, dates = read_filter(asked.where, asked.bbox), read_dates(asked.after, asked.before)
    opened = open_stored(asked.place)
    only = dated(opened, only, dates)
    chosen = stored_regions(
        opened,
        asked.regions,
        threshold=asked.threshold,
        device=asked.device,
        trust_remote_code=asked.trust,
    )
    adapter: Any = {} if asked.adapter is None else {"adapter": asked.adapter}
    retriever = Retriever.load(
        opened,
        model=asked.model,
        images=asked.images,
        device=asked.device,
        trust_remote_code=asked.trust,
        bank=read_caption_bank(asked.bank),
        regions=chosen,
        **adapter,
    )
    rerank = asked.rerank.value
    folding = retriever.folding(asked.fold.value)
    if has_marks(asked):
        hits = find_marked(folding, asked, only)
    elif asked.labels is not None:
        hits = find_labelled(folding, asked, only)
    else:
        hits = folding.search(parts, top_k=asked.top_k, rerank=rerank, only=only)
    if asked.heat is not None:
        hits = located(hits, retriever, parts, asked.heat)
    if not (hits and opened.persistent):  # a server is not asked for more than is needed
        hint = " ".join(filter(None, (hint, filter_advice(opened, only)))) or None
    if asked.output is not None or asked.collect is not None:
        keep_hits(hits, retriever, asked, ranks=ranks)
    said = {**said_of(parts), "rerank": rerank, "hint": hint}
    said |= {"link": link_of(asked)} | ({"labels": asked.labels} if asked.labels else {})
    print_hits(hits, retriever, query={**said, **said_of_marks(asked)}, as_json=asked.as_json)


def has_other_query(asked: Search) -> bool:
    """Tell whether marks, a concept or labels say what is searched for."""
    return has_marks(asked) or asked.labels is not None


def said_of(parts: Sequence[QueryPart]) -> dict[str, Any]:
    """Return a query as JSON holds it: its words, its first picture, and where it has more, all."""
    words = [part for part in parts if part.text is not None]
    pictures = [as_text(named_path(part.image)) for part in parts if isinstance(part.image, Path)]
    said: dict[str, Any] = {
        "text": in_words(words) or None,
        "image": pictures[0] if pictures else None,
    }
    if len(parts) > 1:
        said["parts"] = [
            {name: _as_text(value) for name, value in vars(part).items()} for part in parts
        ]
    return said


def check_files(asked: Search) -> None:
    """Find out before any work what would keep hits from being written or collected.

    Raises:
        QueryError, OutputExistsError, StorageError: see ``check_taken_home``.
        DataLayoutError: the collection is damaged.
    """
    kept = Path(asked.place).glob("*")  # none where a server keeps it
    read = [*kept, *pictures_of(asked)]
    if asked.heat is not None and has_other_query(asked):
        raise QueryError("--heat shows where words or a picture are. Give --text or --image alone.")
    if asked.heat is not None and asked.heat.exists() and not asked.heat.is_dir():
        raise QueryError(f"--heat {asked.heat} is a file; expected a folder, which is made.")
    if asked.output is None and asked.form is not None:
        raise QueryError("--format is about a file. Name it: --output.")
    if asked.output is not None:
        check_taken_home(asked.output, asked.form, read=read)
    if asked.collect is not None:
        written = [asked.output] if asked.output else []
        refuse_overwriting("--collect", asked.collect, read=[*read, *written])
        check_writable("--collect", asked.collect)
        if asked.collect.exists():
            Collection.load(asked.collect)
    if (asked.pick or asked.note) and asked.output is None and asked.collect is None:
        raise QueryError("--pick and --note are about what is kept. Give --output or --collect.")


def located(
    hits: Sequence[Hit], retriever: Retriever, parts: Sequence[QueryPart], folder: Path
) -> list[Hit]:
    """Return hits with where in them the query is, and write each under its heat map."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for hit in hits:
        placed, drawn = retriever.heat.located(hit, list(parts))
        drawn.save(folder / f"{hit.rank:03}.png")
        found.append(placed)
    return found


def keep_hits(
    hits: Sequence[Hit], retriever: Retriever, asked: Search, *, ranks: set[int] | None
) -> None:
    """Write hits to a file and add them to a collection, where that is asked for."""
    link, parts = link_of(asked), asked_parts(asked, needed=False)
    said = said_of(parts)
    made_by = {"index": as_text(asked.place), **describe_retriever(retriever)}
    taken = TakenHome.of_hits(
        hits,
        text=said["text"],
        image=said["image"],
        title=asked.labels or in_words(parts),
        link=link,
        made_by={name: said for name, said in made_by.items() if isinstance(said, str)},
        vectors=retriever.engine.vectors_of([hit.item for hit in hits]),
    )
    taken = taken if ranks is None else taken.of_ranks(ranks)
    taken = taken.noted(asked.note) if asked.note else taken
    if asked.output is not None:
        write_taken_home(taken, asked.output, asked.form)
    if asked.collect is not None:
        with changing(asked.collect) as collection:
            added = collection.add(taken.features, link=link)
            count = len(collection)
        print(f"{added} added to {asked.collect}, which has {count} now.", file=sys.stderr)


def read_ranks(text: str | None) -> set[int] | None:
    """Return the ranks that ``1,3-5`` names; None stays None.

    Raises:
        QueryError: it names none.
    """
    if text is None:
        return None
    parts = [_RANKS.fullmatch(each.strip()) for each in text.split(",")]
    ranks = set[int]()
    for part in parts:
        if part is None:
            raise QueryError(f"The ranks are {text!r}; expected numbers and ranges, such as 1,3-5.")
        ranks |= set(range(int(part[1]), int(part[2] or part[1]) + 1))
    if not ranks or min(ranks) < 1:
        raise QueryError(f"The ranks are {text!r}; expected numbers from 1, such as 1,3-5.")
    return ranks


def link_of(asked: Search) -> str:
    """Return the link that asks the same."""
    known = {_IN_LINKS.get(each.name, each.name): each for each in fields(asked)}
    given = {name: getattr(asked, each.name) for name, each in known.items() if name in NAMES}
    differing = {name: said for name, said in given.items() if said != known[name].default}
    return write_link({name: _as_text(said) for name, said in differing.items()})


def _as_text(said: Any) -> Any:  # noqa: ANN401 - of an option
    """Return paths, also of several, as text that any link can hold."""
    if isinstance(said, list):
        return [_as_text(each) for each in said]
    return as_text(named_path(said)) if isinstance(said, Path) else said


def with_link(asked: Search) -> Search:
    """Return what is asked with what its link says.

    Raises:
        QueryError: the link makes no sense, or says what an option says too.
    """
    if asked.link is None:
        return asked
    known = {_IN_LINKS.get(each.name, each.name): each for each in fields(asked)}
    said: dict[str, Any] = {}
    for name, values in read_link(asked.link).items():
        if name not in known or (len(values) > 1 and "list" not in str(known[name].type)):
            raise QueryError(f"The link says {name}={', '.join(values)}, which search cannot ask.")
        field = known[name].name
        if getattr(asked, field) != known[name].default:
            raise QueryError(f"--{name.replace('_', '-')} and the link both say {name}. Give one.")
        try:
            read = [_READ.get(field, str)(value) for value in values]
        except ValueError as error:
            raise QueryError(f"The link says {name}={values[0]!r}, which is none.") from error
        said[field] = read if "list" in str(known[name].type) else read[0]
    return replace(asked, **said)


def with_scenes(asked: Search) -> Search:
    """Return what is asked with its scenes as conditions on the column that holds them."""
    named = [f"{SCENE}={written(class_words(name))}" for name in asked.scenes or ()]
    return replace(asked, scenes=None, where=[*(asked.where or ()), *named] or None)


def caption(asked: Caption) -> None:
    """Look for the sentences that suit one picture."""
    rerank = asked.rerank.value
    if asked.rerank in (Rerank.SMR, Rerank.MR):
        raise QueryError(
            f"rerank {rerank!r} of captions needs a gallery of other pictures, which this "
            "command has not. Use none, match or fine, or Retriever.caption_candidates in Python."
        )
    retriever = Retriever.from_pretrained(
        asked.model, bank=read_caption_bank(asked.bank), **load_options(asked)
    )
    hits = retriever.caption_candidates(asked.image, top_k=asked.top_k, rerank=rerank)
    query = {"image": as_text(named_path(asked.image)), "rerank": rerank, "hint": None}
    print_hits(hits, retriever, query=query, as_json=asked.as_json)
