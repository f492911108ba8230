"""HTML pages that fetch nothing and run nothing: templates, and texts with their entities.

All that comes from outside is escaped: texts, labels, languages, names. Only `Markup` is taken as it is, and
each function that returns `Markup` escapes its arguments.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from spacy import displacy

Direction = Literal["ltr", "rtl"]
COLORS = {"PER": "#ffd8a8", "ORG": "#b2f2bb", "LOC": "#a5d8ff", "MISC": "#e5dbff"}
# Languages whose usual script is Arabic, Hebrew, N'Ko, Syriac or Thaana (Unicode CLDR, likely subtags).
RIGHT_TO_LEFT = {
    "ar", "arc", "ary", "arz", "azb", "bal", "bgn", "bqi", "ckb", "dv", "fa", "glk", "he", "khw", "ks",
    "lki", "lrc", "luz", "mzn", "nqo", "pnb", "ps", "sd", "sdh", "skr", "syr", "ug", "ur", "yi",
}  # fmt: skip
# displaCy's templates have no isolation: a label such as "1 PER 0.92" would be turned around in Hebrew.
ENTITY = '<mark class="entity" style="background: {bg}">{text} <bdi dir="ltr">{label}</bdi></mark>'
TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, folder: Path = TEMPLATES, **values: Any) -> Markup:
    """Fill a template; values that are no `Markup` are escaped.

    folder: Folder of the template; those of the package can be included from any.
    """
    environment = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]), autoescape=True, undefined=StrictUndefined
    )
    environment.filters.update(percent=percent, thousands="{:,}".format)
    return Markup(environment.get_template(template).render(**values))


def percent(value: float | None) -> str:
    """Write a share as a percentage with one decimal; a dash for None."""
    return "–" if value is None else f"{100 * value:.1f}"


def direction(text: str, language: str | None = None) -> Direction:
    """Say in which direction a text is written.

    A language with a right-to-left script decides; otherwise the majority of the letters does.
    """
    if (language or "").replace("_", "-").partition("-")[0] in RIGHT_TO_LEFT:
        return "rtl"
    kinds = [unicodedata.bidirectional(character) for character in text]
    n_right = kinds.count("R") + kinds.count("AL")
    return "rtl" if n_right > kinds.count("L") else "ltr"


def draw_entities(text: str, ents: Iterable[Mapping[str, Any]], language: str | None = None) -> Markup:
    """Draw a text with its entities by displaCy.

    ents: `start`, `end` (characters) and `label` of each; one that overlaps an earlier one is left out.
    """
    drawn: list[dict[str, Any]] = []
    for ent in sorted(ents, key=lambda ent: (ent["start"], ent["end"])):
        # displaCy would draw the text of overlapping entities twice.
        if not drawn or drawn[-1]["end"] <= ent["start"]:
            # displaCy escapes texts and nothing else. Further keys, such as links, are not passed on.
            label = str(escape(ent["label"]))
            drawn.append({"start": int(ent["start"]), "end": int(ent["end"]), "label": label})
    written = direction(text, language)
    options = {"colors": COLORS, "template": ENTITY}
    content = {"text": text, "ents": drawn, "settings": {"direction": written}}
    return Markup(displacy.render(content, style="ent", manual=True, jupyter=False, options=options))
