"""A tiny real transformer, made from its config and a small vocabulary: no hub, no wheel."""

from pathlib import Path
from typing import Any

import numpy
import spacy
import torch
from safetensors.torch import load_file
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vectors import Vectors
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
TEXTS = [text for text, _, _ in SENTENCES]
GROUPING = {"name": "two", "clusters": {"asian": ["zh"], "european": ["en", "ru"]}}
TOKENIZER = "spacy_xner.MultilingualTokenizer.v1"
CRF_HEAD = {"@architectures": "spacy_xner.CrfHead.v1"}
SMALL_BILSTM = {"character_width": 8, "character_hidden": 8, "word_hidden": 8, "n_characters": 256}
# Windows that overlap, and the high learning rates that a tiny network needs.
TINY: dict[str, Any] = {"overlap": 8, "max_learn_rate": None}
N_LAYERS = 2
WIDTH = 16
# Random weights that were drawn once: every version of transformers draws others from the same seed.
WEIGHTS = Path(__file__).parent / "fixtures" / "golden" / "tiny.safetensors"


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
    torch.manual_seed(0)
    model = XLMRobertaModel(config, add_pooling_layer=False)
    weights = load_file(WEIGHTS)
    # Tests that set another width get the weights of the seed.
    if weights["embeddings.LayerNorm.weight"].shape == (WIDTH,):
        model.load_state_dict(weights)
    model.save_pretrained(folder)
    return folder


def make_encoder(name: str, checkpoint: Path, **settings: Any) -> dict[str, Any]:
    """The config of an encoder on the tiny transformer, whose windows overlap."""
    return {"@architectures": f"spacy_xner.{name}.v1", "name": str(checkpoint), **TINY, **settings}


def make_nlp(checkpoint: Path, config: dict[str, Any] | None = None, **tok2vec: Any) -> Language:
    """Build a pipeline with a tagger on the tiny transformer."""
    nlp = spacy.blank("xx")
    nlp.tokenizer = create_multilingual_tokenizer()(nlp)
    encoder = make_encoder("TransformerEncoder", checkpoint, **{"n_frozen_layers": -1, **tok2vec})
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


def write_tagged(folder: Path) -> Path:
    """Write the sentences as tagged files, the same ones for every split. RETURNS: The folder."""
    nlp = blank()
    for language in ("en", "ru", "zh"):
        lines = []
        for text, entities, its_language in SENTENCES:
            if its_language == language:
                doc = nlp.make_doc(text)
                doc.ents = [doc.char_span(a, b, label) for a, b, label in entities]
                tags = [f"{t.ent_iob_}-{t.ent_type_}" if t.ent_type_ else "O" for t in doc]
                lines += [f"{token.text}\t{tag}" for token, tag in zip(doc, tags, strict=True)] + [""]
        for split in ("train", "dev", "test"):
            path = folder / language / f"{split}.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def make_unlabelled(nlp: Language, texts: list[str], language: str = "es") -> list[Example]:
    """Turn texts into examples without annotation."""
    examples = []
    for text in texts:
        doc = nlp.make_doc(text)
        doc._.language = language
        examples.append(Example(doc, doc.copy()))
    return examples


def train(nlp: Language, n_steps: int = 60, rate: float = 0.02) -> list[float]:
    """Fit the entities of the sentences. RETURNS: Losses."""
    return fit(nlp, make_examples(nlp), "ner", n_steps, rate)


def train_identifier(nlp: Language, n_steps: int = 40, rate: float = 0.02) -> list[float]:
    """Fit the languages of the sentences. RETURNS: Losses."""
    return fit(nlp, make_examples(nlp, known_language=False), "language_identifier", n_steps, rate)


def fit(nlp: Language, examples: list[Example], name: str, n_steps: int, rate: float) -> list[float]:
    """Initialize and train without dropout. RETURNS: Losses of the component."""
    return [losses[name] for losses in teach(nlp, examples, n_steps, rate)]


def teach(nlp: Language, examples: list[Example], n_steps: int, rate: float) -> list[dict[str, float]]:
    """Initialize and train without dropout. RETURNS: Losses of all components by step."""
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = rate
    return [nlp.update(examples, sgd=optimizer, losses={}, drop=0.0) for _ in range(n_steps)]


