"""What a filter asks of a value; that every engine agrees stands in ``contract``."""

import pytest

from rsctir_hf.errors import QueryError
from rsctir_hf.vector_index.conditions import Contains, Dates, Range, date_digits, meets

DIGITS = {
    "2024": "2024",
    "2024-05": "202405",
    "2024-05-31": "20240531",
    "2024-05-31T10:30:00+02:00": "20240531103000",
    "2024:05:31 10:30:00": "20240531103000",
    "20240531T103000": "20240531103000",
    "2024-05-31T10:30:00.123456Z": "20240531103000",
    20240531: "20240531",
    2024.0: "2024",
    "31.05.2024": "",
    "May 2024": "",
    "": "",
    True: "",
    "\uff12\uff10\uff12\uff14": "",
}


@pytest.mark.parametrize("written", DIGITS)
def test_a_date_is_read_as_people_and_cameras_write_it(written):
    assert date_digits(written) == DIGITS[written]


@pytest.mark.parametrize(
    ("dates", "inside", "outside"),
    [
        (Dates("2024-05-20"), ["2024", "2024-05", "2024-05-20", 20240521], ["2023", "2024-05-19"]),
        (Dates(before="2024-05-20"), ["2024-05-20T23:59:59", "2024-05", 2023], ["2024-05-21"]),
        (Dates("2024-05-20T12:30", "2024-05-20T12:45"), ["2024-05-20"], ["2024-05-20T12:29:59"]),
        (Dates("2024", "2024"), ["2024-12-31T23:59:59"], ["2025", "2023-12-31"]),
    ],
)
def test_a_year_stands_for_all_its_days_and_a_day_for_all_its_hours(dates, inside, outside):
    assert [dates.passes(each) for each in inside] == [True] * len(inside)
    assert [dates.passes(each) for each in [*outside, "soon", False]] == [False] * (
        len(outside) + 2
    )


def test_all_names_must_be_met_and_one_value_of_each():
    wanted = {"gsd": (Range(high=0.5), 2), "place": (Contains("ber"),)}
    assert meets({"gsd": 0.3, "place": "BERLIN"}, wanted)
    assert meets({"gsd": 2.0, "place": "Bern"}, wanted)
    assert not meets({"gsd": 1, "place": "Bern"}, wanted)
    assert not meets({"gsd": 2}, wanted)


REFUSED = {
    "no end": (lambda: Range(), "expected two numbers or two texts"),
    "two kinds": (lambda: Range(1, "b"), "1 to 'b'; expected two numbers or two texts"),
    "truth": (lambda: Range(True), "expected two numbers"),
    "upside down": (lambda: Range(5, 3), "5 to 3; expected the lower end first"),
    "infinite": (lambda: Range(float("inf")), "finite number"),
    "empty part": (lambda: Contains(""), "expected some letters"),
    "NUL": (lambda: Contains("a\0"), "NUL character"),
    "no date": (lambda: Dates(), "expected the earlier one first"),
    "words": (lambda: Dates("yesterday"), "'yesterday'; expected one such as 2024, 2024-05-31"),
    "no such day": (lambda: Dates("2023-02-29"), "'2023-02-29'; expected one such as"),
    "no such month": (lambda: Dates(before="2023-13"), "'2023-13'"),
    "dates upside down": (lambda: Dates("2024", "2023"), "expected the earlier one first"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_nothing_could_pass_is_refused(case):
    make, expected = REFUSED[case]
    with pytest.raises(QueryError, match=expected):
        make()
