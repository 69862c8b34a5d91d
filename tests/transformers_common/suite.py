"""transformers' own common tests, out of the source distribution of the installed version.

A wheel holds no tests. The source distribution holds the common ones, but not all that they
import. They are not ours, so they are fetched and never copied into this repository:

    pip download --no-binary transformers --no-deps transformers==VERSION
    tar -xzf transformers-VERSION.tar.gz
    export RSCTIR_TRANSFORMERS_TESTS=transformers-VERSION/tests

Exemptions. What we leave out of them, or run otherwise; all else runs as it is:

1. ``test_training`` and those of gradient checkpointing: base models are left out of the training
   tests of this suite, and ours are named as such. ``tests/models/test_usage.py`` covers training
   and checkpointing.
2. ``test_hidden_states_output``, ``test_attention_outputs`` and
   ``test_retain_grad_hidden_states_attentions``: run over each side, which has what they read
   (``sides.py``). The picture side of GaLR has no attention, so the second skips it.
3. ``test_get_image_features_output``, GaLR: the shape of ``last_hidden_state`` is not compared;
   timm knows how wide the backbone's last level is, the configuration does not.
4. ``ConfigTester``: without ``vocab_size``, which the configuration of the text side has.
5. ``test_subprocessor_defaults_preserved_by_kwargs_0_images``, both processors: skipped; gives the
   tokenizer a max_length, which our processors drop (``test_processors.py`` says why).
6. Processors name no module of their own in the files, as when merged into transformers.
7. Tests of export and of generation: absent from the source distribution. We generate nothing;
   ``tests/test_export.py`` covers ours.
"""

import importlib
import importlib.util
import os
import sys
import warnings
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest
import transformers

VARIABLE = "RSCTIR_TRANSFORMERS_TESTS"
PACKAGE = "transformers_tests"  # under its own name, "tests", it would be taken for ours

#: What every configuration is built with once; the file that holds it is not distributed.
CONFIG_KWARGS = {
    "return_dict": False,
    "output_hidden_states": True,
    "dtype": "float16",
    "chunk_size_feed_forward": 5,
    "architectures": ["BertModel"],
    "id2label": {0: "label"},
    "label2id": {"label": "0"},
    "problem_type": "regression",
}
#: Beside the tests, in a folder that is not distributed: names local copies of what they download.
DOWNLOADS = "fetch_hub_objects_for_ci"
#: Modules that are absent from the source distribution, with what is imported from them.
ABSENT = {
    "exporters.test_export": {"ExportTesterMixin": type("ExportTesterMixin", (), {})},
    "generation.test_utils": {"GenerationTesterMixin": type("GenerationTesterMixin", (), {})},
    "utils.test_configuration_utils": {"config_common_kwargs": CONFIG_KWARGS},
}


def load(name: str) -> ModuleType:
    """Import a module of transformers' tests, or skip the calling module where they are absent.

    Args:
        name: of a file without its ending, such as ``test_modeling_common``.
    """
    if PACKAGE not in sys.modules:
        add_package(tests_folder())
    # One of the modules imports transformers anew by its folder, to which the tests do not belong.
    with (
        mock.patch("transformers.utils.direct_transformers_import", lambda _: transformers),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", pytest.PytestUnknownMarkWarning)
        return importlib.import_module(f"{PACKAGE}.{name}")


def tests_folder() -> Path:
    """Return the folder of transformers' tests, which is of the installed version."""
    folder = Path(os.environ.get(VARIABLE, ""))
    if not (folder / "test_modeling_common.py").is_file():
        pytest.skip(
            f"transformers' tests absent: {VARIABLE} names no folder of them",
            allow_module_level=True,
        )
    if folder.absolute().parent.name != f"transformers-{transformers.__version__}":
        raise RuntimeError(
            f"{VARIABLE} is {folder}; expected the tests of the installed version, "
            f"{transformers.__version__}."
        )
    return folder


def add_package(folder: Path) -> None:
    """Make the folder importable as ``PACKAGE``, with stubs for what it lacks."""
    spec = ModuleSpec(PACKAGE, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
    for name, content in ABSENT.items():
        parent = f"{PACKAGE}.{name.partition('.')[0]}"
        for full in (parent, f"{PACKAGE}.{name}"):
            sys.modules[full] = ModuleType(full)
        vars(sys.modules[f"{PACKAGE}.{name}"]).update(content)
    sys.modules[DOWNLOADS] = ModuleType(DOWNLOADS)
    sys.modules[DOWNLOADS].url_to_local_path = str
