"""From tag scores to the entities of a batch of documents and their probabilities."""

from itertools import accumulate
from typing import NamedTuple

import torch
from spacy.tokens import Doc
from thinc.types import Floats2d

from spacy_xner.attributes import has_word, is_visible, without_outer_space
from spacy_xner.tagger.model import to_flat_torch
from spacy_xner.tagger.network import Head
from spacy_xner.tags import TokenSpan


class Prediction(NamedTuple):
    """Entities of one document and, if asked for, their probabilities. Units: tokens."""

    spans: list[TokenSpan]
    probabilities: list[float] | None


def decode(
    docs: list[Doc], emissions: list[Floats2d], head: Head, *, confidence: bool, symbols: bool
) -> list[Prediction]:
    """Find the entities of a batch of documents.

    emissions: Tag scores. Shape: (n_tokens, n_tags) a document.
    head: The network that decides by them.
    confidence: Compute the probabilities.
    symbols: Give out entities without any letter or digit too, if there is anything to see of them.
    """
    sizes = [len(doc) for doc in docs]
    with torch.inference_mode():
        flat = to_flat_torch(emissions, head.device)
        lengths = torch.tensor(sizes, device=flat.device)
        tags = head.best_tags(flat, lengths)
        spans = head.tag_set.decode(tags.cpu().numpy(), sizes)
        spans = [_readable(doc, group, symbols) for doc, group in zip(docs, spans, strict=True)]
        if not confidence:
            return [Prediction(group, None) for group in spans]
        places = [
            (offset + span.start, offset + span.end)
            for offset, group in zip(accumulate(sizes, initial=0), spans, strict=False)
            for span in group
        ]
        rows: list[float] = []
        if places:
            places_t = torch.tensor(places, device=flat.device)
            rows = head.span_probabilities(flat, lengths, tags, places_t).clamp(0.0, 1.0).tolist()
    probabilities = iter(rows)
    return [Prediction(group, [next(probabilities) for _ in group]) for group in spans]


def _readable(doc: Doc, spans: list[TokenSpan], symbols: bool) -> list[TokenSpan]:
    """Leave out spans that nobody would read as a name."""
    is_name = is_visible if symbols else has_word
    return [span for span in without_outer_space(doc, spans) if is_name(doc[span.start : span.end].text)]
