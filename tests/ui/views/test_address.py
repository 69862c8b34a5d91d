"""The address of the page, from what is shown and back."""

import pytest

from rsctir_hf.ui.views.address import Asked, kept_address, read_address


@pytest.mark.parametrize(
    "asked",
    [
        Asked(),
        Asked(q="boats & piers = 50 % <b>", rerank="smr", results=24, open=3),
        Asked(like="sub/a b.png", type="dense_residential", tab="about"),
        Asked(page=4, type="harbor"),
    ],
)
def test_an_address_says_what_is_shown(asked):
    assert read_address(asked.address) == asked


def test_nothing_asked_has_the_plain_address():
    assert Asked().address == ""


@pytest.mark.parametrize(
    "text", [None, 7, "", "?", "q", "?rerank=best&tab=x&open=-1&page=0.5&results=²", "?%ff=%ff&&&"]
)
def test_what_makes_no_sense_is_the_default(text):
    assert read_address(text) == Asked()


def test_numbers_come_into_bounds():
    read = read_address("?results=1000&page=0&open=99999999999")
    assert (read.results, read.page, read.open) == (48, 1, 10**6)


def test_an_address_cannot_become_markup():
    assert "<b>" not in kept_address(Asked(q='"><b>'))
    assert '">' not in kept_address(Asked(q='"><b>')).split("data-moment")[0]
