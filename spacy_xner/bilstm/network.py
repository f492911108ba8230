"""The BiLSTM encoder in torch: characters and word vectors to token vectors. It knows nothing of spaCy."""

from collections import Counter
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from torch.nn.utils.rnn import PackedSequence

from spacy_xner.cache import TensorCache
from spacy_xner.tagger.crf import pack

Initialisation = Literal["torch", "uniform"]
Balance = Literal["none", "scale", "normalise"]
# Words whose spelling is kept between batches.
MAX_SPELLINGS = 50_000
# Weights begin in [-0.1, 0.1] (Huang et al. 2019, section 3.2).
RANGE = 0.1


class Words(NamedTuple):
    """The distinct words of a batch.

    vectors: Vectors of the words; rows of words without one hold any numbers. Shape: (n_words, vector_width).
    has_vector: Whether a word has a vector. Shape: (n_words,).
    characters: Ids of all characters, word after word. Shape: (n_characters,).
    lengths: Characters per word, at least 1. Shape: (n_words,).
    """

    vectors: Tensor
    has_vector: Tensor
    characters: Tensor
    lengths: Tensor


class BiLSTM(nn.Module):
    """Read sequences from both ends.

    tied: Use one set of weights for both directions. This halves the parameters, and makes it harder to
        learn on which side a neighbour stands.
    SOURCE: Bari et al. 2020, "Source model pretraining through weight sharing" (tied).
    """

    def __init__(self, width: int, hidden: int, *, tied: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, hidden, bidirectional=not tied)

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the states at all places, and the last state of either direction.

        inputs: Vectors, sequence after sequence. Shape: (n, width).
        lengths: Length of each sequence, at least 1. Shape: (n_sequences,).
        RETURNS: Shapes: (n, 2 * hidden), (n_sequences, 2 * hidden).
        """
        packing = pack(lengths)
        sizes = torch.tensor(packing.sizes)
        states, last = [], []
        for rows in (packing.order,) if self.lstm.bidirectional else (packing.order, packing.mirror):
            read, (ends, _) = self.lstm(PackedSequence(inputs[rows], sizes))
            states.append(read.data[rows.argsort()])
            last.append(ends.transpose(0, 1).flatten(1))
        longest_first = torch.sort(lengths, descending=True, stable=True).indices
        return torch.cat(states, dim=1), torch.cat(last, dim=1)[longest_first.argsort()]


class Reader(nn.Module):
    """The LSTMs that read a language: its characters to words, and its words to states."""

    def __init__(self, cfg: dict[str, Any]) -> None:
        super().__init__()
        width = cfg["vector_width"]
        self.character_lstm: BiLSTM | None = None
        if cfg["n_characters"]:
            hidden = cfg["character_hidden"]
            self.character_lstm = BiLSTM(cfg["character_width"], hidden, tied=cfg["tie_characters"])
            width += 2 * hidden
        self.word_lstm = BiLSTM(width, cfg["word_hidden"], tied=cfg["tie_words"])


class BiLSTMNetwork(nn.Module):
    """Read words by their characters and vectors, then documents by their words.

    cfg: The settings of the network:
        n_characters: Rows of the character table; 0 reads no characters.
        character_width: Size of the vectors of characters.
        character_hidden, word_hidden: Sizes of the states of each direction.
        tie_characters, tie_words: See `BiLSTM`.
        dense_width: Size of the layer that gives the token vectors; 0 takes the word LSTM's states.
        vector_width: Size of the word vectors; 0 reads none.
        vector_scale: Factor that brings the numbers of word vectors to a mean square of 1.
        character_scale: Factor that brings what differs between words in the characters' states to it too.
        initialisation: The weights begin as torch has it, or uniform in [-0.1, 0.1].
        normalise: Each word's vector, and its characters' states, are brought to mean 0 and variance 1.
        targets: Languages that a second reader reads, besides the reader of all languages.
    SOURCE: Huang et al. 2019, section 2 (after Lample et al. 2016); Bari et al. 2020, Figure 1 (targets).
    """

    unknown: Tensor

    def __init__(self, cfg: dict[str, Any]) -> None:
        super().__init__()
        # Both scales come with the weights, how these began does not matter, and an objective adds a reader.
        apart = ("vector_scale", "character_scale", "initialisation", "targets")
        self.structure = {"normalise": False} | {key: cfg[key] for key in cfg if key not in apart}
        self.vector_scale: float = cfg["vector_scale"]
        # Pipelines of version 0.1 have none of the settings that are read with a default.
        self.character_scale: float = cfg.get("character_scale", 1.0)
        self.normalise: bool = cfg.get("normalise", False)
        self.vector_dropout = nn.Dropout(0.0)
        # Both readers share the vectors of characters.
        self.characters: nn.Embedding | None = None
        if cfg["n_characters"]:
            self.characters = nn.Embedding(cfg["n_characters"], cfg["character_width"])
        self.dropout = nn.Dropout(0.0)
        self.source = Reader(cfg)
        n_states = 2 * cfg["word_hidden"]
        width = cfg["dense_width"] or n_states
        self.dense = nn.Linear(n_states, width) if cfg["dense_width"] else nn.Identity()
        self.squash = nn.Tanh() if cfg["dense_width"] else nn.Identity()
        self.target: Reader | None = None
        self.target_dense = nn.Linear(n_states + width, width) if cfg["targets"] else None
        if cfg["targets"]:
            self.target = Reader(cfg)
        # The rows that `spell` gave for words, by the words' numbers.
        self.spellings: TensorCache[int] = TensorCache(MAX_SPELLINGS)
        # How often each word, by its number, has been read in training.
        self.n_read: Counter[int] = Counter()
        # Fixed, as the vectors of known words are, but kept with the weights.
        self.register_buffer("unknown", torch.zeros(cfg["vector_width"]))
        if cfg.get("initialisation", "uniform") == "uniform":
            for parameter in self.parameters():
                nn.init.uniform_(parameter, -RANGE, RANGE)
        # An unknown word is as loud as a known one: the mean square is 1, as that of the scaled vectors.
        nn.init.uniform_(self.unknown, -(3**0.5), 3**0.5)

    def start_target(self) -> None:
        """Copy the source's reader to the target's: both give the same states until they learn."""
        if self.target is None or self.target_dense is None:
            return
        self.target.load_state_dict(self.source.state_dict())
        n_states = self.target_dense.in_features - self.target_dense.out_features
        weight, bias = torch.eye(n_states), torch.zeros(n_states)
        if isinstance(self.dense, nn.Linear):
            weight, bias = self.dense.weight, self.dense.bias
        with torch.no_grad():
            self.target_dense.weight.zero_()
            self.target_dense.weight[:, :n_states].copy_(weight)
            self.target_dense.bias.copy_(bias)

    def forward(
        self,
        words: Words,
        spelled: Tensor | None,
        tokens: Tensor,
        lengths: Tensor,
        is_target: Tensor,
    ) -> Tensor:
        """Compute token vectors. Shape: (n_tokens, width).

        spelled: Output of `spell` for the words, or None to read their characters now.
        tokens: Row of each token's word. Shape: (n_tokens,).
        lengths: Tokens per document, at least 1. Shape: (n_docs,).
        is_target: Whether the target's reader reads a document too; ignored if there is no such reader.
            Shape: (n_docs,).
        """
        # `is_target.any()` makes a GPU wait, so it is asked only if there is a target's reader.
        target = self.target if self.target is not None and bool(is_target.any()) else None
        if spelled is None:
            by_reader = [self.spell_with(r, words) for r in (self.source, target) if r is not None]
        else:
            by_reader = list(spelled.chunk(1 if self.target is None else 2, dim=1))
        # Dropout is drawn token by token, not word by word.
        seen = self.vector_dropout(self.read_vectors(words)[tokens])
        inputs = torch.cat((seen, self.dropout(by_reader[0][tokens])), dim=1)
        read = self.squash(self.dense(self.source.word_lstm(inputs, lengths)[0]))
        if target is None or self.target_dense is None:
            return read
        rows = is_target.repeat_interleave(lengths).nonzero()[:, 0]
        inputs = torch.cat((seen[rows], self.dropout(by_reader[-1][tokens[rows]])), dim=1)
        states = target.word_lstm(inputs, lengths[is_target])[0]
        # The source's reader helps the target's, and learns nothing from its mistakes.
        states = torch.cat((states, read[rows].detach()), dim=1)
        token_vectors = self.squash(self.target_dense(states))
        # If all documents are the target's, the source's reader stays out of the graph: its weights then have
        # no gradient, rather than one of zeros.
        return token_vectors if len(rows) == len(tokens) else read.index_copy(0, rows, token_vectors)

    def read_vectors(self, words: Words) -> Tensor:
        """Bring the vectors to their size; words without one have the unknown one.

        RETURNS: Shape: (n_words, vector_width).
        """
        known = self._level(self.vector_scale * words.vectors)
        return torch.where(words.has_vector[:, None], known, self.unknown)

    def spell(self, words: Words) -> Tensor:
        """Read words by characters, with one reader after the other.

        RETURNS: Shape: (n_words, n_readers * 2 * character_hidden).
        """
        readers = [reader for reader in (self.source, self.target) if reader is not None]
        return torch.cat([self.spell_with(reader, words) for reader in readers], dim=1)

    def spell_with(self, reader: Reader, words: Words) -> Tensor:
        """Read words by characters: the last states of both directions.

        RETURNS: Shape: (n_words, 2 * character_hidden); no columns if characters are not read.
        """
        if self.characters is None or reader.character_lstm is None:
            return self.unknown.new_zeros(len(words.lengths), 0)
        states = reader.character_lstm(self.characters(words.characters), words.lengths)[1]
        return self._level(self.character_scale * states)

    def _level(self, rows: Tensor) -> Tensor:
        """Bring each row to a mean of 0 and a variance of 1, if that is wanted. Shape: (n_words, width)."""
        return layer_norm(rows, rows.shape[1:]) if self.normalise and rows.shape[1] else rows


def forget_rare(has_vector: Tensor, counts: Tensor, rate: float) -> Tensor:
    """Take the vector from a share of the words that have one, rare words first.

    A tagger that meets no unknown word in training cannot read one later.
    has_vector: Which words have a vector. Shape: (n_words,).
    counts: How often each word has been read. Shape: (n_words,).
    rate: Share of the words with a vector. Words are drawn with a probability by 1 / count.
    RETURNS: Which words keep a vector. Shape: (n_words,).
    SOURCE: Lample et al. 2016, section 4.4, who replace words that occur once with a probability of 0.5.
    """
    known = has_vector.nonzero()[:, 0]
    n_forgotten = int(rate * len(known) + float(torch.rand(())))
    if not n_forgotten:
        return has_vector
    chosen = torch.multinomial(1.0 / counts[known].clamp(min=1), min(n_forgotten, len(known)))
    return has_vector.index_fill(0, known[chosen], False)