def make_identifier(checkpoint: Path, config: dict[str, Any] | None = None, **sent2vec: Any) -> Language:
    """Build a pipeline with a language identifier on the tiny transformer."""
    nlp = blank()
    encoder = make_encoder("SentenceEncoder", checkpoint, **sent2vec)
    nlp.add_pipe("language_identifier", config={"model": {"sent2vec": encoder}, **(config or {})})
    return nlp


def make_routed(checkpoint: Path) -> Language:
    """Build a trained identifier, a router, and a trained tagger a cluster, on equal frozen layers.

    They share these layers once the pipeline has been saved and loaded.
    """
    nlp = make_identifier(checkpoint, n_frozen_layers=1)
    train_identifier(nlp)
    examples = make_examples(nlp, known_language=False)
    nlp.add_pipe("cluster_router").initialize(lambda: examples, nlp=nlp, grouping=GROUPING)
    for cluster in GROUPING["clusters"]:
        tagger = make_nlp(checkpoint, {"clusters": [cluster]}, n_frozen_layers=1)
        train(tagger)
        nlp.add_pipe("ner", name=f"ner_{cluster}", source=tagger)
    return nlp


def blank() -> Language:
    """A pipeline without components whose tokenizer reads every language."""
    return spacy.blank("xx", config={"nlp": {"tokenizer": {"@tokenizers": TOKENIZER}}})


def make_bilstm(
    words: tuple[str, ...] = (), config: dict[str, Any] | None = None, **tok2vec: Any
) -> Language:
    """Build a pipeline with a small tagger on vectors of the words, if any, and on characters."""
    nlp = blank()
    if words:
        data = numpy.random.default_rng(0).normal(size=(len(words), 4)).astype("float16")
        keys = [nlp.vocab.strings.add(word) for word in words]
        nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=data, keys=keys)
    encoder = {
        "@architectures": "spacy_xner.BiLSTMEncoder.v1",
        **SMALL_BILSTM,
        "use_vectors": bool(words),
        **tok2vec,
    }
    nlp.add_pipe("bilstm_crf_ner", name="ner", config={"model": {"tok2vec": encoder}, **(config or {})})
    return nlp


def make_projector(
    checkpoint: Path, config: dict[str, Any] | None = None, *, method: str = "span", **model: Any
) -> Language:
    """Build a pipeline that projects by the similarity of the tiny transformer's words."""
    nlp = blank()
    encoder = make_encoder("TransformerEncoder", checkpoint, n_frozen_layers=2, n_layers=2, pooling="mean")
    settings = {"model": {"method": method, "tok2vec": encoder, **model}, **(config or {})}
    nlp.add_pipe("entity_projector", config=settings)
    nlp.initialize()
    return nlp


def make_aligner(checkpoint: Path, config: dict[str, Any] | None = None, **model: Any) -> Language:
    """Build a pipeline that projects by an aligner which has yet to learn."""
    nlp = blank()
    encoder = make_encoder("PairEncoder", checkpoint, n_frozen_layers=-1)
    aligner = {"@architectures": "spacy_xner.PairAligner.v1", "pair2vec": encoder, **model}
    nlp.add_pipe("entity_projector", config={"model": aligner, **(config or {})})
    return nlp


def parallel(nlp: Language, text: str, entities: Any = (), translation: str | None = None) -> Doc:
    """A document whose source is the same text, or another one, with entities."""
    source = nlp.make_doc(text)
    source.ents = [source.char_span(start, end, label) for start, end, label in entities]
    doc = nlp.make_doc(text if translation is None else translation)
    doc._.source = source
    return doc


def triples(nlp: Language) -> list[Example]:
    """Every entity and every sentence: the entity's places, mostly none."""
    examples = []
    for text in TEXTS:
        for name in ("Maria Santos", "Lisbon", "Nokia", "Toyota", "Москву", "东京"):
            start = text.find(name)
            places = [(start, start + len(name), "ENTITY")] if start >= 0 else []
            doc = parallel(nlp, name, [(0, len(name), "ENTITY")], text)
            example = Example.from_dict(nlp.make_doc(text), {"entities": places})
            examples.append(Example(doc, example.reference))
    return examples
