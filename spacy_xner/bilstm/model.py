"""Thinc wiring of the BiLSTM encoder: documents to distinct words, characters, vectors."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from spacy.attrs import ORTH
from spacy.tokens import Doc
from spacy.vectors import Mode
from spacy.vocab import Vocab
from thinc.api import ArgsKwargs, Model, torch2xp, xp2torch
from thinc.backends import get_array_ops
from thinc.types import Floats2d
from torch import Tensor

from spacy_xner.bilstm.network import Balance, BiLSTMNetwork, Initialisation, Words, forget_rare
from spacy_xner.errors import Errors, XnerError
from spacy_xner.shim import TorchShim
from spacy_xner.tagger.model import Encoder
from spacy_xner.types import Count, Discount, Share, Size
from spacy_xner.vectors.romanise import romanise
from spacy_xner.vectors.words import key_of, normalise

Ints = NDArray[numpy.integer]
# Longer words are read by their first characters.
MAX_CHARACTERS = 100


def build_bilstm_encoder(
    use_vectors: bool = True,
    use_characters: bool = True,
    lower: bool = False,
    romanise: bool = True,
    vectors_by_language: bool = False,
    n_characters: Size = 2048,
    character_width: Size = 300,
    character_hidden: Size = 300,
    word_hidden: Size = 300,
    tie_characters: bool = False,
    tie_words: bool = False,
    dense_width: Count = 0,
    initialisation: Initialisation = "torch",
    balance: Balance = "scale",
    unknown_rate: Share = 0.0,
    vector_dropout: Discount = 0.0,
) -> Encoder:
    """Build an encoder of tokens on word vectors and characters. The sizes are those of Huang et al.

    The word vectors are the vocabulary's (`[initialize] vectors`), are not trained, and are looked up as
    written and in lower case; a word without one has a fixed random vector. Dropout is that of `[training]`,
    on the output of both LSTMs.

    use_vectors, use_characters: Whether words are read by their vectors and by their characters.
    lower: Read characters in lower case; numbers and addresses are always read as "num" and "url".
    romanise: Read characters of other scripts in Latin ones.
    vectors_by_language: Look words up by their document's language, in tables that were merged with
        `languages`: a word that two languages spell alike has a vector in each.
    n_characters: Rows of the character table; a code point's row is its remainder.
    character_width: Size of a character's vector.
    character_hidden, word_hidden: Size of the states of each direction.
    tie_characters, tie_words: Use one set of weights for both directions.
    dense_width: Size of a layer between the words' states and the head; 0 leaves it out.
    initialisation: The weights begin as torch has it, or uniform in [-0.1, 0.1] as in Huang et al.
    balance: How characters come to be as loud as vectors. "scale" multiplies their states so that they differ
        between words as much as vectors do at the start; "normalise" brings every word's states, and its
        vector, to a mean of 0 and a variance of 1. With "none" they begin 8 (torch) to 100 times (uniform)
        quieter, and SGD never comes to hear them.
    unknown_rate: Share of the words with a vector that is read without it in training, rare ones first.
    vector_dropout: Share of the vectors' numbers that is dropped in training.
    SOURCE: Huang et al. 2019, sections 2 and 3.2; Bari et al. 2020 (tied directions, dense layer).
    """
    settings = {
        "n_characters": n_characters if use_characters else 0,
        "character_width": character_width,
        "character_hidden": character_hidden,
        "word_hidden": word_hidden,
        "tie_characters": tie_characters,
        "tie_words": tie_words,
        "dense_width": dense_width,
        "initialisation": initialisation,
        "normalise": balance == "normalise",
    }
    return Model(
        "bilstm_encoder",
        forward_bilstm,
        init=init_bilstm,
        shims=[TorchShim(BiLSTMNetwork)],
        dims={"nO": dense_width or 2 * word_hidden},
        attrs={
            "settings": settings,
            "use_vectors": use_vectors,
            "lower": lower,
            "romanise": romanise,
            "vectors_by_language": vectors_by_language,
            "balance": balance,
            "unknown_rate": unknown_rate,
            "vector_dropout": vector_dropout,
            "dropout_rate": 0.0,
            "reader": "",
        },
    )


def init_bilstm(model: Encoder, X: list[Doc] | None = None, Y: Any = None) -> None:
    """Build the network for the vectors of the documents' vocabulary.

    RAISES: XNER613 if there is nothing to read, or no vectors where they are wanted; XNER615 if no word of
        the documents has a vector.
    """
    vocab = X[0].vocab if X and model.attrs["use_vectors"] else None
    width = vocab.vectors.shape[1] if vocab is not None and len(vocab.vectors) else 0
    scale = _scale(vocab, X or []) if vocab is not None and width else 1.0
    settings = model.attrs["settings"]
    if not width and (vocab is not None or not settings["n_characters"]):
        raise XnerError(Errors.XNER613.format(name=model.name))
    model.shims[0].start({**settings, "vector_width": width, "vector_scale": scale, "targets": []})
    if not X or not any(map(len, X)):
        return
    orths, languages, _ = _find_distinct(X, model.attrs["vectors_by_language"])
    words = [X[0].vocab.strings[orth] for orth in orths.tolist()]
    read = read_words(model, X[0].vocab, words, languages)
    if width and not read.has_vector.any():
        raise XnerError(Errors.XNER615.format(n=len(words), where="the first documents", first=words[0]))
    if model.attrs["balance"] == "scale" and settings["n_characters"] and len(words) > 1:
        network: BiLSTMNetwork = model.shims[0].network
        network.character_scale = model.shims[0].cfg["character_scale"] = _character_scale(network, read)


def _character_scale(network: BiLSTMNetwork, words: Words) -> float:
    """Find what brings the differences between words in their characters' states to a mean square of 1."""
    with torch.inference_mode():
        variance = float(network.spell(words).var(dim=0).mean())
    return network.character_scale * variance**-0.5 if variance > 0 else network.character_scale


