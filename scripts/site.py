"""The hook of the site: pages outside of docs/ are taken along, and links lead to where pages are there.

In the checkout a link is relative to its page, as GitHub and editors follow it. A link to a file that is not
a page of the site becomes its text. A notebook becomes a page with its cells and what they print.
"""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Patterns of files outside of docs/, which the site has too.
OUTSIDE = (
    "PROJECT.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "THIRD_PARTY.md",
    "SECURITY.md",
    "papers/*/README.md",
    "recipes/*/README.md",
    "papers/*/figures/**/*.svg",
)
LINK = re.compile(r"(?P<mark>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def places() -> dict[str, str]:
    """Where files of the repository are on the site. Units: paths from the root of each."""
    files = {path.relative_to(ROOT).as_posix() for pattern in OUTSIDE for path in ROOT.glob(pattern)}
    outside = {file: re.sub(r"((?:papers|recipes)/\w+)/README", r"\1", file) for file in files}
    outside = {file: place.lower() if "/" not in file else place for file, place in outside.items()}
    docs = (ROOT / "docs").rglob("*")
    return outside | {
        path.relative_to(ROOT).as_posix(): page_of_notebook(path.relative_to(ROOT / "docs").as_posix())
        for path in docs
        if path.is_file()
    }


def page_of_notebook(file: str) -> str:
    """Where a file of docs/ is on the site: a notebook is a page, all others stay where they are."""
    return re.sub(r"\.ipynb$", ".md", file)


def follow_links(markdown: str, source: str, where: dict[str, str]) -> str:
    """Write the links of a page as the site needs them.

    source: The page in the repository. where: See `places`.
    """

    def follow(match: re.Match[str]) -> str:
        target, hash_sign, anchor = match["target"].partition("#")
        if not target or ":" in target:
            return match[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if file not in where:
            return match["text"]
        link = posixpath.relpath(where[file], posixpath.dirname(where[source]) or ".")
        return f"{match['mark']}[{match['text']}]({link}{hash_sign}{anchor})"

    return LINK.sub(follow, markdown)


def notebook_page(notebook: dict[str, Any]) -> str:
    """Write a notebook as Markdown: texts as they are, code and what it prints as blocks."""
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        parts.append(f"```python\n{text}\n```")
        printed = "".join("".join(output.get("text", "")) for output in cell["outputs"])
        if printed:
            parts.append(f"```text\n{printed.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def on_files(files: Any, config: Any) -> Any:
    """Add the pages outside of docs/, and the notebooks as pages. mkdocs calls it by this name."""
    from mkdocs.structure.files import File

    for path in sorted((ROOT / "docs").rglob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        place = page_of_notebook(path.relative_to(ROOT / "docs").as_posix())
        files.append(File.generated(config, place, content=notebook_page(notebook)))

    for file, place in sorted(places().items()):
        if not file.startswith("docs/"):
            files.append(File.generated(config, place, abs_src_path=str(ROOT / file)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Follow the links of a page. mkdocs calls it by this name."""
    where = places()
    [source] = [file for file, place in where.items() if place == page.file.src_uri]
    return follow_links(markdown, source, where)
