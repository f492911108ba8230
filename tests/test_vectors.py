"""Tables of word vectors, maps between spaces, training, distilling."""

import gzip
import sys
from pathlib import Path

import numpy
import pytest
import spacy
import torch
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc
from spacy.vectors import Vectors

from spacy_xner.cli.app import xner
from spacy_xner.corpus.conll import Sentence
from spacy_xner.corpus.docs import make_doc, write_docs
from spacy_xner.errors import XnerError
from spacy_xner.vectors.coverage import choose_words, count_unknown, read_words
from spacy_xner.vectors.distil import distil_vectors
from spacy_xner.vectors.mapping import (
    Pairs,
    Spelling,
    align,
    find_pairs,
    map_tables,
    mean_similarity,
    mutual_pairs,
    nearest,
    normalise_rows,
    precision,
    procrustes,
    refine,
)
from spacy_xner.vectors.table import (
    Lookup,
    VectorTable,
    index_words,
    merge_tables,
    read_table,
    reduce_width,
    write_table,
)
from spacy_xner.vectors.train import read_texts, train_vectors
from spacy_xner.vectors.words import key_of, normalise

from tests.cli import invoke

RNG = numpy.random.default_rng(0)


def make_table(n: int = 6, width: int = 4, prefix: str = "w") -> VectorTable:
    return VectorTable([f"{prefix}{i}" for i in range(n)], RNG.normal(size=(n, width)).astype("float32"))


def write_text(path: Path, table: VectorTable) -> Path:
    rows = [f"{w} {' '.join(map(str, row))}" for w, row in zip(table.words, table.vectors, strict=True)]
    content = "\n".join([f"{len(rows)} {table.vectors.shape[1]}", *rows]) + "\n"
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as file:
        file.write(content)
    return path


@pytest.mark.parametrize("name", ["a.vec", "a.vec.gz"])
@pytest.mark.parametrize("limit", [0, 3])
def test_text_tables_are_read_whole_or_in_part(tmp_path: Path, name: str, limit: int) -> None:
    table = make_table()._replace(words=["a", "b c", "d\u00a0e", "@", "f", "g"])
    found = read_table(write_text(tmp_path / name, table), limit)
    assert found.words == table.words[: limit or None]
    numpy.testing.assert_array_equal(found.vectors, table.vectors[: limit or None])


def test_safetensors_round_trip(tmp_path: Path) -> None:
    table = make_table()
    write_table(table, tmp_path / "a.safetensors")
    for limit in (4, 0, 99):
        found = read_table(tmp_path / "a.safetensors", limit)
        assert found.words == table.words[: limit or None]
        numpy.testing.assert_array_equal(found.vectors, table.vectors[: limit or None])
    write_table(table, tmp_path / "half.safetensors", half_precision=True)
    half = read_table(tmp_path / "half.safetensors")
    assert half.vectors.dtype == numpy.float32
    numpy.testing.assert_allclose(half.vectors, table.vectors, atol=1e-2)
    assert not list(tmp_path.glob("*.part"))


def test_vectors_of_a_pipeline(tmp_path: Path) -> None:
    nlp = spacy.blank("xx")
    for word, vector in zip(["b", "a"], make_table(2).vectors, strict=True):
        nlp.vocab.set_vector(word, vector)
    nlp.to_disk(tmp_path / "nlp")
    table = read_table(tmp_path / "nlp")
    for word, vector in zip(table.words, table.vectors, strict=True):
        numpy.testing.assert_array_equal(vector, nlp.vocab.get_vector(word))
    assert sorted(table.words) == ["a", "b"]
    spacy.blank("xx").to_disk(tmp_path / "blank")
    with pytest.raises(ValueError, match="XNER610"):
        read_table(tmp_path / "blank")


