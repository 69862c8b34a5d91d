"""``rsctir collection``, and what every command does that writes hits for other programs."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rsctir_cli.analyst import Collection as Asked
from rsctir_cli.analyst import Deed
from rsctir_cli.options import HitsFormat
from rsctir_hf.cli.output import (
    check_writable,
    in_one_line,
    json_text,
    print_result,
    refuse_overwriting,
)
from rsctir_hf.collection.collected import Collection, changing
from rsctir_hf.collection.features import TakenHome, is_there, key_of
from rsctir_hf.collection.take_home import FORMATS, choose_format, take_home
from rsctir_hf.errors import OutputExistsError, QueryError

_TAKES = {
    Deed.NOTE: ("picture", "note"),
    Deed.REMOVE: ("picture",),
    Deed.MERGE: ("other",),
    Deed.EXPORT: ("output",),
}


def collection(asked: Asked) -> None:
    """Do what is asked with a collection, and say what came of it."""
    check_options(asked)
    if asked.deed is Deed.LIST:
        print_collection(Collection.load(asked.file), as_json=asked.as_json)
        return
    if asked.deed is Deed.EXPORT and asked.output is not None:
        found = Collection.load(asked.file)
        check_taken_home(asked.output, asked.form, read=[asked.file])
        write_taken_home(found.taken_home(), asked.output, asked.form)
        said = f"{len(found)} pictures written to {asked.output}."
    else:
        Collection.load(asked.file)  # refuses what is not there: nothing is begun here
        with changing(asked.file) as found:
            said = change(found, asked)
        said = f"{said}. {asked.file} has {len(found)} pictures now."
    result = {"done": said, "pictures": len(found)}
    print_result(said, result, as_json=asked.as_json)


def check_options(asked: Asked) -> None:
    """Raise ``QueryError`` for options that are missing, or not of this deed."""
    given = {name for name, value in asdict(asked).items() if value not in (None, False)}
    needed = set(_TAKES.get(asked.deed, ()))
    if missing := needed - given:
        names = ", --".join(sorted(missing))
        raise QueryError(f"'rsctir collection {asked.deed}' needs --{names}.")
    allowed = needed | {"deed", "file", "as_json"}
    allowed |= {"form"} if asked.deed is Deed.EXPORT else set()
    if idle := given - allowed:
        names = ", --".join(sorted(idle)).replace("form", "format")
        raise QueryError(f"'rsctir collection {asked.deed}' takes no --{names}. Leave it out.")


def change(found: Collection, asked: Asked) -> str:
    """Change a collection; return what was done, in words."""
    match asked.deed:
        case Deed.NOTE:
            for picture in asked.picture or []:
                found.note(picture, asked.note or "")
            return f"{len(asked.picture or [])} noted"
        case Deed.REMOVE:
            found.remove(*asked.picture or [])
            return f"{len(asked.picture or [])} removed"
        case Deed.MERGE:
            return f"{sum(found.merge(Collection.load(each)) for each in asked.other or [])} added"
        case Deed.UNDO:
            return f"Undone: {found.undo()}"
        case _:
            return f"Done again: {found.redo()}"


def print_collection(found: Collection, *, as_json: bool) -> None:
    """Print the pictures of a collection, one a line, or as GeoJSON."""
    features = found.features
    if as_json:
        print(json_text({"type": "FeatureCollection", "name": found.name, "features": features}))
        return
    for feature in features:
        said = feature["properties"]
        parts = [key_of(feature), said.get("caption"), said.get("text"), said["note"]]
        parts += [] if is_there(feature) else ["gone"]
        print(f"{said['score']:+.3f}  {in_one_line('  '.join(filter(None, parts)))}")
    gone = len(found.gone)
    print(f"{len(features)} pictures" + (f", {gone} of them gone." if gone else "."))


def check_taken_home(output: Path, form: HitsFormat | None, *, read: Sequence[Path]) -> None:
    """Find out before any work what would keep hits from being written.

    Raises:
        QueryError: no such format, or the file would be written over another of this command.
        OutputExistsError: a folder that is to be new is in use.
        StorageError: it cannot be made there.
    """
    refuse_overwriting("--output", output, read=read)
    if FORMATS[choose_format(output, form)].suffixes:
        check_writable("--output", output)
    elif output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise OutputExistsError(f"--output {output} is in use. As {form} it is a new folder.")


def write_taken_home(taken: TakenHome, output: Path, form: HitsFormat | None) -> None:
    """Write hits, and say on standard error what is missing from them."""
    for note in take_home(taken, output, form):
        print(f"note: {in_one_line(note)}", file=sys.stderr)
