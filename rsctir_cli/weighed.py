"""Commands whose queries have weights: ``--weight`` counts for the part that stands before it.

Names of files hold colons and equals signs, so a weight is an option of its own. Options of a kind
are gathered in lists, which lose the order; it is told here, while it is known.
"""

from collections.abc import Sequence
from typing import Any

from typer import BadParameter
from typer.core import TyperCommand

#: In this order the parts of a query stand in a command's record.
PARTS = ("text", "image", "unwanted", "unwanted_image")
WEIGHT = "weight"


class WeighedCommand(TyperCommand):
    """A command that hands on one weight for each part, in the order of ``PARTS``, or none."""

    def make_parser(self, ctx: Any) -> Any:  # noqa: ANN401 - typer keeps its classes to itself
        """Return the parser of the command line, which hands on such weights."""
        return _Weighing(super().make_parser(ctx))


class _Weighing:
    """A parser that still knows in which order the options came."""

    def __init__(self, parser: Any) -> None:  # noqa: ANN401
        self._parser = parser

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._parser, name)

    def parse_args(self, args: list[str]) -> Any:  # noqa: ANN401
        options, others, order = self._parser.parse_args(args)
        if WEIGHT in options:
            names = [option.name for option in order]
            options[WEIGHT] = weights_by_part(names, options[WEIGHT])
        return options, others, order


def weights_by_part(names: Sequence[str], weights: Sequence[str]) -> list[str]:
    """Return the weight of each part, 1 where none was given, in the order of ``PARTS``.

    Args:
        names: of the options as they were given, among them ``WEIGHT``.
        weights: of these the values.

    Raises:
        BadParameter: a weight has no part before it, or the part has one already.
    """
    found: dict[str, list[str | None]] = {name: [] for name in PARTS}
    left, last = list(weights), None
    for name in names:
        if name in PARTS:
            found[name].append(None)
            last = name
        elif name == WEIGHT:
            weight = left.pop(0)
            if last is None or found[last][-1] is not None:
                raise BadParameter(
                    f"--weight {weight} has no query before it. Write it after the --text, "
                    "--image, --not or --not-image that it is for."
                )
            found[last][-1] = weight
    return [weight or "1" for name in PARTS for weight in found[name]]
