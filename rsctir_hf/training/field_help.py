"""``--help`` of a training: ours first, each flag as the docstring of its group says it."""

import inspect
import re
from collections.abc import Sequence

from transformers import HfArgumentParser

USAGE = "%(prog)s [RECIPE.yaml] [--FLAG VALUE ...]"
DESCRIPTION = (
    "A recipe holds flags as 'name: value' lines; a flag on the command line overrides it. "
    'Mappings and lists are inline YAML: --keep_data "{ucm: data/ucm_captions}". The defaults '
    "shown are those of the recipe that is named before --help."
)
OWN_PACKAGE = __name__.partition(".")[0]
_FIELD = re.compile(r"^    (\w+): (.+(?:\n {8,}.+)*)", re.MULTILINE)


def field_help(group: type) -> dict[str, str]:
    """Return what a dataclass of ours says of each field, and those of ours it inherits from."""
    told: dict[str, str] = {}
    for each in reversed(group.__mro__):
        if each.__module__.partition(".")[0] == OWN_PACKAGE:
            section = inspect.cleandoc(each.__doc__ or "").partition("Attributes:\n")[2]
            found = _FIELD.findall(section)
            told |= {name: " ".join(text.replace("``", "'").split()) for name, text in found}
    return told


def explain_flags(parser: HfArgumentParser, groups: Sequence[type]) -> None:
    """Give each flag of ours its text, and list them by their dataclass before all others.

    Args:
        parser: of these groups.
        groups: dataclasses, each with an ``Attributes`` section.
    """
    parser.usage, parser.description = USAGE, DESCRIPTION
    others = list(parser._optionals._group_actions)
    sections = []
    for group in groups:
        told = field_help(group)
        title = inspect.cleandoc(group.__doc__ or "").partition("\n")[0].replace("``", "")
        section = parser.add_argument_group(title)
        for action in [each for each in others if each.dest in told]:
            action.help = told[action.dest].replace("%", "%%")
            section._group_actions.append(action)
            others.remove(action)
        sections.append(section)
    parser._optionals.title = "Of transformers.TrainingArguments"
    parser._optionals._group_actions = others
    parser._action_groups = [*sections, parser._optionals]
