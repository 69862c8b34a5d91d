"""Settings of the documentation site: ``sphinx-build -W --keep-going docs docs/_build``."""

import re
from pathlib import Path

from sphinx.application import Sphinx

project = "rsctir_hf"
author = "the authors of rsctir_hf"
html_title = "rsctir_hf"
html_theme = "furo"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
templates_path = ["templates"]
exclude_patterns = ["_build", "templates"]
myst_heading_anchors = 3

autosummary_generate = True
autosummary_ignore_module_all = True
# Programs and not a library; pages of their own and --help describe them.
autosummary_context = {"programs": ["ui", "cli"]}
autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    "member-order": "bysource",
    "ignore-module-all": True,  # a name is described where it is defined
}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 100


def setup(app: Sphinx) -> None:
    """Register what this site needs beside the extensions."""
    app.connect("source-read", link_outside)
    app.connect("include-read", link_included)


def link_outside(app: Sphinx, page: str, source: list[str]) -> None:
    """Make links to Markdown outside this folder downloads; elsewhere they work as they stand."""
    folder = Path(app.srcdir, page).parent

    def written(link: re.Match[str]) -> str:
        inside = (folder / link[1]).resolve().is_relative_to(Path(app.srcdir).resolve())
        return link[0] if inside else f"](path:{link[1]})"

    source[0] = re.sub(r"\]\((\.\./[^)]+\.md)\)", written, source[0])


def link_included(app: Sphinx, file: Path, page: str, source: list[str]) -> None:
    """Turn links of an included file of the root, which start there, into links of a page here."""
    docs = Path(app.srcdir).resolve()

    def written(link: re.Match[str]) -> str:
        target = docs.parent / link[1]
        if not target.exists():
            return link[0]
        inside = target.is_relative_to(docs)
        return f"]({target.relative_to(docs).as_posix()}" if inside else f"](path:../{link[1]}"

    source[0] = re.sub(r"\]\(([^)#\s]+)", written, source[0])