def add_target_reader(model: Encoder, languages: Iterable[str]) -> None:
    """Add a second reader for some languages; `start_target` gives it the weights of the first one."""
    shim: TorchShim = model.shims[0]
    weights = shim.network.state_dict()
    shim.start({**shim.cfg, "targets": sorted(languages)})
    shim.network.load_state_dict(weights, strict=False)


def _is_target(model: Encoder, doc: Doc) -> bool:
    """True if the document is in a target language, or its language is unknown."""
    reader, targets = model.attrs["reader"], model.shims[0].cfg["targets"]
    if reader or not targets:
        return bool(reader == "target")
    return doc._.language is None or doc._.language in targets


def _scale(vocab: Vocab, docs: list[Doc]) -> float:
    """Find the factor that brings the vectors' numbers to a mean square of 1.

    The rows of floret are added up to vectors, and have another size: there the words of the documents count.

    The numbers of unit-length vectors are a few hundredths. Beside the larger states of characters they would
    hardly count.
    """
    vectors = vocab.vectors
    if vectors.mode == Mode.floret:
        data = vectors.get_batch(sorted({token.text for doc in docs for token in doc}) or [""])
    else:
        data = vectors.data
    data = get_array_ops(data).to_numpy(data).astype("float32")
    mean_square = float((data**2).mean()) if data.size else 0.0
    return mean_square**-0.5 if mean_square else 1.0


def forward_bilstm(
    model: Encoder, docs: list[Doc], is_train: bool
) -> tuple[list[Floats2d], Callable[[list[Floats2d]], list[Doc]]]:
    """Compute token vectors. Shape: (n_tokens, nO) a document."""
    shim: TorchShim = model.shims[0]
    network: BiLSTMNetwork = model.shims[0].network
    sizes = [len(doc) for doc in docs]
    if not sum(sizes):
        return [model.ops.alloc2f(0, model.get_dim("nO")) for _ in docs], lambda d_vectors: docs
    orths, languages, tokens = _find_distinct(docs, model.attrs["vectors_by_language"])
    vocab = docs[0].vocab
    words = read_words(model, vocab, [vocab.strings[orth] for orth in orths.tolist()], languages)
    device = words.lengths.device
    lengths = torch.tensor([size for size in sizes if size], device=device)
    is_target = torch.tensor([_is_target(model, doc) for doc in docs if len(doc)], device=device)
    spelled = None if is_train else _spell_once(network, shim.version, orths.tolist(), words)
    if is_train:
        network.dropout.p = model.attrs["dropout_rate"]
        network.vector_dropout.p = model.attrs["vector_dropout"]
        words = _forget_some(network, orths, tokens, words, model.attrs["unknown_rate"])
    inputs = (words, spelled, torch.from_numpy(tokens).to(device), lengths, is_target)
    vectors, torch_backprop = shim(ArgsKwargs(args=inputs, kwargs={}), is_train)

    def backprop(d_vectors: list[Floats2d]) -> list[Doc]:
        gradients = {"grad_tensors": xp2torch(model.ops.flatten(d_vectors), device=shim.device)}
        torch_backprop(ArgsKwargs(args=((vectors,),), kwargs=gradients))
        return docs

    return model.ops.unflatten(torch2xp(vectors.detach()), sizes), backprop


