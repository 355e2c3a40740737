"""How Sphinx builds these pages: `make docs`, and `make linkcheck` for the links that leave them."""

import logging

import tsfast

# A pattern of a table of contents may find nothing. (suppress_warnings does not know warnings without a type.)
logging.getLogger("sphinx.sphinx.directives.other").addFilter(lambda line: line.subtype != "empty_glob")

project = "tsfast"
author = "the tsfast authors"
release = version = tsfast.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

myst_heading_anchors = 4  # as on GitHub: a test looks whether what links to them is right
highlight_language = "none"

default_role = "literal"  # docstrings have one backquote where Markdown has one
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {name: name for name in ("Ids", "JobLike", "Word")}
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"tsfast {release}"
html_copy_source = False

linkcheck_anchors = False  # of other people's pages
