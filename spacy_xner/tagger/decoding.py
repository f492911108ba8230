"""From tag scores to the entities of a batch of documents and their probabilities."""

from itertools import accumulate
from typing import NamedTuple

import torch
from spacy.tokens import Doc
from thinc.types import Floats2d

from spacy_xner.attributes import without_outer_space
from spacy_xner.tagger.model import to_flat_torch
from spacy_xner.tagger.network import Head
from spacy_xner.tags import TokenSpan


class Prediction(NamedTuple):
    """Entities of one document and, if asked for, their probabilities. Units: tokens."""

    spans: list[TokenSpan]
    probabilities: list[float] | None


def decode(docs: list[Doc], emissions: list[Floats2d], head: Head, *, confidence: bool) -> list[Prediction]:
    """Find the entities of a batch of documents.

    emissions: Tag scores. Shape: (n_tokens, n_tags) a document.
    head: The network that decides by them.
    confidence: Compute the probabilities.
    """
    sizes = [len(doc) for doc in docs]
    with torch.inference_mode():
        flat = to_flat_torch(emissions)
        lengths = torch.tensor(sizes, device=flat.device)
        tags = head.best_tags(flat, lengths)
        spans = head.tag_set.decode(tags.cpu().numpy(), sizes)
        spans = [without_outer_space(doc, group) for doc, group in zip(docs, spans, strict=True)]
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