def _find_distinct(docs: list[Doc], by_language: bool) -> tuple[Ints, list[str], Ints]:
    """Find the distinct words of documents.

    by_language: A word in another language is another word.
    RETURNS: Numbers of the words (n_words,), their languages (none unless by language), and which word each
        token is (n_tokens,).
    """
    orths = numpy.concatenate([doc.to_array(ORTH) for doc in docs])
    if not by_language:
        distinct, tokens = numpy.unique(orths, return_inverse=True)
        return distinct, [], tokens
    names = sorted({doc._.language or "" for doc in docs})
    codes = [names.index(doc._.language or "") for doc in docs for _ in doc]
    pairs = numpy.stack((orths, numpy.array(codes, orths.dtype)), axis=1)
    distinct, tokens = numpy.unique(pairs, axis=0, return_inverse=True)
    return distinct[:, 0], [names[code] for code in distinct[:, 1].tolist()], tokens.reshape(-1)


def _forget_some(network: BiLSTMNetwork, orths: Ints, tokens: Ints, words: Words, rate: float) -> Words:
    """Count the words of a training batch, and read some of them without their vectors.

    orths: Numbers of the distinct words. Shape: (n_words,).
    tokens: Which word each token is. Shape: (n_tokens,).
    """
    if not rate:
        return words
    network.n_read.update(orths[tokens].tolist())
    counts = torch.tensor([network.n_read[orth] for orth in orths.tolist()], device=words.has_vector.device)
    return words._replace(has_vector=forget_rare(words.has_vector, counts, rate))


def read_words(model: Encoder, vocab: Vocab, words: list[str], languages: Sequence[str] = ()) -> Words:
    """Look words up and spell them.

    languages: Languages of the words, where these are looked up by language.
    RAISES: XNER614 if the vocabulary's vectors are not those of the training.
    """
    shim: TorchShim = model.shims[0]
    written = [normalise(word, lower=False) for word in words]
    normal = [word.lower() for word in written] if model.attrs["lower"] else written
    width = shim.cfg["vector_width"]
    vectors, has_vector = torch.zeros(len(words), 0), torch.zeros(len(words), dtype=torch.bool)
    if width:
        if vocab.vectors.shape[1] != width:
            raise XnerError(Errors.XNER614.format(expected=width, found=vocab.vectors.shape[1]))
        # Floret makes a vector of any word, and has nothing to fall back from.
        forms = normal if vocab.vectors.mode == Mode.floret else written
        if languages:
            forms = [key_of(word, lang) for word, lang in zip(forms, languages, strict=True)]
        vectors, has_vector = look_up(vocab, forms, shim.device)
    characters, lengths = numpy.zeros(0, "int64"), [0] * len(words)
    n_characters = shim.cfg["n_characters"]
    if n_characters:
        spellings = [romanise(word) for word in normal] if model.attrs["romanise"] else normal
        # A word may consist of marks that romanisation drops; it is read as one space.
        spellings = [spelling[:MAX_CHARACTERS] or " " for spelling in spellings]
        codes = numpy.frombuffer("".join(spellings).encode("utf-32-le"), dtype="uint32")
        characters = codes.astype("int64") % n_characters
        lengths = [len(spelling) for spelling in spellings]
    return Words(
        vectors.to(shim.device),
        has_vector.to(shim.device),
        torch.from_numpy(characters).to(shim.device),
        torch.tensor(lengths, device=shim.device),
    )


def look_up(vocab: Vocab, words: list[str], device: torch.device) -> tuple[Tensor, Tensor]:
    """Find the vocabulary's vectors as written, then in lower case.

    RETURNS: Vectors (n_words, width) on the device, and which words have one (n_words,).
    """
    vectors = vocab.vectors
    if vectors.mode == Mode.floret:
        floret = xp2torch(vectors.get_batch(words), device=device).float()
        return floret, torch.ones(len(words), dtype=torch.bool)
    ops = get_array_ops(vectors.data)
    as_written, in_lower_case = (
        ops.to_numpy(vectors.find(keys=[vocab.strings.as_int(word) for word in form]))
        for form in (words, [word.lower() for word in words])
    )
    rows = numpy.where(as_written < 0, in_lower_case, as_written)
    rows_of_words = vectors.data[ops.asarray(rows)].astype("float32")
    return xp2torch(rows_of_words, device=device), torch.from_numpy(rows >= 0)


def _spell_once(network: BiLSTMNetwork, version: int, orths: list[int], words: Words) -> Tensor:
    """Read the characters of words that have not been read with these weights.

    version: Counts the changes of the weights.
    orths: Numbers of the words, each once.
    RETURNS: Shape: (n_words, n_readers * 2 * character_hidden).
    """
    rows = network.spellings.find(orths, version)
    new = [i for i, orth in enumerate(orths) if orth not in rows]
    if new:
        spellings = words.characters.split(words.lengths.tolist())
        with torch.inference_mode():
            characters = torch.cat([spellings[i] for i in new])
            read = network.spell(words._replace(characters=characters, lengths=words.lengths[new]))
        fresh = dict(zip((orths[i] for i in new), read.split(1), strict=True))
        network.spellings.keep(fresh, version)
        rows.update(fresh)
    return torch.cat([rows[orth] for orth in orths])
