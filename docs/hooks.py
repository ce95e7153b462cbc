"""What MkDocs asks of us: files that pages link to outside docs/ come along, each command says its `--help`, and the
reference shows examples as code and what a comment says of a field."""

import argparse
import os
import re
from pathlib import Path

from griffe import Attribute, Docstring, Extension, Module, Object
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from sleepmami_jax.cli import COMMANDS, make_parser

OUTSIDE = re.compile(r"(\]\(|href=\")\.\./(?=[\w.-]+/)([^)#\"\s]+)")
"""A link from a page of docs/ to a file of the repository: the number behind a sentence, a test, an experiment."""
ALONG = "repository"
FENCE = "```pycon"
EXAMPLE = re.compile(r"^>>> .*(?:\n.+)*", re.M)
COMMENT = re.compile(r"  # (?!noqa|type:)(.*?)(?:  # type:.*)?$")


class Docstrings(Extension):
    """Ours as mkdocstrings wants them."""

    def on_object(self, *, obj: Object, **_: object) -> None:
        """To Markdown `>>>` is a quotation of a quotation of a quotation."""
        if obj.docstring and FENCE not in obj.docstring.value:
            obj.docstring.value = EXAMPLE.sub(rf"{FENCE}\n\g<0>\n```", obj.docstring.value)

    def on_package(self, *, pkg: Module, **_: object) -> None:
        """griffe does not call it an object."""
        self.on_object(obj=pkg)

    def on_attribute(self, *, attr: Attribute, **_: object) -> None:
        """A field's comment is what there is to say of it."""
        comments = [found[1] for line in attr.lines if (found := COMMENT.search(line))]
        if comments and not attr.docstring:
            attr.docstring = Docstring(" ".join(comments), parent=attr)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds each file that a page links to, under `ALONG`."""
    docs = Path(config.docs_dir)
    for page in [file for file in files.documentation_pages() if "/" not in file.src_uri]:
        for _, path in OUTSIDE.findall(page.content_string):
            uri = f"{ALONG}/{path}"
            if files.get_file_from_path(uri) is None and (docs.parent / path).is_file():
                files.append(File.generated(config, uri, abs_src_path=str(docs.parent / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links to where those files lie in the site; the page of commands is what they say themselves."""
    if page.file.src_uri == "reference/commands.md":
        return f"{markdown}\n{commands()}"
    return OUTSIDE.sub(rf"\g<1>{ALONG}/\g<2>", markdown) if "/" not in page.file.src_uri else markdown


def commands() -> str:
    """The `--help` of every command, in Markdown."""
    os.environ["COLUMNS"] = "100"
    (of_all,) = (a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return "\n".join(f"## sleepmami {name}\n\n```text\n{of_all.choices[name].format_help()}```\n" for name in COMMANDS)
