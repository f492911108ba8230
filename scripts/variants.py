"""Variants that the papers compare: ways to make a student, and a tagger with and without its parts."""

from typing import NamedTuple


class Recipe(NamedTuple):
    """How a student is made.

    goes_on: It starts from the teacher; otherwise from the pretrained encoder.
    with_gold: It learns silver sentences mixed with the gold ones; otherwise silver ones alone.
    reweighted: Its loss trusts labels that the model agrees with; otherwise it is the cross entropy.
    slope: The gradient of the re-weighted loss also flows through its weights; without it they are constants.
    """

    goes_on: bool
    with_gold: bool
    reweighted: bool
    slope: bool = False


# The teacher itself, and the paper's own way.
ZERO_SHOT = "zero-shot"
BEST = "sequential RW"
# The first five, with zero-shot as the second, are the settings of the paper's Table 3 in its order.
RECIPES = {
    "sequential RW": Recipe(goes_on=True, with_gold=False, reweighted=True),
    "sequential CE": Recipe(goes_on=True, with_gold=False, reweighted=False),
    "silver alone": Recipe(goes_on=False, with_gold=False, reweighted=True),
    "mixed CE": Recipe(goes_on=False, with_gold=True, reweighted=False),
    "mixed RW": Recipe(goes_on=False, with_gold=True, reweighted=True),
    "silver alone CE": Recipe(goes_on=False, with_gold=False, reweighted=False),
    "sequential RW with slope": Recipe(goes_on=True, with_gold=False, reweighted=True, slope=True),
    "silver alone RW with slope": Recipe(goes_on=False, with_gold=False, reweighted=True, slope=True),
    "mixed RW with slope": Recipe(goes_on=False, with_gold=True, reweighted=True, slope=True),
}


class Variant(NamedTuple):
    """The model with or without a part.

    vectors: Name of the merged pipeline; "{target}" and "{source}" stand for the languages.
    translated: It also learns from the source's sentences in the target's words.
    shuffled: All sentences are in another order.
    apart: A word that both languages have has a vector in each: nothing but the labels links them.
    dense: It has a layer before the head.
    tied: Both directions of an LSTM have one set of weights.
    again: It goes on from the best epoch of the best base for as many epochs again, with the base's parts.
    augmented: In these it also learns from its own labels of the target's text.
    supervised: It learns from the target's labels, and from no others.
    """

    vectors: str = "{target}"
    translated: bool = False
    romanise: bool = True
    shuffled: bool = False
    use_vectors: bool = True
    use_characters: bool = True
    apart: bool = False
    dense: bool = False
    tied: bool = False
    again: bool = False
    augmented: bool = False
    supervised: bool = False


# Tables 2 and 3 of Huang et al. 2019, and each of the paper's three bridges between languages by itself.
TRANSLATION = {
    "full": Variant(translated=True),
    "source vectors": Variant(translated=True, vectors="{source}"),
    "no translation": Variant(),
    "no romanisation": Variant(translated=True, romanise=False),
    "shuffled": Variant(translated=True, shuffled=True),
    "word-only": Variant(translated=True, use_characters=False),
    "char-only": Variant(translated=True, use_vectors=False),
}
# Tables 2, 3 and 4 of Bari et al. 2020.
ZERO_RESOURCE = {
    "supervised": Variant(dense=True, supervised=True),
    "unmapped no characters": Variant(
        dense=True, vectors="{target}.unmapped", apart=True, use_characters=False
    ),
    "unmapped": Variant(dense=True, vectors="{target}.unmapped", apart=True),
    "random no characters": Variant(dense=True, vectors="{target}.random", apart=True, use_characters=False),
    "random": Variant(dense=True, vectors="{target}.random", apart=True),
    "cross-word no characters": Variant(dense=True, use_characters=False),
    "cross-word": Variant(dense=True),
    "cross-shared": Variant(dense=True, tied=True),
    "cross-augmented": Variant(dense=True, tied=True, again=True, augmented=True),
    # The control for cross-augmented: it trains for as long, without augmentation.
    "cross-shared again": Variant(dense=True, tied=True, again=True),
}
VARIANTS = TRANSLATION | ZERO_RESOURCE
