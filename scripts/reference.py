"""Pages of reference: settings from docstrings, verbs from their options, errors from their texts."""

import configparser
import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from inspect import Parameter, getdoc, signature
from pathlib import Path
from typing import Any, NamedTuple

from spacy.language import Language

import spacy_xner
from spacy_xner.errors import Errors, Warnings
from spacy_xner.factories import DEFAULTS

from scripts.options import read_verbs
from scripts.prose import Docstring, describe_setting, describe_type, docstrings_of, split_docstring

PACKAGE = Path(spacy_xner.__file__).parent
NOTICE = "<!-- This page is written by `python scripts reference`; change the docstrings instead. -->"
# Groups of entry points on the page of what a training config names, with their titles.
TRAINING = {
    "readers": "Readers",
    "batchers": "Batchers",
    "misc": "Losses, objectives and detectors",
    "optimizers": "Optimizers",
    "schedules": "Schedules",
    "loggers": "Loggers",
    "scorers": "Scorers",
    "callbacks": "Callbacks",
    "tokenizers": "Tokenizers",
}
FAMILIES = {
    "XNER1": "Data",
    "XNER2": "Encoders",
    "XNER3": "Models and training",
    "XNER4": "Languages, clusters and the router",
    "XNER5": "Projection and reports",
    "XNER6": "Vectors and dictionaries",
    "XNER7": "Files and folders",
    "XNER8": "Experiments and the comparison of routes",
    "W": "Warnings",
}


class Entry(NamedTuple):
    """A registered name and its function. group: Without `spacy_` or `thinc_`."""

    group: str
    name: str
    function: Any


def read_entries(path: Path) -> list[Entry]:
    """All public names of a setup.cfg."""
    config = configparser.ConfigParser()
    config.read(path, encoding="utf-8")
    entries = []
    for group, lines in config["options.entry_points"].items():
        for line in filter(None, lines.splitlines()):
            name, _, target = line.partition(" = ")
            module, _, function = target.partition(":")
            entries.append(
                Entry(group.partition("_")[2], name, getattr(import_module(module), function, None))
            )
    return entries


def render_pages(root: Path) -> dict[str, str]:
    """All pages of reference of a checkout by their file names."""
    entries = read_entries(root / "setup.cfg")
    docstrings = docstrings_of(PACKAGE)
    return {
        "components.md": _page("Components", _components(entries, docstrings)),
        "architectures.md": _page("Architectures", _group(entries, "architectures", docstrings)),
        "training.md": _page("Training", _training(entries, docstrings)),
        "verbs.md": _page("Verbs", _verbs()),
        "errors.md": _page("Errors", _errors()),
    }


def _page(title: str, lines: Iterator[str]) -> str:
    return "\n".join([f"# {title}", "", NOTICE, "", *lines]).rstrip() + "\n"


def _components(entries: list[Entry], docstrings: dict[str, str]) -> Iterator[str]:
    yield "A component is added by `nlp.add_pipe(NAME, config={...})`, or by `factory` in a config."
    yield ""
    # A Language reads the factories when it is made.
    Language()
    for entry in entries:
        if entry.group != "factories":
            continue
        meta = Language.get_factory_meta(entry.name)
        [class_name] = re.findall(r"see `(\w+)`", getdoc(entry.function) or "")
        parts = split_docstring(docstrings[class_name])
        yield from [f"## {entry.name}", "", *_prose(parts)]
        for label, names in (("It reads", meta.requires), ("It writes", meta.assigns)):
            if names:
                yield f"{label} {', '.join(f'`{name}`' for name in sorted(names))}."
        defaults = dict(meta.default_config)
        parameters = [p for p in _parameters(entry.function) if p.name not in ("nlp", "name")]
        rows = [
            (p.name, describe_type(p.annotation), _default(defaults.get(p.name)),
             describe_setting(p.name, docstrings[class_name], docstrings))
            for p in parameters
        ]  # fmt: skip
        yield from ["", *_table(("setting", "value", "default", "meaning"), rows), ""]
    yield from _model_defaults()


def _model_defaults() -> Iterator[str]:
    yield from ["## Default models", "", "What a component has where its config names no model:", ""]
    for factory, name in (
        ("transformer_ner", "tagger"),
        ("language_identifier", "identifier"),
        ("entity_projector", "projector"),
    ):
        model = DEFAULTS[name]["model"]
        part = next(key for key in ("tok2vec", "sent2vec") if key in model)
        encoder = model[part]["@architectures"]
        yield f"- `{factory}`: `{model['@architectures']}` on `{encoder}`"
    bilstm = DEFAULTS["bilstm"]
    yield f"- `bilstm_crf_ner`: `{bilstm['@architectures']}` on `{bilstm['tok2vec']['@architectures']}`"


