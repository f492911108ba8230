"""What spelling says of two languages' words."""

import numpy

from spacy_xner.vectors.spelling import cognates, compare_spelling, identical
from spacy_xner.vectors.table import VectorTable


def test_words_spelled_alike_without_signs_if_there_are_enough_others() -> None:
    words = [f"lisbon{letter}" for letter in "abcdefghijklmnopqrstuvwxyzαβγδεζηθικλμνξοπρστυφχψω"]
    few = ["1900", ".", "de"]
    width = {"vectors": numpy.zeros((99, 4), "float32")}
    source = VectorTable([*few, "house", *words], **width)
    target = VectorTable([*reversed(words), *few, "casa"], **width)
    pairs = identical(source, target)
    assert [source.words[i] for i in pairs.source] == words
    assert [target.words[i] for i in pairs.target] == words
    source, target = VectorTable([*few, *words[:40]], **width), VectorTable([*words[:40], *few], **width)
    assert len(identical(source, target).source) == 43
    assert len(identical(source, target, n_frequent=30).source) == 27


def test_cognates_are_alike_in_latin_letters_but_not_in_their_own() -> None:
    source = VectorTable(["Moskva", "madrid", "nation", "house", "no", "station", "actor", "nations"], None)
    target = VectorTable(["казак", "Мосcва", "москва", "madrid", "nación", "nó", "nation", "áctor"], None)
    pairs = cognates(source, target)
    found = {(source.words[i], target.words[j]) for i, j in zip(*(p.tolist() for p in pairs), strict=True)}
    assert found == {("Moskva", "москва"), ("actor", "áctor")}
    source = VectorTable(["national", "nationals", "gato", "gatos", "nacionale"], None)
    target = VectorTable(["nacional", "gata"], None)
    pairs = cognates(source, target)
    assert (pairs.source.tolist(), pairs.target.tolist()) == ([0], [0])
    assert len(cognates(source, target, near=99).source) == 0
    assert len(cognates(source, target, near=4).source) == 2


def test_words_spelled_alike_are_identical_ones_and_cognates() -> None:
    width = {"vectors": numpy.zeros((5, 2), "float32")}
    source = VectorTable(["lisbon", "house", "nation", "madrid", "actor"], **width)
    target = VectorTable(["casa", "áctor", "lisbon", "natión", "madrid"], **width)
    pairs = compare_spelling(source, target).pairs
    found = {source.words[i]: target.words[j] for i, j in zip(*(p.tolist() for p in pairs), strict=True)}
    assert found == {"actor": "áctor", "lisbon": "lisbon", "madrid": "madrid", "nation": "natión"}


def grams(word: str) -> set[str]:
    """All of one to three letters, the word's borders among them."""
    padded = f" {word} "
    return {padded[i : i + n] for n in (1, 2, 3) for i in range(len(padded) - n + 1)}


def test_features_tell_the_share_of_common_letters_in_latin() -> None:
    source = VectorTable(["night", "water", "moskva", "actor"], numpy.zeros((4, 2), "float32"))
    target = VectorTable(["nacht", "wasser", "москва", "áctor", "water"], numpy.zeros((5, 2), "float32"))
    latin = ["nacht", "wasser", "moskva", "actor", "water"]
    first, second = compare_spelling(source, target, weight=0.3, width=5000).features
    words = [[grams(word) for word in side] for side in (source.words, latin)]
    expected = [[len(a & b) / (len(a) * len(b)) ** 0.5 for b in words[1]] for a in words[0]]
    numpy.testing.assert_allclose((first @ second.T).numpy(), 0.3 * numpy.array(expected), atol=0.02)
    assert (first @ second.T).argmax(dim=1).tolist() == [0, 4, 2, 3]
    narrow = compare_spelling(source, target, n_frequent=2).features
    assert [rows.shape for rows in narrow] == [(2, 200), (2, 200)]
    assert compare_spelling(source, target, weight=0) is None


def test_words_without_letters_and_tables_without_a_common_word_say_nothing() -> None:
    width = {"vectors": numpy.zeros((2, 2), "float32")}
    pairs, (first, second) = compare_spelling(
        VectorTable(["", " "], **width), VectorTable(["a", "b"], **width)
    )
    assert len(pairs.source) == 0
    assert first.abs().sum() == 0
    assert second.isfinite().all()
