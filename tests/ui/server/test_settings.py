"""Launch settings: flags, then environment, then defaults."""

from pathlib import Path

import pytest

from rsctir_hf.ui.server import settings as settings_module
from rsctir_hf.ui.server.settings import parse_settings

ROOT = Path("checkout")


def test_defaults_are_the_embedded_model_and_the_drawn_scenes():
    settings = parse_settings([], {}, root=ROOT)
    assert settings.model == str(ROOT / "checkpoints/cmpagl-rs")
    assert settings.region_model == str(ROOT / "checkpoints/galr-rs")
    assert (settings.gallery, settings.fall_back) == ("sample", False)
    assert settings.host is None  # gradio then listens on loopback


def test_environment_overrides_the_default_and_flags_override_the_environment():
    environ = {"RSCTIR_MODEL": "org/model", "RSCTIR_GALLERY": "some/folder", "RSCTIR_BANK": "b.txt"}
    settings = parse_settings(["--gallery", "other"], environ, root=ROOT)
    assert (settings.model, settings.gallery, settings.bank) == (
        "org/model",
        "other",
        Path("b.txt"),
    )


def test_a_space_shows_photographs_unless_told_otherwise():
    settings = parse_settings([], {"SPACE_ID": "org/space"}, root=ROOT)
    assert (settings.gallery, settings.fall_back) == ("arampacha/rsicd", True)
    told = parse_settings([], {"SPACE_ID": "org/space", "RSCTIR_GALLERY": "sample"}, root=ROOT)
    assert (told.gallery, told.fall_back) == ("sample", False)


def test_an_empty_region_model_switches_the_fallback_off():
    assert parse_settings(["--region-model", ""], {}, root=ROOT).region_model is None


def test_an_unknown_flag_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse_settings(["--galery", "x"], {}, root=ROOT)
    assert "--galery" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["0", "99999", "http"])
def test_a_port_that_is_none_is_refused(port, capsys):
    with pytest.raises(SystemExit):
        parse_settings(["--port", port], {}, root=Path())
    assert "--port" in capsys.readouterr().err


def test_regions_are_the_model_s_own_unless_a_detector_is_named():
    settings = parse_settings([], {"RSCTIR_REGIONS": "", "RSCTIR_REGION_THRESHOLD": ""}, root=ROOT)
    assert (settings.regions, settings.region_threshold) == ("model", None)
    environ = {"RSCTIR_REGIONS": "org/detector", "RSCTIR_REGION_THRESHOLD": "0.3"}
    told = parse_settings([], environ, root=ROOT)
    assert (told.regions, told.region_threshold) == ("org/detector", 0.3)
    flags = ["--regions", "none", "--region-threshold", "0.4"]
    settings = parse_settings(flags, environ, root=ROOT)
    assert (settings.regions, settings.region_threshold) == ("none", 0.4)


def test_a_threshold_that_is_no_number_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse_settings([], {"RSCTIR_REGION_THRESHOLD": "high"}, root=ROOT)
    assert "--region-threshold: invalid float value: 'high'" in capsys.readouterr().err


def test_the_mcp_server_is_off_unless_a_flag_or_the_environment_turns_it_on(capsys):
    assert not parse_settings([], {}, root=ROOT).mcp
    assert not parse_settings([], {"RSCTIR_MCP": "0"}, root=ROOT).mcp
    assert parse_settings(["--mcp"], {"RSCTIR_MCP": "0"}, root=ROOT).mcp
    assert parse_settings([], {"RSCTIR_MCP": "true"}, root=ROOT).mcp
    with pytest.raises(SystemExit):
        parse_settings([], {"RSCTIR_MCP": "maybe"}, root=ROOT)
    assert "RSCTIR_MCP is 'maybe'; expected 1 or 0." in capsys.readouterr().err


def test_an_mcp_server_without_its_package_names_the_line_that_installs_it(monkeypatch, capsys):
    monkeypatch.setattr(settings_module, "find_spec", lambda name: None if name == "mcp" else 1)
    with pytest.raises(SystemExit):
        parse_settings(["--mcp"], {}, root=ROOT)
    assert "mcp is not installed. Run: pip install 'rsctir_hf[mcp]'" in capsys.readouterr().err


def test_an_index_is_opened_with_its_own_model_unless_one_is_named():
    assert not parse_settings([], {}, root=ROOT).model_named
    assert not parse_settings([], {"RSCTIR_MODEL": ""}, root=ROOT).model_named
    assert parse_settings([], {"RSCTIR_MODEL": "org/model"}, root=ROOT).model_named
    assert parse_settings(["--model", "org/model"], {}, root=ROOT).model_named


def test_vectors_are_kept_unless_a_flag_or_the_environment_says_no(capsys):
    assert parse_settings([], {}, root=ROOT).cache
    assert not parse_settings(["--no-cache"], {}, root=ROOT).cache
    assert not parse_settings([], {"RSCTIR_NO_CACHE": "1"}, root=ROOT).cache
    with pytest.raises(SystemExit):
        parse_settings([], {"RSCTIR_NO_CACHE": "maybe"}, root=ROOT)
    assert "RSCTIR_NO_CACHE is 'maybe'; expected 1 or 0." in capsys.readouterr().err
