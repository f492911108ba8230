"""Thinc wiring of the language identifier: a sentence encoder and a softmax layer."""

from typing import TypeAlias

from spacy.tokens import Doc
from thinc.api import Dropout, Model, Softmax, chain
from thinc.types import Floats2d

from spacy_xner.transformer.model import SentenceEncoder

# From documents to one probability a language.
LanguageClassifier: TypeAlias = Model[list[Doc], Floats2d]


def build_language_classifier(sent2vec: SentenceEncoder) -> LanguageClassifier:
    """Build a classifier on the vector of a text. Dropout on that vector is that of `[training]`.

    sent2vec: Text vectors. Shape: (n_docs, width).
    RETURNS: Probabilities. Shape: (n_docs, n_languages).
    SOURCE: Shaffer 2021, section 3: the first token's vector into the classification layer.
    """
    output: Model[Floats2d, Floats2d] = Softmax()
    model: LanguageClassifier = chain(sent2vec, Dropout(), output)
    model.set_ref("sent2vec", sent2vec)
    model.set_ref("output", output)
    return model
