"""Small corpora, encoders and result files for the tests of experiments."""

from pathlib import Path
from typing import Any

import spacy
import torch
from transformers import AutoTokenizer, XLMRobertaConfig, XLMRobertaModel

from spacy_xner.corpus.conll import Sentence
from spacy_xner.corpus.docs import make_doc, write_docs
from spacy_xner.tags import TokenSpan

SENTENCES = [
    ("Maria Santos won in Lisbon .", [(0, 2, "PER"), (4, 5, "LOC")]),
    ("Nokia bought Toyota .", [(0, 1, "ORG"), (2, 3, "ORG")]),
    ("It rained all day .", []),
    ("She left Moscow in 1999 .", [(2, 3, "LOC")]),
]


def write_corpus(
    folder: Path, languages: list[str], source: str = "toy", copies: int = 1, splits: str = "train dev test"
) -> Path:
    """Write the same sentences as {lang}-{source}-{split}.spacy for every language."""
    vocab = spacy.blank("xx").vocab
    for language in languages:
        for split in splits.split():
            docs = []
            for text, spans in SENTENCES * copies:
                words = text.split()
                sentence = Sentence(words, [True] * len(words), [TokenSpan(*span) for span in spans])
                docs.append(make_doc(vocab, sentence, language))
            write_docs(docs, folder / f"{language}-{source}-{split}.spacy")
    return folder


def deepen(checkpoint: Path, folder: Path, n_layers: int, n_positions: int) -> Path:
    """Write the tiny transformer with the layers and the window of a real one, for presets that name them."""
    config = XLMRobertaConfig.from_pretrained(checkpoint)
    config.num_hidden_layers, config.max_position_embeddings = n_layers, n_positions
    torch.manual_seed(0)
    XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(folder)
    return folder


def make_result(kind: str, axes: dict[str, Any], **content: Any) -> dict[str, Any]:
    """A result file by hand."""
    settings = content.pop("settings", {})
    return {"experiment": "toy", "kind": kind, "axes": axes, "settings": settings, "inputs": {}, **content}
