"""Other segmentations of the same text, drawn by the probabilities of a unigram vocabulary.

SOURCE: Kudo 2018, https://arxiv.org/abs/1804.10959, section 3.3, with all segmentations in the place of the
best ones (forward filtering, backward sampling).
"""

import json
import math
from collections.abc import Iterator, Sequence
from random import Random

import numpy

from spacy_xner.errors import Errors, XnerError
from spacy_xner.transformer.wordpieces import Pieces

SPACE = "\u2581"
# Longer stretches between spaces stay as they are; longer pieces are not drawn.
MAX_WORD, MAX_PIECE = 40, 16


class Sampler:
    """Draws segmentations of words.

    tokenizer_json: The tokenizer as it is stored; a unigram vocabulary.
    ratio: Share of the words that are cut anew.
    alpha: The probabilities of pieces are raised to this power: 0 draws evenly from all segmentations.
    RAISES: XNER656 for a vocabulary of another kind.
    """

    def __init__(self, tokenizer_json: str, ratio: float, alpha: float, seed: int = 0) -> None:
        model = json.loads(tokenizer_json).get("model", {})
        if model.get("type") != "Unigram":
            raise XnerError(Errors.XNER656.format(kind=model.get("type")))
        self._ids = {piece: i for i, (piece, _) in enumerate(model["vocab"])}
        self._scores = [alpha * score for _, score in model["vocab"]]
        self._pieces = [piece for piece, _ in model["vocab"]]
        self._unknown = model.get("unk_id")
        self.ratio = ratio
        self._random = Random(seed)

    def __call__(self, pieces: Pieces) -> Pieces:
        """Cut some words of a text anew; all others keep their pieces."""
        ids: list[int] = []
        starts: list[int] = []
        ends: list[int] = []
        for word in self._words(pieces.ids.tolist()):
            rows = list(zip(*(column[word].tolist() for column in pieces), strict=True))
            if self._random.random() < self.ratio:
                rows = self._cut(rows)
            for row, column in zip(zip(*rows, strict=True), (ids, starts, ends), strict=True):
                column.extend(row)
        return Pieces(*(numpy.array(column, dtype="int64") for column in (ids, starts, ends)))

    def _words(self, ids: list[int]) -> Iterator[slice]:
        """Cut a text's pieces before every space mark."""
        first = 0
        for i in range(1, len(ids) + 1):
            if i == len(ids) or self._text(ids[i]).startswith(SPACE):
                yield slice(first, i)
                first = i

    def _text(self, id_: int) -> str:
        return self._pieces[id_] if id_ < len(self._pieces) else ""

    def _cut(self, rows: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
        """Draw the pieces of a word. rows: Id, start and end of every piece.

        A word stays as it is if its pieces are not its characters one by one: unknown or normalised ones.
        """
        word = "".join(self._text(id_) for id_, _, _ in rows)
        places = _places(word, rows[0][1], rows[-1][2])
        if places is None or len(word) > MAX_WORD or any(id_ == self._unknown for id_, _, _ in rows):
            return rows
        cuts = self._draw(word)
        return [
            (self._ids[word[i:j]], places[i][0], places[j - 1][1])
            for i, j in zip([0, *cuts], cuts, strict=False)
        ] or rows

    def _draw(self, word: str) -> list[int]:
        """Draw a segmentation. RETURNS: The ends of its pieces; nothing if there is none."""
        # Sums over all segmentations of the first characters, in nats.
        sums = [0.0] + [-math.inf] * len(word)
        ways: list[list[tuple[int, float]]] = [[] for _ in range(len(word) + 1)]
        for end in range(1, len(word) + 1):
            for start in range(max(0, end - MAX_PIECE), end):
                id_ = self._ids.get(word[start:end])
                if id_ is not None and id_ != self._unknown and sums[start] > -math.inf:
                    ways[end].append((start, sums[start] + self._scores[id_]))
            if ways[end]:
                highest = max(score for _, score in ways[end])
                total = sum(math.exp(score - highest) for _, score in ways[end])
                sums[end] = highest + math.log(total)
        if sums[-1] == -math.inf:
            return []
        cuts = [len(word)]
        while cuts[-1]:
            options = ways[cuts[-1]]
            chances = [math.exp(score - sums[cuts[-1]]) for _, score in options]
            cuts.append(self._random.choices([start for start, _ in options], chances)[0])
        return cuts[-2::-1]


def _places(word: str, start: int, end: int) -> list[tuple[int, int]] | None:
    """Find the characters of the text that a word's own characters stand for.

    The space mark stands for a space, or for nothing at the start of a text.
    RETURNS: Start and end of every character; None if there are not as many in the text.
    """
    n_marks = int(word.startswith(SPACE))
    if end - start == len(word):
        return [(start + i, start + i + 1) for i in range(len(word))]
    if n_marks and end - start == len(word) - 1:
        return [(start, start), *((start + i, start + i + 1) for i in range(len(word) - 1))]
    return None


def resegment(pieces: Sequence[Pieces], sampler: Sampler | None) -> list[Pieces]:
    """Cut the texts of a batch anew, if there is a sampler."""
    return list(pieces) if sampler is None else [sampler(text) if len(text.ids) else text for text in pieces]
