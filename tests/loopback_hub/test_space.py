"""``rsctir deploy-space`` to a Hub: a Space with its settings and exactly the files it needs."""

import pytest

from tests.conftest import ROOT
from tests.loopback_hub.conftest import READER, WRITER

pytestmark = pytest.mark.slow

NAME = "org/picture-search"
COMMAND = ["deploy-space", "--repo", NAME]


def test_a_space_is_made_and_renewed_with_exactly_the_files_of_the_app(
    hub, new_client, all_checkpoints
):
    values = {
        "RSCTIR_MODEL": "org/model",
        "RSCTIR_REGION_MODEL": "",
        "RSCTIR_REGIONS": "checkpoints/overhead-rsod",
        "RSCTIR_MCP": "1",
    }
    given = [word for key, value in values.items() for word in ("--variables", f"{key}={value}")]
    client = new_client()
    (made,) = client.commands(
        [*COMMAND, *given, "--private", "--hardware", "cpu-upgrade"], token=WRITER
    )
    # Of more than 200 files the Hub's client says that they are many.
    said = [line for line in made.err.splitlines() if "upload a large folder" not in line]
    assert (made.code, said) == (0, [])
    assert made.out.strip() == f"{hub.url}/spaces/{NAME}"
    space = hub.repository("space", NAME)
    assert (space.sdk, space.private, space.hardware) == ("gradio", True, "cpu-upgrade")
    assert space.variables == values
    first = space.commits[space.branches["main"]]
    assert {path.split("/")[0] for path in first} == {
        *("README.md", "LICENSE", "app.py", "requirements.txt", "rsctir_hf", "checkpoints")
    }
    for name in ("README.md", "checkpoints/overhead-rsod/model.safetensors"):
        assert first[name].content == (ROOT / name).read_bytes()
    listed = (ROOT / "requirements.txt").read_bytes()
    assert first["requirements.txt"].content == listed + b"gradio[mcp]\n"

    hub.put("space", NAME, {"rsctir_hf/gone.py": b"old", "notes.txt": b"the owner's"})
    off = [word.replace("RSCTIR_MCP=1", "RSCTIR_MCP=0") for word in given]
    (renewed,) = client.commands([*COMMAND, *off], token=WRITER)
    assert renewed.code == 0, renewed.err
    second = space.commits[space.branches["main"]]
    assert set(second) == {*first, "notes.txt"}
    assert second["requirements.txt"].content == listed
    assert space.hardware == "cpu-upgrade"


def test_who_may_not_write_is_told_so_and_no_space_is_made(hub, new_client):
    other = ["deploy-space", "--repo", "org/other"]
    nobody, reader, badly_named, badly_set = new_client().commands(
        other,
        [{"HF_TOKEN": READER}, *other],
        [{"HF_TOKEN": WRITER}, "deploy-space", "--repo", "a/b/c"],
        [{"HF_TOKEN": WRITER}, *other, "--variables", "RSCTIR_MODEL"],
    )
    assert ("space", "org/other") not in hub.repositories
    assert [a.code for a in (nobody, reader, badly_named, badly_set)] == [2] * 4
    for answer in (nobody, reader):
        assert "The demo could not be pushed to org/other" in answer.err
        assert "hf auth login" in answer.err
    assert "Expected OWNER/NAME" in badly_named.err
    assert "'RSCTIR_MODEL' is not understood; expected NAME=VALUE" in badly_set.err
