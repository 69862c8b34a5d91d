"""JSON of others: what is no JSON is one kind of error."""

import pytest

from rsctir_hf.files.atomic import parse_json


def test_json_is_read():
    assert parse_json('{"a": [1, null]}') == {"a": [1, None]}
    assert parse_json(b"3") == 3


@pytest.mark.parametrize(
    "text", ["{", b"\xff\xfe\x00", "[" * 100_000, '{"a":' * 100_000, "9" * 9_999]
)
def test_what_cannot_be_read_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
