"""JSON as it comes from files of others."""

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return what a JSON text holds.

    Raises:
        ValueError: it is no JSON, or nested more deeply than Python can follow, for which
            ``json.loads`` has an error that nobody expects.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
