"""The BiLSTM encoder in torch: characters and word vectors to token vectors. It knows nothing of spaCy."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from spacy_xner.tagger.crf import pack

# Weights and the vector of unknown words begin in [-0.1, 0.1] (Wu et al. 2019, section 3.2).
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


class BiLSTMNetwork(nn.Module):
    """Read words by their characters and vectors, then documents by their words.

    cfg: n_characters: rows of the character table, 0 reads none; character_width, character_hidden,
        word_hidden: sizes, the hidden ones of each direction; vector_width: of word vectors, 0 reads none;
        vector_scale: brings their numbers to the size of the characters' states.
    SOURCE: Wu et al. 2019, section 2 (after Lample et al. 2016).
    """

    unknown: Tensor

    def __init__(self, cfg: dict[str, Any]) -> None:
        super().__init__()
        width = cfg["vector_width"]
        self.vector_scale: float = cfg["vector_scale"]
        self.characters: nn.Embedding | None = None
        if cfg["n_characters"]:
            self.characters = nn.Embedding(cfg["n_characters"], cfg["character_width"])
            self.character_lstm = nn.LSTM(cfg["character_width"], cfg["character_hidden"], bidirectional=True)
            width += 2 * cfg["character_hidden"]
        self.dropout = nn.Dropout(0.0)
        self.word_lstm = nn.LSTM(width, cfg["word_hidden"], bidirectional=True)
        # What `spell` gave for words by their number, and which state of the weights it was.
        self.kept: dict[int, Tensor] = {}
        self.kept_version = 0
        # Fixed, as the vectors of known words are, but kept with the weights.
        self.register_buffer("unknown", torch.zeros(cfg["vector_width"]))
        for tensor in (*self.parameters(), self.unknown):
            nn.init.uniform_(tensor, -RANGE, RANGE)

    def forward(self, words: Words, spelled: Tensor | None, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Compute token vectors. Shape: (n_tokens, 2 * word_hidden).

        spelled: What `spell` gives for the words, if it is known already.
        tokens: Which word each token is. Shape: (n_tokens,).
        lengths: Tokens per document, at least 1. Shape: (n_docs,).
        """
        if spelled is None:
            spelled = self.spell(words.characters, words.lengths)
        vectors = torch.where(words.has_vector[:, None], self.vector_scale * words.vectors, self.unknown)
        # Dropout is drawn token by token, not word by word.
        inputs = torch.cat((vectors[tokens], self.dropout(spelled[tokens])), dim=1)
        packing = pack(lengths)
        read, _ = self.word_lstm(PackedSequence(inputs[packing.order], torch.tensor(packing.sizes)))
        return read.data[packing.order.argsort()]

    def spell(self, characters: Tensor, lengths: Tensor) -> Tensor:
        """Read words by characters: the last states of both directions. Shape: (n_words, 2 * hidden)."""
        if self.characters is None:
            return self.unknown.new_zeros(len(lengths), 0)
        packing = pack(lengths)
        packed = PackedSequence(self.characters(characters[packing.order]), torch.tensor(packing.sizes))
        _, (states, _) = self.character_lstm(packed)
        longest_first = torch.sort(lengths, descending=True, stable=True).indices
        return states.transpose(0, 1).flatten(1)[longest_first.argsort()]
