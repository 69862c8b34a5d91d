"""What becomes of the errors of a push."""

import pytest

from rsctir_hf.errors import PushError
from rsctir_hf.loading.push_errors import explained_push


def test_a_refusal_is_one_sentence_and_a_remedy():
    with (
        pytest.raises(PushError, match=r"^My model could not .* org/a: 403 you may not\. Log in"),
        explained_push("My model", "org/a"),
    ):
        raise OSError("403 you\n may not.")


def test_what_is_no_refusal_is_left_alone():
    with pytest.raises(KeyError), explained_push("My model", "org/a"):
        raise KeyError("a mistake of ours")
