"""A picture of entities with their probabilities: an SVG of sentences of the bundled sample."""

import unicodedata
from html import escape
from pathlib import Path
from typing import NamedTuple

from spacy.language import Language
from spacy.tokens import Doc

from spacy_xner.corpus.docs import read_docs

COLOURS = {"PER": "#f4c7d7", "LOC": "#c6e5c3", "ORG": "#c5d9f2"}
SIZE, SMALL, LINE, MARGIN = 17, 10, 44, 18
FONT = "Noto Sans, Noto Sans CJK SC, Noto Sans Arabic, DejaVu Sans, Arial, sans-serif"


class Piece(NamedTuple):
    """A part of a sentence. note: Label and probability; nothing for text between entities."""

    text: str
    label: str
    note: str


def choose_sentences(
    corpus: Path, nlp: Language, languages: list[str], longest: int
) -> list[tuple[str, Doc]]:
    """The first test sentence of each language that is short and has two entities of different labels."""
    chosen = []
    for language in languages:
        docs = read_docs(corpus / f"{language}-sample-test.spacy").get_docs(nlp.vocab)
        texts = [doc.text for doc in docs if len({ent.label_ for ent in doc.ents}) > 1]
        text = next(text for text in texts if len(text) <= longest)
        chosen.append((language, nlp(text)))
    return chosen


def pieces_of(doc: Doc) -> list[Piece]:
    """Cut a document into entities and what is between them."""
    pieces, end = [], 0
    for ent in doc.ents:
        pieces.append(Piece(doc.text[end : ent.start_char], "", ""))
        pieces.append(Piece(ent.text, ent.label_, f"{ent.label_} {ent._.score:.2f}"))
        end = ent.end_char
    pieces.append(Piece(doc.text[end:], "", ""))
    return [piece for piece in pieces if piece.text]


def draw(sentences: list[tuple[str, Doc]], title: str) -> str:
    """Draw sentences one below the other. RETURNS: SVG."""
    lines, widest = [], 0.0
    for row, (language, doc) in enumerate(sentences):
        x, y = MARGIN + 36.0, MARGIN + 22 + row * LINE
        lines.append(f'<text x="{MARGIN}" y="{y}" class="language">{escape(language)}</text>')
        pieces = pieces_of(doc)
        # Words of right-to-left text follow one another from right to left.
        for piece in reversed(pieces) if is_leftward(doc.text) else pieces:
            width = max(width_of(piece.text, SIZE), width_of(piece.note, SMALL) if piece.note else 0)
            lines += draw_piece(piece, x, y, width)
            x += width + (14 if piece.label else 4)
        widest = max(widest, x)
    width, height = round(widest + MARGIN), MARGIN * 2 + LINE * len(sentences)
    style = (
        f"text{{font-family:{FONT};font-size:{SIZE}px;fill:#222}}"
        f".note{{font-size:{SMALL}px;fill:#555}}.language{{fill:#888;font-size:13px}}"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{style}</style>",
            f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>',
            *lines,
            "</svg>",
            "",
        ]
    )


def draw_piece(piece: Piece, x: float, y: float, width: float) -> list[str]:
    """Draw a piece; an entity has a box, with its label and probability below."""
    lines = []
    if piece.label:
        colour = COLOURS.get(piece.label, "#e5e0f0")
        box = f'x="{x:.1f}" y="{y - 20:.1f}" width="{width + 8:.1f}" height="38" rx="5"'
        lines.append(f'<rect {box} fill="{colour}"/>')
        lines.append(f'<text x="{x + 4:.1f}" y="{y + 13:.1f}" class="note">{escape(piece.note)}</text>')
        x += 4
    # The width is an estimate, which the viewer's font is fitted to.
    length = f'textLength="{width_of(piece.text.strip(), SIZE):.1f}" lengthAdjust="spacingAndGlyphs"'
    start = x + (width_of(" ", SIZE) if piece.text.startswith(" ") else 0)
    lines.append(f'<text x="{start:.1f}" y="{y:.1f}" {length}>{escape(piece.text.strip())}</text>')
    return lines


def width_of(text: str, size: float) -> float:
    """Estimate the width of a text. RETURNS: Pixels."""
    return sum(_width(character) for character in text) * size


def _width(character: str) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    if unicodedata.category(character) == "Mn":
        return 0.0
    if character in "iljI.,:;'|! ":
        return 0.29
    return 0.85 if character in "mwMW" else 0.67 if character.isupper() else 0.55


def is_leftward(text: str) -> bool:
    """True for text that is written from right to left."""
    return any(unicodedata.bidirectional(character) in ("R", "AL") for character in text)
