"""A tiny real transformer, made from its config and a small vocabulary: no hub, no wheel."""

from pathlib import Path
from typing import Any

import spacy
import torch
from spacy.language import Language
from spacy.training import Example
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

from spacy_xner.tokenizer import create_multilingual_tokenizer

SENTENCES = [
    ("Maria Santos won the race in Lisbon.", [(0, 12, "PER"), (29, 35, "LOC")], "en"),
    ("Toyota bought Nokia.", [(0, 6, "ORG"), (14, 19, "ORG")], "en"),
    ("Ана уехала в Москву", [(0, 3, "PER"), (13, 19, "LOC")], "ru"),
    ("联合国在东京开会", [(0, 3, "ORG"), (4, 6, "LOC")], "zh"),
    ("It rained all day.", [], "en"),
]
N_LAYERS = 2
WIDTH = 16


def make_checkpoint(folder: Path) -> Path:
    """Write a two-layer XLM-R with random weights and a unigram vocabulary of characters."""
    torch.manual_seed(0)
    letters = sorted({c for text, _, _ in SENTENCES for c in text if c != " "})
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "\u2581", *letters, "in", "\u2581the", "<mask>"]
    tokenizer = Tokenizer(models.Unigram([(piece, -float(len(piece) == 1)) for piece in pieces], unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
    ).save_pretrained(folder)
    config = XLMRobertaConfig(
        vocab_size=len(pieces),
        hidden_size=WIDTH,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=200,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def make_nlp(checkpoint: Path, config: dict[str, Any] | None = None, **tok2vec: Any) -> Language:
    """Build a pipeline with a tagger on the tiny transformer."""
    nlp = spacy.blank("xx")
    nlp.tokenizer = create_multilingual_tokenizer()(nlp)
    encoder = {
        "@architectures": "spacy_xner.TransformerEncoder.v1",
        "name": str(checkpoint),
        "overlap": 8,
        "n_frozen_layers": -1,
        **tok2vec,
    }
    settings = {"model": {"tok2vec": encoder}, **(config or {})}
    if config and "model" in config:
        settings["model"] = {"tok2vec": encoder, **config["model"]}
    nlp.add_pipe("transformer_ner", name="ner", config=settings)
    return nlp


def make_examples(nlp: Language, *, known_language: bool = True) -> list[Example]:
    """Turn the sentences into examples with their languages."""
    examples = []
    for text, entities, language in SENTENCES:
        example = Example.from_dict(nlp.make_doc(text), {"entities": entities})
        example.reference._.language = language
        if known_language:
            example.predicted._.language = language
        examples.append(example)
    return examples


def train(nlp: Language, n_steps: int = 60, rate: float = 0.02) -> list[float]:
    """Fit the entities of the sentences. RETURNS: Losses."""
    return _fit(nlp, make_examples(nlp), "ner", n_steps, rate)


def train_identifier(nlp: Language, n_steps: int = 40, rate: float = 0.02) -> list[float]:
    """Fit the languages of the sentences. RETURNS: Losses."""
    return _fit(nlp, make_examples(nlp, known_language=False), "language_identifier", n_steps, rate)


def _fit(nlp: Language, examples: list[Example], name: str, n_steps: int, rate: float) -> list[float]:
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = rate
    losses = []
    for _ in range(n_steps):
        step: dict[str, float] = {}
        nlp.update(examples, sgd=optimizer, losses=step, drop=0.0)
        losses.append(step[name])
    return losses


def make_identifier(checkpoint: Path, config: dict[str, Any] | None = None, **sent2vec: Any) -> Language:
    """Build a pipeline with a language identifier on the tiny transformer."""
    nlp = spacy.blank("xx", config={"nlp": {"tokenizer": {"@tokenizers": TOKENIZER}}})
    encoder = {
        "@architectures": "spacy_xner.SentenceEncoder.v1",
        "name": str(checkpoint),
        "overlap": 8,
        **sent2vec,
    }
    nlp.add_pipe("language_identifier", config={"model": {"sent2vec": encoder}, **(config or {})})
    return nlp


TOKENIZER = "spacy_xner.MultilingualTokenizer.v1"
CRF_HEAD = {"@architectures": "spacy_xner.CrfHead.v1"}