def _group(entries: list[Entry], group: str, docstrings: dict[str, str]) -> Iterator[str]:
    for entry in entries:
        if entry.group == group and entry.function is not None:
            parts = split_docstring(getdoc(entry.function) or "")
            yield from [f"## {entry.name}", "", *_prose(parts)]
            rows = [
                (p.name, describe_type(p.annotation), _default(p.default),
                 describe_setting(p.name, getdoc(entry.function) or "", docstrings))
                for p in _parameters(entry.function)
            ]  # fmt: skip
            if rows:
                yield from ["", *_table(("setting", "value", "default", "meaning"), rows)]
            yield ""


def _training(entries: list[Entry], docstrings: dict[str, str]) -> Iterator[str]:
    for group, title in TRAINING.items():
        where = {"optimizers": "thinc", "schedules": "thinc"}.get(group, "spaCy")
        yield from [f"The section [{title}](#{slug(title)}) is {where}'s registry `{group}`.", ""]
    for group, title in TRAINING.items():
        yield from [f"## {title}", ""]
        for line in _group(entries, group, docstrings):
            yield f"#{line}" if line.startswith("## ") else line


def _verbs() -> Iterator[str]:
    yield "A verb is called as `python -m spacy xner VERB`, and `--help` behind it prints what stands here."
    yield ""
    for verb in read_verbs():
        text, _, example = (getdoc(verb.function) or "").partition("EXAMPLE:")
        yield from [f"## {verb.name}", "", " ".join(text.split()), ""]
        rows = [(option.shown, option.default, option.meaning) for option in verb.options]
        yield from [*_table(("option", "default", "meaning"), rows), ""]
        if verb.takes_settings:
            yield from ["Further options such as `--paths.corpus FOLDER` override the config.", ""]
        if example:
            yield from ["```bash", " ".join(example.split()), "```", ""]


def _errors() -> Iterator[str]:
    yield "Every error of the package is an `XnerError`, a kind of `ValueError`, and starts with its code."
    yield "A word in italics is filled in where the error is raised."
    yield ""
    texts = {code: text for table in (Errors, Warnings) for code, text in vars(table).items()
             if not code.startswith("_") and isinstance(text, str)}  # fmt: skip
    sources = {path: path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
    for start, title in FAMILIES.items():
        yield from [f"## {title}", ""]
        for code, text in texts.items():
            if code.startswith(start):
                yield from _error(code, text, sources)


def _error(code: str, text: str, sources: dict[Path, str]) -> Iterator[str]:
    name = f"Errors.{code}" if code.startswith("XNER") else f"Warnings.{code}"
    files = [path for path, source in sources.items() if re.search(rf"{name}\b", source)]
    message = text.partition("] ")[2]
    cause, cure = split_message(message)
    yield from [f"### {'XNER-' if code.startswith('W') else ''}{code}", "", _fill(cause), ""]
    if cure:
        yield from [f"What to do: {_fill(cure)}", ""]
    if files:
        where = ", ".join(f"`spacy_xner/{path.relative_to(PACKAGE).as_posix()}`" for path in files)
        yield from [f"Raised in {where}.", ""]
    else:
        yield from ["Raised in `scripts/`, by a command of a checkout.", ""]


def split_message(message: str) -> tuple[str, str]:
    """Cut a message behind its first sentence: the cause, and what to do."""
    cause, *rest = re.split(r"(?<=[.?!)]) (?=[A-Z`])", message, maxsplit=1)
    return cause, "".join(rest)


def _fill(text: str) -> str:
    text = re.sub(r"'?\{(\w+)[^}]*\}'?", lambda match: f"*{match[1].replace('_', ' ')}*", text)
    return text.replace("<", "&lt;").replace("](", "]\\(")


def _parameters(function: Any) -> list[Parameter]:
    return list(signature(function).parameters.values())


def _default(value: Any) -> str:
    if value is Parameter.empty:
        return "needed"
    if isinstance(value, dict) and value:
        return "a block; see below" if "@architectures" in value else f"`{next(iter(value.values()))}`"
    if isinstance(value, bool) or value is None:
        return {True: "`true`", False: "`false`", None: "`null`"}[value]
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def _prose(parts: Docstring) -> list[str]:
    return [*parts.prose, *([f"Source: {parts.source}"] if parts.source else [])]


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [header, ("---",) * len(header), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]


def slug(title: str) -> str:
    """The anchor that Markdown pages give a title."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
