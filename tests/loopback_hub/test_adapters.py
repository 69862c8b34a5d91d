"""An adapter pushed by ``rsctir push`` opens by its id, in a model that is on the Hub as well."""

import json

import pytest

from tests import miniature
from tests.loading.test_adapters import make_adapter
from tests.loopback_hub.conftest import TEXTS, WRITER, save_family

pytestmark = pytest.mark.slow

MODEL, ADAPTER = "org/base-of-adapter", "org/small-adapter"


def test_an_adapter_is_pushed_and_opened_by_its_id(hub, new_client, tmp_path):
    base, adapter = save_family("cmpagl", tmp_path / "base", seed=3), tmp_path / "adapter"
    adapter.mkdir()
    make_adapter(base, adapter)
    (adapter / "report.html").write_text("pictures of the user's")
    pictures = miniature.write_pictures(tmp_path / "pictures", ["a.png", "b.png"], side=64)
    index = tmp_path / "index"
    answers = new_client().commands(
        ["push", "--model", base, "--repo", MODEL],
        ["push", "--model", adapter, "--repo", ADAPTER],
        ["index", "--model", MODEL, "--adapter", ADAPTER, "--images", pictures, "--index", index],
        ["search", "--index", index, "--text", TEXTS[0], "--json"],
        ["index", "--model", ADAPTER, "--images", pictures, "--index", tmp_path / "none"],
        token=WRITER,
    )
    assert [answer.code for answer in answers] == [0, 0, 0, 0, 2], answers
    repository = hub.repository("model", ADAPTER)
    (commit,) = repository.branches.values()
    files = set(repository.commits[commit])
    assert {"adapter_config.json", "adapter_model.safetensors", "base.json"} <= files
    assert "report.html" not in files
    found = json.loads(answers[3].out)
    assert (found["model"], len(found["hits"])) == (MODEL, 2)
    assert found["adapter"] == f"{ADAPTER}@{commit}"
    assert "is an adapter, which belongs to a model" in answers[4].err