@pytest.mark.parametrize(
    ("lines", "code", "line"),
    [
        (["a 1 2"], "XNER601", 1),
        (["three 2", "a 1 2"], "XNER601", 1),
        (["3 2", "a 1 2"], "XNER601", 1),
        (["0 2"], "XNER601", 1),
        (["2 2", "a 1 2", "b 1"], "XNER602", 3),
        (["2 2", "a 1 2", " 1 2"], "XNER602", 3),
        (["2 2", "a 1 2", "a 3 4"], "XNER606", 3),
        (["2 2", "a 1 2", "b 1 nan"], "XNER607", 3),
        (["2 2", "a 1 2", "b 1 x"], "XNER607", 3),
        (["2 2", "a 1 2", "b 1 inf"], "XNER607", 3),
    ],
)
def test_damaged_text_names_file_and_line(tmp_path: Path, lines: list[str], code: str, line: int) -> None:
    path = tmp_path / "a.vec"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"{code}.*a\.vec, line {line}"):
        read_table(path)


def test_damaged_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_table(make_table(), path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="XNER610"):
        read_table(path)
    table = make_table(2)
    for bad in (
        table._replace(words=["a", "a"]),
        table._replace(words=["a"]),
        VectorTable(["a"], numpy.full((1, 2), numpy.nan)),
    ):
        write_table(bad, path)
        with pytest.raises(ValueError, match="XNER610"):
            read_table(path)


def test_merged_words_come_from_where_they_are_more_frequent() -> None:
    english = VectorTable(["the", "of", "die"], numpy.full((3, 2), 1, "float32"))
    german = VectorTable(["die", "of", "und"], numpy.full((3, 2), 2, "float32"))
    merged = merge_tables([english, german])
    assert merged.words == ["the", "die", "of", "und"]
    assert merged.vectors[:, 0].tolist() == [1, 2, 1, 2]
    narrow = VectorTable(["x"], numpy.ones((1, 1), "float32"))
    with pytest.raises(ValueError, match="XNER611"):
        merge_tables([english, narrow])


def test_reduced_width_keeps_most_of_what_tells_words_apart() -> None:
    flat = RNG.normal(size=(50, 2)) @ RNG.normal(size=(2, 6))
    table = VectorTable([f"w{i}" for i in range(50)], flat.astype("float32"))
    reduced = reduce_width(table, 2)
    assert reduced.vectors.shape == (50, 2)
    centred = flat - flat.mean(axis=0)
    centred /= numpy.linalg.norm(centred, axis=1, keepdims=True)
    numpy.testing.assert_allclose(reduced.vectors @ reduced.vectors.T, centred @ centred.T, atol=1e-4)


def test_lookup_falls_back_to_lower_case_and_to_zero() -> None:
    lookup = Lookup(VectorTable(["a", "B"], numpy.array([[3.0, 4.0], [0.0, 2.0]], "float32")))
    found = lookup(["a", "A", "B", "b", "c"])
    numpy.testing.assert_allclose(found, [[0.6, 0.8], [0.6, 0.8], [0, 1], [0, 0], [0, 0]], rtol=1e-6)


def test_numbers_and_addresses_have_one_form() -> None:
    words = [
        "2019",
        "3,5",
        "-7",
        "12:30",
        "50%",
        "1.000.000",
        "https://x.y/z",
        "WWW.x.y",
        "B2B",
        "Straße",
        "7th",
    ]
    expected = ["num"] * 6 + ["url"] * 2 + ["b2b", "straße", "7th"]
    assert [normalise(word) for word in words] == expected
    assert normalise("Straße", lower=False) == "Straße"


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=rng))


def test_procrustes_finds_the_rotation() -> None:
    x = unit(40, 5)
    rotation, _ = torch.linalg.qr(torch.randn(5, 5))
    found = procrustes(x, x @ rotation)
    torch.testing.assert_close(found, rotation, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found @ found.T, torch.eye(5), atol=1e-5, rtol=1e-5)


