"""Tests of the two model families."""

import pytest

# Without this the asserts of the shared class would fail without saying what they compared.
pytest.register_assert_rewrite(f"{__name__}.contract")
