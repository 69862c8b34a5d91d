"""What a filter may ask of a value besides being one of several: a range, some words, a time."""

import re
from dataclasses import dataclass
from datetime import datetime

from rsctir_hf.errors import QueryError
from rsctir_hf.vector_index.arguments import Metadata, Scalar, checked_metadata

#: How a date may begin: 2024, 2024-05-01, 2024:05:01 10:30:00 (EXIF), 20240501T103000. Whatever
#: follows, such as a time zone, does not count.
DATE_PATTERN = r"^[0-9]{4}(?:[-:/. T]?[0-9]{2}){0,5}"
DATE_DIGITS = len("YYYYMMDDhhmmss")
_READ_AS = "%Y%m%d%H%M%S"  # two of its signs for two digits, but for the year


@dataclass(frozen=True)
class Range:
    """Numbers or texts from ``low`` to ``high``, both included; None leaves an end open.

    Texts are compared character by character, and never with numbers.

    Raises:
        QueryError: no end, ends of two kinds, or the wrong way around.
    """

    low: str | int | float | None = None
    high: str | int | float | None = None

    def __post_init__(self) -> None:
        ends = [end for end in (self.low, self.high) if end is not None]
        checked_metadata({str(place): end for place, end in enumerate(ends)})
        if len({_kind(end) for end in ends}) != 1 or _kind(ends[0]) is bool:
            raise QueryError(
                f"The range is {self.low!r} to {self.high!r}; expected two numbers or two texts, "
                "or one of them."
            )
        if len(ends) == 2 and not self.low <= self.high:  # type: ignore[operator]  # of one kind
            raise QueryError(f"The range is {self}; expected the lower end first.")

    def __str__(self) -> str:
        if self.low is None:
            return f"at most {self.high}"
        return f"at least {self.low}" if self.high is None else f"{self.low} to {self.high}"

    def passes(self, value: Scalar) -> bool:
        """Tell whether a value lies in it."""
        ends = [end for end in (self.low, self.high) if end is not None]
        if _kind(value) is not _kind(ends[0]):
            return False
        above = self.low is None or self.low <= value  # type: ignore[operator]
        return above and (self.high is None or value <= self.high)  # type: ignore[operator]


@dataclass(frozen=True)
class Contains:
    """Texts that hold another one, in whatever case of letters.

    Raises:
        QueryError: no text, or an empty one.
    """

    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text:
            raise QueryError(f"A text is to contain {self.text!r}; expected some letters.")
        checked_metadata({"text": self.text})

    def __str__(self) -> str:
        return f"with {self.text!r} in it"

    def passes(self, value: Scalar) -> bool:
        """Tell whether a value is a text that holds it."""
        return isinstance(value, str) and self.text.lower() in value.lower()


@dataclass(frozen=True)
class Dates:
    """Dates from ``after`` to ``before``, both included, as ``DATE_PATTERN`` reads them.

    A year stands for all of its days, a day for all of its hours: 2024-05 passes from 2024-05-20
    on. Time zones do not count.

    Raises:
        QueryError: no date, neither of them, or the wrong way around.
    """

    after: str | None = None
    before: str | None = None

    def __post_init__(self) -> None:
        given = [day for day in (self.after, self.before) if day is not None]
        for day in given:
            try:
                datetime.strptime(date_digits(day), _READ_AS[: len(date_digits(day)) - 2])
            except ValueError as error:
                raise QueryError(
                    f"The date is {day!r}; expected one such as 2024, 2024-05-31 or "
                    "2024-05-31T14:30."
                ) from error
        if not given or (len(given) == 2 and self.first > self.last):
            raise QueryError(
                f"The dates are {self.after!r} to {self.before!r}; expected the earlier one first."
            )

    def __str__(self) -> str:
        return str(Range(self.after, self.before))

    @property
    def first(self) -> str:
        """The digits of the first moment."""
        return date_digits(self.after or "0000")

    @property
    def last(self) -> str:
        """The digits of the last moment, nines where nothing is said."""
        return date_digits(self.before or "9999").ljust(DATE_DIGITS, "9")

    def passes(self, value: Scalar) -> bool:
        """Tell whether some moment of a date lies between them."""
        digits = date_digits(value)
        return bool(digits) and self.first <= digits.ljust(DATE_DIGITS, "9") and digits <= self.last


Condition = Range | Contains | Dates


def date_digits(value: Scalar) -> str:
    """Return the digits of a date, years first; empty where it is none."""
    found = None if isinstance(value, bool) else re.match(DATE_PATTERN, str(value))
    return "" if found is None else re.sub(r"\D", "", found[0])


def typed(value: Scalar) -> tuple[bool, Scalar]:
    """Return a key that tells ``True`` from ``1``, which Python takes for equal."""
    return isinstance(value, bool), value


def met(value: Scalar, wanted: Scalar | Condition) -> bool:
    """Tell whether a value is what a filter asks for."""
    if isinstance(wanted, Condition):
        return wanted.passes(value)
    return typed(value) == typed(wanted)


def meets(metadata: Metadata, wanted: dict[str, tuple[Scalar | Condition, ...]]) -> bool:
    """Tell whether metadata have, for each name, one of what a filter asks for."""
    return all(
        name in metadata and any(met(metadata[name], each) for each in asked)
        for name, asked in wanted.items()
    )


def _kind(value: Scalar) -> type:
    return bool if isinstance(value, bool) else str if isinstance(value, str) else float