def test_normalised_rows_have_unit_length_and_little_in_common() -> None:
    rows = normalise_rows(RNG.normal(2.0, 1.0, size=(200, 5)).astype("float32"))
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(200))
    assert rows.mean(dim=0).norm() < 0.1


@pytest.mark.parametrize("csls", [True, False])
def test_nearest_equals_brute_force(csls: bool) -> None:
    x, y = unit(13, 4), unit(17, 4, seed=1)
    cosines = (x @ y.T).numpy()
    scores = cosines.copy()
    if csls:
        for i in range(13):
            for j in range(17):
                mean_x = numpy.sort(cosines[i])[-3:].mean()
                mean_y = numpy.sort(cosines[:, j])[-3:].mean()
                scores[i, j] = (2 * cosines[i, j] - mean_x - mean_y) / 2
    found = nearest(x, y, 5, csls=csls, k=3)
    order = numpy.argsort(-scores, axis=1)[:, :5]
    numpy.testing.assert_array_equal(found.ids, order)
    numpy.testing.assert_allclose(found.scores, numpy.take_along_axis(scores, order, 1), atol=1e-5)


def test_mean_similarity_of_fewer_rows_than_neighbours() -> None:
    x, y = unit(3, 4), unit(2, 4, seed=1)
    torch.testing.assert_close(mean_similarity(x, y, 10), (x @ y.T).mean(dim=1))


def test_mutual_pairs_choose_each_other() -> None:
    x = unit(30, 8)
    shuffled = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    pairs = mutual_pairs(x, x[shuffled])
    torch.testing.assert_close(shuffled[pairs.target], pairs.source)
    assert len(pairs.source) == 30


def make_bilingual(noise: float, n: int = 400, width: int = 20) -> tuple[VectorTable, VectorTable]:
    rng = numpy.random.default_rng(3)
    meanings = rng.normal(size=(n, width)) * numpy.linspace(2, 0.2, width)
    rotation, _ = numpy.linalg.qr(rng.normal(size=(width, width)))
    other = (meanings + noise * rng.normal(size=(n, width))) @ rotation
    return (
        VectorTable([f"e{i}" for i in range(n)], meanings.astype("float32")),
        VectorTable([f"f{i}" for i in range(n)], other.astype("float32")),
    )


def test_align_keeps_the_dictionary_and_what_is_spelled_alike() -> None:
    source, target = make_bilingual(1.5)
    given = {f"e{i}": [f"f{i}"] for i in range(60)}
    sides = [normalise_rows(table.vectors) for table in (source, target)]
    rows = Pairs(torch.arange(60), torch.arange(60))
    spelling = Spelling(Pairs(torch.arange(90, 99), torch.arange(90, 99)), (torch.eye(400), torch.eye(400)))
    settings = {"n_iterations": 1, "n_frequent": 400, "weighting": 0.25}
    for says in (None, spelling):
        mapped, _ = align(source, target, given, spelling=says, **settings)
        expected, _ = refine(*sides, rows, fixed=rows, spelling=says, **settings)
        forgotten, _ = refine(*sides, rows, spelling=says, **settings)
        numpy.testing.assert_allclose(mapped.vectors, expected.numpy(), atol=1e-5)
        assert not numpy.allclose(mapped.vectors, forgotten.numpy(), atol=1e-3)


@pytest.mark.parametrize("weighting", [0.0, 0.5])
def test_align_learns_from_some_words_where_all_others_are(weighting: float) -> None:
    source, target = make_bilingual(0.1)
    given = {f"e{i}": [f"f{i}"] for i in range(60)}
    rest = {f"e{i}": [f"f{i}", "unheard"] for i in range(60, 400)}
    before = precision(source, target, rest)
    mapped = align(source, target, given, weighting=weighting, n_frequent=400)
    after = precision(*mapped, rest)
    assert before.by_neighbours[1] < 0.1
    assert after.by_neighbours[1] > 0.9
    assert after.by_neighbours[1] <= after.by_neighbours[5] <= after.by_neighbours[10]
    assert (after.n_words, after.coverage) == (340, 1.0)


