"""What our web pages have in common: how their templates are filled in, and the one script that may run in each."""

from __future__ import annotations

import hashlib
from base64 import b64encode

import jinja2


def templates(package: str) -> jinja2.Environment:
    """The templates of a package. All that is filled in is escaped, and nothing may be missing."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package, package_path=""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def sha256_of(script: str) -> str:
    """How a page's Content-Security-Policy names a script that may run in it."""
    return f"sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}"
