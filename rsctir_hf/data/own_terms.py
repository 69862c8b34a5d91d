"""What its owner says of own data, as cards put it: who made it, and under which terms.

What was not said is asked for, and nothing is made up.
"""

import re
from dataclasses import dataclass

#: Names that the Hub has for licences of data; of the others it is told the name only.
HUB_LICENCES = re.compile(
    r"cc0-1\.0|cc-by(-nc)?(-sa|-nd)?-[234]\.0|apache-2\.0|mit|odbl|odc-by|pddl|etalab-2\.0"
)
NOT_STATED = "not stated, please add"


@dataclass(frozen=True)
class OwnersWords:
    """What an owner says of a set of own data; None: nothing.

    Attributes:
        name: what it is called.
        licence: of pictures and captions.
        source: who made them, where and when.
    """

    name: str | None = None
    licence: str | None = None
    source: str | None = None

    def __bool__(self) -> bool:
        return any((self.name, self.licence, self.source))

    def sentences(self) -> str:
        """Return source and licence in words, or how to add them."""
        asked = {
            "Source": (self.source, "--data_source"),
            "Licence": (self.licence, "--data_licence"),
        }
        return " ".join(
            f"{title}: {words}." if words else f"{title}: {NOT_STATED} `{flag}`."
            for title, (said, flag) in asked.items()
            for words in [" ".join((said or "").split()).rstrip(".")]
        )

    def front_matter(self) -> dict[str, str]:
        """Return the fields of a card that name the licence; none where none is stated."""
        if not self.licence:
            return {}
        name = re.sub(r"[^a-z0-9.]+", "-", self.licence.casefold()).strip("-.")
        if HUB_LICENCES.fullmatch(name):
            return {"license": name}
        return {"license": "other", "license_name": name or "as-its-owner-says"}