def test_refinement_makes_up_for_few_pairs() -> None:
    source, target = make_bilingual(0.8)
    given = {f"e{i}": [f"f{i}"] for i in range(22)}
    rest = {f"e{i}": [f"f{i}"] for i in range(22, 400)}
    found = {
        n: precision(*align(source, target, given, weighting=0.0, n_iterations=n, n_frequent=400), rest)
        for n in (0, 5)
    }
    assert found[5].by_neighbours[1] > found[0].by_neighbours[1] + 0.05


def test_weighting_keeps_unit_length_and_pulls_the_sides_together() -> None:
    source, target = make_bilingual(0.6)
    x, y = normalise_rows(source.vectors), normalise_rows(target.vectors)
    pairs = Pairs(torch.arange(400), torch.arange(400))
    rotated = map_tables(x, y, pairs)
    weighted = map_tables(x, y, pairs, weighting=1.0)
    for rows in (*rotated, *weighted):
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(400), atol=1e-4, rtol=1e-4)
    assert (weighted[0] * weighted[1]).sum(dim=1).mean() > (rotated[0] * rotated[1]).sum(dim=1).mean()


def test_precision_counts_by_hand() -> None:
    source = VectorTable(["a", "b", "c"], numpy.eye(3, dtype="float32"))
    target = VectorTable(["x", "y", "z"], numpy.eye(3, dtype="float32"))
    entries = {"a": ["x"], "b": ["z"], "c": ["nowhere"], "d": ["x"]}
    found = precision(source, target, entries, csls=False, at=(1, 3))
    assert found.by_neighbours == {1: 0.5, 3: 1.0}
    assert (found.n_words, found.coverage) == (2, 0.5)
    assert precision(source, target, {}).n_words == 0


def test_maps_of_unequal_tables_and_foreign_dictionaries_are_coded_errors() -> None:
    source, target = make_table(9, 4), make_table(9, 5, "v")
    with pytest.raises(ValueError, match="XNER611"):
        align(source, target, {"w0": ["v0"]})
    with pytest.raises(ValueError, match=r"XNER612.*2 pairs.*in 1"):
        find_pairs(source, target, {"w0": ["v0", "nowhere"]})


@given(st.integers(2, 30), st.integers(2, 30))
def test_nearest_gives_as_many_as_there_are(n: int, m: int) -> None:
    found = nearest(unit(n, 3), unit(m, 3), 10)
    assert found.ids.shape == (n, min(10, m))


def test_fasttext_vectors_put_the_most_frequent_word_first() -> None:
    pytest.importorskip("gensim")
    lines = ["The cat sat on the mat, in 1900", "the dog's friend saw the cat in 1850"] * 30
    table = train_vectors(lines, width=8, min_count=2, epochs=1, workers=1)
    assert table.words[0] == "the"
    # Marks are words, but not those within one.
    assert {"cat", "num", "sat", ",", "dog's"} <= set(table.words)
    assert "mat," not in table.words
    assert "'" not in table.words
    assert table.vectors.shape == (len(table.words), 8)
    again = train_vectors(lines, width=8, min_count=2, epochs=1, workers=1)
    numpy.testing.assert_array_equal(table.vectors, again.vectors)
    assert len(train_vectors(lines, width=8, min_count=2, max_words=3, epochs=1, workers=1).words) <= 3
    with pytest.raises(ValueError, match="XNER609"):
        train_vectors(["a b c"], min_count=5)


def test_training_without_gensim_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    with pytest.raises(XnerError, match=r"XNER608.*spacy_xner\[vectors\]"):
        train_vectors(["a"])


def test_searching_without_faiss_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(XnerError, match=r"XNER608.*spacy_xner\[vectors\]"):
        nearest(unit(3, 2), unit(3, 2), 1)


