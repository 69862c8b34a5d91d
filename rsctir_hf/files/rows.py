"""Rows of a table file as people's programs write it: JSON, CSV, tab-separated or Parquet.

Text is UTF-8, with or without a byte order mark, or UTF-16 with one. A line of JSON ends with a
line feed; a file ``.json`` holds a list of objects instead, or such lines. In CSV the first line
names the columns; commas, semicolons, tabs and bars separate, and a column of nothing but numbers,
or of nothing but true and false, is that. A cell in brackets is a list or an object, as JSON or as
Python prints it; columns of one name are a list together. Dates of Parquet are texts, such as
2026-05-01.
"""

import ast
import codecs
import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.atomic import parse_json

#: What a table file's name ends with.
JSON_LINES, JSON, PARQUET = ".jsonl", ".json", ".parquet"
TABLE_SUFFIXES = (JSON_LINES, ".csv", ".tsv", PARQUET)
#: Of tables that hold the names of pictures, not pictures.
TEXT_SUFFIXES = (*TABLE_SUFFIXES[:-1], JSON)
#: What a spreadsheet takes for a formula, and would run, at the beginning of a cell; an apostrophe
#: in front of it keeps the cell a text.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
_EXAMPLE = '{"file_name": "a.jpg", "captions": ["a pier"]}'
_SEPARATORS = ",;\t|"
_LONGEST_CELL = 2**30
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d{1,3})?")
_TRUTH = {"true": True, "false": False}
_BRACKETS = ("[]", "{}")


def decode(content: bytes) -> str:
    """Return the text of a file, by its byte order mark or as UTF-8.

    Raises:
        UnicodeDecodeError: it is neither.
    """
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if marked else "utf-8-sig")


def read_rows(file: Path, *, texts: Collection[str] = ()) -> Iterator[tuple[int, Any]]:
    """Yield where each row of a table file stands, from 1, and what it holds by column.

    Args:
        file: its suffix says what it is.
        texts: columns of CSV that are texts even where they look like numbers.

    Raises:
        DataLayoutError: the file or one of its rows cannot be read; names the row.
    """
    suffix = file.suffix.lower()
    if suffix == PARQUET:
        yield from enumerate(_read_parquet(file), start=1)
        return
    content = file.read_bytes()
    try:
        text = decode(content)
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise row_error(
            file, number, f"is not UTF-8 text ({error.reason}); save the file as UTF-8"
        ) from error
    if suffix == JSON and text.lstrip().startswith("["):
        yield from _read_list(file, text)
    elif suffix in (JSON_LINES, JSON):
        yield from _read_lines(file, text)
    else:
        yield from _read_csv(file, text, texts)


def without_apostrophe(cell: str) -> str:
    """Return a cell without the apostrophe that kept it from being run; see ``FORMULA``."""
    return cell[1:] if cell.startswith(tuple(f"'{sign}" for sign in FORMULA)) else cell


def row_error(file: Path, number: int, found: object) -> DataLayoutError:
    """Return the error that names a row and says what was found and expected there."""
    suffix = file.suffix.lower()
    kind, example = "Row" if suffix in (PARQUET, JSON) else "Line", ""
    if suffix not in (*TABLE_SUFFIXES[1:], JSON):
        example = f" A line is one object, such as {_EXAMPLE}."
    return DataLayoutError(
        f"{kind} {number} of {file} {str(found).rstrip('.')}.{example} Mend it, or take it out."
    )


def _read_lines(file: Path, text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, parse_json(line)
        except ValueError as error:
            hint = ""
            if line.rstrip().endswith(",") or line.strip() in ("[", "]"):
                hint = "; no comma stands behind a line, and no bracket around all of them"
            raise row_error(file, number, f"is not JSON ({error}){hint}") from error


def _read_list(file: Path, text: str) -> Iterator[tuple[int, Any]]:
    try:
        yield from enumerate(parse_json(text), start=1)
    except ValueError as error:
        raise DataLayoutError(f"{file} is not JSON ({error}). Write it again.") from error


def _read_csv(file: Path, text: str, texts: Collection[str]) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(_LONGEST_CELL)
    heading = text.split("\n", 1)[0]
    separator = max(_SEPARATORS, key=heading.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    names: list[str] = []
    rows: list[tuple[int, list[str]]] = []
    start = 1
    try:
        for cells in lines:
            if not names:
                names = [name.strip() for name in cells]
            elif any(cell.strip() for cell in cells):
                rows.append((start, _fitted(file, start, cells, names)))
            start = lines.line_num + 1
    except csv.Error as error:
        raise row_error(file, start, f"is not CSV ({error})") from error
    columns = [[cells[place] for _, cells in rows] for place in range(len(names))]
    typed = [
        [_structured(cell) for cell in column] if name in texts else _typed(column)
        for name, column in zip(names, columns, strict=True)
    ]
    for place, (number, _) in enumerate(rows):
        yield number, _joined(names, [column[place] for column in typed])


def _fitted(file: Path, number: int, cells: list[str], names: Sequence[str]) -> list[str]:
    """Return as many cells as there are columns; empty ones may be missing or too many."""
    if any(cell.strip() for cell in cells[len(names) :]):
        raise row_error(
            file,
            number,
            f"has {len(cells)} cells and the first line names {len(names)} columns; put texts "
            "that hold the separator in double quotes",
        )
    return [*cells, *[""] * len(names)][: len(names)]


def _joined(names: Sequence[str], cells: Sequence[Any]) -> Mapping[str, Any]:
    """Return the cells by the names of their columns, those of one name as a list."""
    row: dict[str, Any] = {}
    for name, cell in zip(names, cells, strict=True):
        if not name or cell is None:
            continue
        if names.count(name) == 1:
            row[name] = cell
        else:
            row.setdefault(name, []).append(cell)
    return row


def _typed(cells: Sequence[str]) -> list[Any]:
    """Return a column as numbers or truth values where all of its cells are such."""
    said = [cell.strip() for cell in cells]
    if all(_NUMBER.fullmatch(cell) for cell in said if cell):
        return [parse_json(cell) if cell else None for cell in said]
    if all(cell.lower() in _TRUTH for cell in said if cell):
        return [_TRUTH.get(cell.lower()) for cell in said]
    return [_structured(cell) for cell in cells]


def _structured(cell: str) -> Any:  # noqa: ANN401 - a text, or what stands in brackets
    said = cell.strip()
    if said[:1] + said[-1:] in _BRACKETS:
        with suppress(ValueError):
            return parse_json(said)
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            return ast.literal_eval(said)
    return cell if said else None


def _read_parquet(file: Path) -> list[dict[str, Any]]:
    try:
        rows = pq.read_table(file).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataLayoutError(
            f"{file} cannot be read as Parquet ({error}). Write it again."
        ) from error
    return [
        {name: cell.isoformat() if isinstance(cell, date) else cell for name, cell in row.items()}
        for row in rows
    ]
