"""What the page says by itself."""

import re

from rsctir_hf.ui.views import notices


def test_every_notice_says_what_to_do_or_what_follows():
    said = {name: text for name, text in vars(notices).items() if name.isupper()}
    assert len(said) == 9
    for name, text in {**said, "part": notices.part_searched(3, 9)}.items():
        assert re.search(r"<strong>.+</strong><p>.{30,}\.</p>", text, re.S), name
    assert "3 of 9 pictures were ready. Search again" in notices.part_searched(3, 9)