def test_distilled_vectors_are_the_encoders_whatever_the_order(checkpoint: Path) -> None:
    words = ["Lisbon", "a", "Nokia", "Москву", "a"]
    table = distil_vectors(words, str(checkpoint))
    assert table.words == ["Lisbon", "a", "Nokia", "Москву"]
    numpy.testing.assert_allclose(numpy.linalg.norm(table.vectors, axis=1), 1, rtol=1e-5)
    again = distil_vectors(words[::-1], str(checkpoint))
    rows = [again.words.index(word) for word in table.words]
    numpy.testing.assert_allclose(again.vectors[rows], table.vectors, atol=1e-5)
    first = distil_vectors(words, str(checkpoint), layer=1)
    assert not numpy.allclose(first.vectors, table.vectors, atol=1e-4)


@pytest.mark.parametrize("rows", ["the 1 2 3 4\nof 1 2 3 4\n", "the 1 2 3\n"])
def test_a_header_that_is_too_narrow_is_noticed(rows: str, tmp_path: Path) -> None:
    path = tmp_path / "a.vec"
    path.write_text(f"{rows.count(chr(10))} 2\n{rows}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"XNER602.*line 2"):
        read_table(path)


def test_rows_after_the_last_one_and_no_width_are_wrong_headers(tmp_path: Path) -> None:
    path = tmp_path / "a.vec"
    for text in ("1 2\na 1 2\nb 1 2\n", "1 0\na\n"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match="XNER601"):
            read_table(path)
    path.write_text("2 2\nNew York 1 2\nof 1 2\n", encoding="utf-8")
    assert read_table(path).words == ["New York", "of"]


def test_folders_that_are_no_pipelines_and_strange_numbers_in_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="XNER610"):
        read_table(tmp_path)
    nlp = spacy.blank("xx")
    nlp.vocab.set_vector("a", numpy.array([1.0, numpy.nan], "float32"))
    nlp.to_disk(tmp_path / "nlp")
    with pytest.raises(ValueError, match="XNER610"):
        read_table(tmp_path / "nlp")


def make_words(folder: Path) -> list[Path]:
    """The words "in", "Lima", "in", "1999" as a corpus, as a table and as text."""
    words = ["in", "Lima", "in", "1999"]
    vocab = spacy.blank("xx").vocab
    write_docs([make_doc(vocab, Sentence(words, [True] * 4, []), "en")], folder / "en-toy-test.spacy")
    write_table(VectorTable(["in", "Lima"], numpy.eye(2, dtype="float32")), folder / "en.safetensors")
    (folder / "en.txt").write_text("in\nLima in\n\n1999\n", encoding="utf-8")
    return [folder / "en-toy-test.spacy", folder / "en.safetensors", folder / "en.txt"]


def test_words_are_read_from_corpora_tables_and_text(tmp_path: Path) -> None:
    corpus, table, text = make_words(tmp_path)
    assert list(read_words(corpus)) == list(read_words(text)) == ["in", "Lima", "in", "1999"]
    assert list(read_words(table)) == ["in", "Lima"]
    assert choose_words([corpus, table]) == ["in", "lima", "num"]
    assert choose_words([corpus], lower=False) == ["in", "Lima", "num"]
    entries = {"a": ["lima", "far off"], "b": ["off"]}
    assert choose_words([text], entries) == ["in", "lima", "num", "far", "off"]
    assert choose_words([text], entries, limit=4) == ["in", "lima", "num", "far"]
    assert choose_words([], entries) == ["lima", "far", "off"]


def test_words_without_a_vector_are_counted_once_and_every_time(tmp_path: Path) -> None:
    corpus, *_ = make_words(tmp_path)
    table = VectorTable(["lima", "num"], numpy.eye(2, dtype="float32"))
    unknown = count_unknown(table, [corpus])["en-toy-test"]
    assert unknown.types == pytest.approx(1 / 3)
    assert unknown.tokens == pytest.approx(2 / 4)


