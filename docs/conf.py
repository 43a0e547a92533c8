"""Settings of the documentation site (Sphinx); ``make docs`` builds it, with warnings as errors."""

import re

from sphinx.application import Sphinx

from raykd import __version__

project = "raykd"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = f"raykd {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["schema"]
html_copy_source = False
html_show_copyright = False
myst_heading_anchors = 4

default_role = "literal"
"""Single backticks of a docstring are code."""
add_module_names = False
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100


def rewrite_links(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Show links such as ``[data.md](data.md)`` by the title of their page or section, files outside the site by their path."""
    source[0] = re.sub(r"\[\w+\.md\]\(", "[](", source[0])
    source[0] = re.sub(r"\[[^\]]+\]\(\.\./([^)]+)\)", r"`\1`", source[0])


def setup(app: Sphinx) -> None:
    """Register the change of links, which Sphinx calls for every page."""
    app.connect("source-read", rewrite_links)
