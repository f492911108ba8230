"""Names of corpus files, `{lang}-{source}-{split}.spacy`: find the files of languages and sources."""

from collections.abc import Sequence
from pathlib import Path

from spacy_xner.errors import Errors, XnerError


def file_language(name: str) -> str:
    """A language as it stands in file names, where a hyphen ends it: zh_yue of zh-yue."""
    return name.replace("-", "_")


def file_source(path: Path) -> str:
    """The corpus of a file by its name; empty for a file of another name."""
    return path.stem.partition("-")[2].rpartition("-")[0]


def find_files(
    path: Path, split: str | None, languages: Sequence[str], sources: Sequence[str] = ()
) -> dict[str, list[Path]]:
    """Find the corpus files of every language.

    sources: All by default, but for what is made of another one there: en-news.fi-train has en-news-train in
        Finnish words, and is read where it is named.
    RAISES: XNER106 if a language has none, or if there are none at all.
    """
    if path.is_file():
        return {path.name.split("-")[0]: [path]}
    pattern = f"*-{split}.spacy" if split else "*.spacy"
    files: dict[str, list[Path]] = {}
    for path_of_file in sorted(path.glob(pattern)):
        language = path_of_file.stem.partition("-")[0]
        if file_source(path_of_file) in sources if sources else not _is_derived(path_of_file):
            files.setdefault(language, []).append(path_of_file)
    missing = [lang for lang in languages if lang not in files]
    if missing or not files:
        names = ", ".join(p.name for group in files.values() for p in group) or "none"
        raise XnerError(
            Errors.XNER106.format(pattern=path / pattern, missing=", ".join(missing) or "any", found=names)
        )
    return {lang: files[lang] for lang in (languages or files)}


def _is_derived(path: Path) -> bool:
    """True for a corpus beside the one that it is made of."""
    name, _, split = path.stem.rpartition("-")
    base, dot, _ = name.rpartition(".")
    return bool(dot) and path.with_name(f"{base}-{split}.spacy").exists()