@pytest.mark.parametrize("verb", ["train", "align", "map", "evaluate", "coverage"])
def test_files_that_are_not_there_are_refused_before_any_work(verb: str, tmp_path: Path) -> None:
    paths = {"train": 2, "align": 4, "map": 3, "evaluate": 3, "coverage": 2}[verb]
    arguments = [tmp_path / f"{i}.vec" for i in range(paths)]
    printed = invoke(xner, "vectors", verb, *arguments, code=2)
    assert "does not exist" in printed.replace("│ ", "")
    assert not list(tmp_path.iterdir())


def test_words_that_the_text_lacks_have_the_mean_of_their_n_grams() -> None:
    pytest.importorskip("gensim")
    lines = ["Berlin liegt an der Spree", "die Stadt Berlin liegt dort"] * 30
    settings = {"width": 8, "min_count": 2, "epochs": 1, "workers": 1, "lower": False}
    table = train_vectors(lines, words=["Berliner", "Berlin", "Wellblech", "Berliner"], **settings)
    bare = train_vectors(lines, **settings)
    assert table.words == [*bare.words, "Berliner", "Wellblech"]
    assert "Spree" in table.words
    numpy.testing.assert_array_equal(table.vectors[:-2], bare.vectors)
    berlin, berliner, other = (
        table.vectors[table.words.index(w)] for w in ("Berlin", "Berliner", "Wellblech")
    )
    # They have most n-grams in common.
    assert numpy.linalg.norm(berlin - berliner) < numpy.linalg.norm(berlin - other)
    assert "spree" in train_vectors(lines, **settings | {"lower": True}).words


def test_texts_are_lines_or_the_sentences_of_a_corpus(tmp_path: Path) -> None:
    vocab = spacy.blank("xx").vocab
    docs = [Doc(vocab, words=["Nokia", "won", "."]), Doc(vocab, words=["Maria"])]
    write_docs(docs, tmp_path / "en-toy-train.spacy")
    (tmp_path / "en.txt").write_text("It rained.\nAll day.\n", encoding="utf-8")
    texts = read_texts([tmp_path / "en.txt", tmp_path / "en-toy-train.spacy"])
    assert list(texts) == ["It rained.", "All day.", "Nokia won .", "Maria"]


def test_tables_merged_by_language_share_no_word() -> None:
    english = VectorTable(["die", "two"], numpy.eye(2, dtype="float32"))
    german = VectorTable(["die", "und"], numpy.eye(2, dtype="float32") * 2)
    merged = merge_tables([english, german], ["en", "de"])
    assert merged.words == [
        key_of(w, lang) for w, lang in (("die", "en"), ("die", "de"), ("two", "en"), ("und", "de"))
    ]
    assert merged.vectors.sum(axis=1).tolist() == [1, 2, 1, 2]
    for languages in (["en"], ["en", "en"]):
        with pytest.raises(ValueError, match="XNER624"):
            merge_tables([english, german], languages)


def test_a_floret_pipeline_is_no_table(tmp_path: Path) -> None:
    nlp = spacy.blank("xx")
    nlp.vocab.vectors = Vectors(data=numpy.ones((9, 2), "float32"), mode="floret", hash_count=1)
    nlp.to_disk(tmp_path)
    with pytest.raises(ValueError, match=r"XNER610.*floret"):
        read_table(tmp_path)


def test_dictionaries_in_lower_case_find_words_in_capitals() -> None:
    rows = index_words(["Haus", "haus", "Berlin", "BERLIN", "und"])
    assert (rows["haus"], rows["Haus"], rows["berlin"], rows["und"]) == (1, 0, 2, 4)
    source = VectorTable(["house", "city"], numpy.eye(2, dtype="float32"))
    target = VectorTable(["Haus", "Stadt"], numpy.eye(2, dtype="float32"))
    found = precision(source, target, {"house": ["haus"], "city": ["stadt"]}, at=(1,))
    assert (found.n_words, found.by_neighbours) == (2, {1: 1.0})
