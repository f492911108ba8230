"""The BiLSTM encoder in torch: characters and word vectors to token vectors. It knows nothing of spaCy."""

from collections import Counter
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from spacy_xner.cache import TensorCache
from spacy_xner.tagger.crf import pack

Initialisation = Literal["torch", "uniform"]
# Words whose spelling is kept between batches.
MAX_SPELLINGS = 50_000
# Weights begin in [-0.1, 0.1] (Huang et al. 2019, section 3.2).
RANGE = 0.1


class Words(NamedTuple):
    """The distinct words of a batch.

    vectors: Any numbers where there is none. Shape: (n_words, vector_width).
    has_vector: Shape: (n_words,).
    characters: Ids of all characters, word after word. Shape: (n_characters,).
    lengths: Characters per word, at least 1. Shape: (n_words,).
    """

    vectors: Tensor
    has_vector: Tensor
    characters: Tensor
    lengths: Tensor


class BiLSTM(nn.Module):
    """Read sequences from both ends.

    tied: One set of weights for both directions: half the parameters, and little to learn about which
        neighbour stands on which side.
    SOURCE: Bari et al. 2020, "Source model pretraining through weight sharing" (tied).
    """

    def __init__(self, width: int, hidden: int, *, tied: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, hidden, bidirectional=not tied)

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the states at all places, and the last state of either direction.

        inputs: Sequence after sequence. Shape: (n, width). lengths: At least 1. Shape: (n_sequences,).
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
    """What reads one language: its characters to words, and its words to states."""

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

    cfg: n_characters: rows of the character table, 0 reads none; character_width, character_hidden,
        word_hidden: sizes, the hidden ones of each direction; tie_characters, tie_words: see `BiLSTM`;
        dense_width: of the layer that the token vectors come from, 0 takes the word LSTM's states;
        vector_width: of word vectors, 0 reads none; vector_scale: brings their numbers to a mean square of 1;
        character_scale: brings what differs between words in their characters' states to the same size;
        initialisation: of the weights, as torch has it or uniform in [-0.1, 0.1];
        targets: languages with a reader of their own beside the one of all others.
    SOURCE: Huang et al. 2019, section 2 (after Lample et al. 2016); Bari et al. 2020, Figure 1 (targets).
    """

    unknown: Tensor

    def __init__(self, cfg: dict[str, Any]) -> None:
        super().__init__()
        # Both scales come with the weights, how these began does not matter, and an objective adds a reader.
        apart = ("vector_scale", "character_scale", "initialisation", "targets")
        self.structure = {key: cfg[key] for key in cfg if key not in apart}
        self.vector_scale: float = cfg["vector_scale"]
        # Pipelines of version 0.1 have neither of the two settings that are read with a default.
        self.character_scale: float = cfg.get("character_scale", 1.0)
        self.vector_dropout = nn.Dropout(0.0)
        # Both readers know the same characters.
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
        """Let the target's reader begin where the source's is: both find the same until they learn."""
        if self.target is None or self.target_dense is None:
            return
        self.target.load_state_dict(self.source.state_dict())
        n_states = self.target_dense.in_features - self.target_dense.out_features
        own, bias = torch.eye(n_states), torch.zeros(n_states)
        if isinstance(self.dense, nn.Linear):
            own, bias = self.dense.weight, self.dense.bias
        with torch.no_grad():
            self.target_dense.weight.zero_()
            self.target_dense.weight[:, :n_states].copy_(own)
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

        spelled: What `spell` gives for the words, if it is known already.
        tokens: Which word each token is. Shape: (n_tokens,).
        lengths: Tokens per document, at least 1. Shape: (n_docs,).
        is_target: Which documents the target's reader reads too; without one it does not matter.
            Shape: (n_docs,).
        """
        # Asking for the documents makes a GPU wait: not where there is nobody to read them.
        target = self.target if self.target is not None and bool(is_target.any()) else None
        if spelled is None:
            by_reader = [self.spell_with(r, words) for r in (self.source, target) if r is not None]
        else:
            by_reader = list(spelled.chunk(1 if self.target is None else 2, dim=1))
        vectors = torch.where(words.has_vector[:, None], self.vector_scale * words.vectors, self.unknown)
        # Dropout is drawn token by token, not word by word.
        seen = self.vector_dropout(vectors[tokens])
        inputs = torch.cat((seen, self.dropout(by_reader[0][tokens])), dim=1)
        read = self.squash(self.dense(self.source.word_lstm(inputs, lengths)[0]))
        if target is None or self.target_dense is None:
            return read
        rows = is_target.repeat_interleave(lengths).nonzero()[:, 0]
        inputs = torch.cat((seen[rows], self.dropout(by_reader[-1][tokens[rows]])), dim=1)
        states = target.word_lstm(inputs, lengths[is_target])[0]
        # The source's reader helps the target's, and learns nothing from its mistakes.
        states = torch.cat((states, read[rows].detach()), dim=1)
        own = self.squash(self.target_dense(states))
        # Without the source's reader in the graph its weights have no gradient, rather than one of zeros.
        return own if len(rows) == len(tokens) else read.index_copy(0, rows, own)

    def spell(self, words: Words) -> Tensor:
        """Read words by characters, with one reader after the other.

        RETURNS: Shape: (n_words, n_readers * 2 * character_hidden).
        """
        readers = [reader for reader in (self.source, self.target) if reader is not None]
        return torch.cat([self.spell_with(reader, words) for reader in readers], dim=1)

    def spell_with(self, reader: Reader, words: Words) -> Tensor:
        """The last states of both directions. Shape: (n_words, 2 * character_hidden), or no columns."""
        if self.characters is None or reader.character_lstm is None:
            return self.unknown.new_zeros(len(words.lengths), 0)
        states = reader.character_lstm(self.characters(words.characters), words.lengths)[1]
        return self.character_scale * states


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
