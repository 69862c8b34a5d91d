"""Pushing a folder, without a Hub."""

from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi

from rsctir_hf.errors import ModelLoadError, PushError
from rsctir_hf.hub.push import push_model


@pytest.fixture
def calls(monkeypatch):
    made = {}

    def record(name, answer=None):
        def call(self, *args, **kwargs):
            made[name] = (args, kwargs)
            return answer

        monkeypatch.setattr(HfApi, name, call)

    record("create_repo")
    record("create_branch")
    record("upload_folder", SimpleNamespace(commit_url="https://hub/commit"))
    return made


def test_push_makes_the_repository_and_uploads_the_folder(clip_folder, calls):
    url = push_model(clip_folder, "org/name", private=True, revision="dev")
    assert url == "https://hub/commit"
    assert calls["create_repo"] == (("org/name",), {"private": True, "exist_ok": True})
    assert calls["create_branch"][1]["branch"] == "dev"
    uploaded = calls["upload_folder"][1]
    assert uploaded["folder_path"] == clip_folder
    assert "checkpoint-*/**" in uploaded["ignore_patterns"]


def test_push_refuses_what_is_no_model(tmp_path, calls):
    with pytest.raises(ModelLoadError, match=r"lacks config\.json"):
        push_model(tmp_path, "org/name")
    with pytest.raises(ModelLoadError, match="not a folder"):
        push_model(tmp_path / "absent", "org/name")
    assert not calls


def test_push_names_a_malformed_repository_and_a_refusal(clip_folder, monkeypatch):
    with pytest.raises(PushError, match="Expected OWNER/NAME"):
        push_model(clip_folder, "not a name!")

    def refuse(self, *args, **kwargs):
        raise OSError("401 Unauthorized")

    monkeypatch.setattr(HfApi, "create_repo", refuse)
    with pytest.raises(PushError, match=r"401 Unauthorized.*hf auth login"):
        push_model(clip_folder, "org/name")
