"""Reading, converting and mixing corpora; bad files."""

import gzip
import lzma
import warnings
from collections import Counter

import numpy
import pytest
import spacy
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.training.augment import create_lower_casing_augmenter

from spacy_xner.attributes import is_labelled, register_attributes
from spacy_xner.corpus.batching import create_alternating_batcher, create_summed_batcher
from spacy_xner.corpus.conll import LABEL_TABLE, map_labels, read_tagged
from spacy_xner.corpus.docs import make_doc, read_docs, write_docs
from spacy_xner.corpus.names import find_files
from spacy_xner.corpus.reader import create_multilingual_corpus, sample_sizes
from spacy_xner.tags import TokenSpan

from scripts.sample import read_sample

MARIA = [TokenSpan(0, 2, "PER")]
FORMATS = {
    "tabs": "Maria\tB-PER\nSantos\tI-PER\nwon\tO\n\n",
    "spaces": "Maria B-PER\nSantos I-PER\nwon O\n\n",
    "stray I": "Maria I-PER\nSantos I-PER\nwon O\n\n",
    "index": "0\tMaria\tB-PER\n1\tSantos\tI-PER\n2\twon\tO\n",
    "uner": "# sent_id = 1\n# text = Maria Santos won\n1\tMaria\tB-PER\t-\t-\n"
    "2-3\tx\t_\t-\t-\n2\tSantos\tI-PER\t-\t-\n3\twon\tO\t-\ta\n",
    "conll2003": "-DOCSTART- -X- O O\n\nMaria NNP I-NP B-PER\nSantos NNP I-NP I-PER\nwon V O O\n",
    "docstart": "-DOCSTART-\tO\n\nMaria\tB-PER\nSantos\tI-PER\nwon\tO\n",
    "windows": "\ufeffMaria\tB-PER\r\nSantos\tI-PER\r\nwon\tO\r\n\r\n",
    "panx": "en:Maria\tB-PER\nen:Santos\tI-PER\nen:won\tO\n",
}


@pytest.fixture
def write(tmp_path):
    def write(content, name="train.tsv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_sentence(write, name):
    sentences = list(read_tagged(write(FORMATS[name]), "en"))
    assert [(s.tokens, s.spans) for s in sentences] == [(["Maria", "Santos", "won"], MARIA)]


def test_gzip_is_read(tmp_path):
    path = tmp_path / "train.tsv.gz"
    path.write_bytes(gzip.compress(FORMATS["tabs"].encode()))
    assert len(list(read_tagged(path, "en"))) == 1
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(ValueError, match="XNER108"):
        list(read_tagged(path, "en"))


def test_prefixes_of_the_language_are_no_part_of_tokens(write):
    [sentence] = read_tagged(write("en:Golden:Gate\tB-LOC\nen:\tO\nchildren:en:x\tO\n\n"), "en")
    assert sentence.tokens == ["Golden:Gate", "en:", "children:en:x"]


def test_a_lone_hash_is_a_token_where_words_are_spaced(write):
    [sentence] = read_tagged(write("#\tO\nMaria\tB-PER\n\n"), "en")
    assert sentence.tokens == ["#", "Maria"]


def test_rows_of_many_columns_may_begin_with_a_hash(write):
    content = (
        "EU NNP B-NP B-ORG\n#Brexit NNP B-NP B-MISC\n# # I-NP O\n# text = the O\n# a comment\n5 CD I-NP O\n"
    )
    [sentence] = read_tagged(write(content), "en")
    assert sentence.tokens == ["EU", "#Brexit", "#", "5"]
    assert sentence.spans == [TokenSpan(0, 1, "ORG"), TokenSpan(1, 2, "MISC")]


def test_packed_files_of_damaged_bytes_are_named_errors(tmp_path):
    packed = gzip.compress(FORMATS["tabs"].encode() * 50)
    path = tmp_path / "train.tsv.gz"
    for i in range(10, len(packed)):
        path.write_bytes(packed[:i] + bytes([packed[i] ^ 0xFF]) + packed[i + 1 :])
        with pytest.raises(ValueError, match="XNER1"):
            list(read_tagged(path, "en"))


def test_characters_of_japanese_give_back_the_text(write):
    content = "#\tO\nア\tB-PER\nン\tI-PER\n#\tO\nナ\tI-PER\nは\tO\n#\tO\n\n"
    with pytest.warns(UserWarning, match="W106"):
        [sentence] = read_tagged(write(content), "ja")
    doc = make_doc(spacy.blank("xx").vocab, sentence, "ja")
    assert doc.text == "アン ナは"
    assert [ent.text for ent in doc.ents] == ["アン ナ"]


def test_text_comments_give_back_the_spaces(write):
    content = "# text = (Maria) won.\n1\t(\tO\n2\tMaria\tB-PER\n3\t)\tO\n4\twon\tO\n5\t.\tO\n"
    [sentence] = read_tagged(write(content), "en")
    assert make_doc(spacy.blank("xx").vocab, sentence, "en").text == "(Maria) won."


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        ("Maria\tB-PER\nSantos\n", "XNER101", "line 2"),
        ("Maria\tB-PER\nSantos\tI-\n", "XNER102", "line 2"),
        ("Maria\tB-PER\nSantos\tPER\n", "XNER102", "line 2"),
        ("0\tMaria\tB-PER\nx\tSantos\tI-PER\n", "XNER101", "line 2"),
        ("", "XNER103", ""),
        ("\n\n\n", "XNER103", ""),
        ("# only = comments\n", "XNER103", ""),
        (b"Maria\tB-PER\n\xff\xfe\tO\n", "XNER104", ""),
        ("Maria\tO\nПе".encode()[:-1], "XNER108", "line"),
        ("Maria\n", "XNER110", ""),
    ],
)
def test_bad_files_are_named_errors(write, content, code, line):
    with pytest.raises(ValueError, match=code) as error:
        list(read_tagged(write(content), "en"))
    assert line in str(error.value)
    assert "train.tsv" in str(error.value)


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        ("The O\nNew York B-LOC\n", "XNER116", "line 2"),
        ("The\tO\nParis\tB-LOC\tO\n", "XNER116", "line 2"),
        ("EU NNP B-ORG\nParis B-LOC\n", "XNER116", "line 2"),
        ("Paris\tB-LOC\tO\n", "XNER117", "line 1"),
        ("# a comment\nThe O O\n", "XNER117", "line 2"),
    ],
)
def test_rows_of_other_columns_are_named_errors(write, content, code, line):
    with pytest.raises(ValueError, match=code) as error:
        list(read_tagged(write(content), "en"))
    assert line in str(error.value)
    assert "train.tsv" in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        "Maria B-PER\nSantos I-PER\nwon O",
        "Maria\tB-PER\rSantos\tI-PER\rwon\tO\r\r",
        "Maria   B-PER\nSantos  I-PER\nwon     O\n",
        " Maria\tB-PER\nSantos \tI-PER\n\u00a0won\tO\n",
    ],
)
def test_odd_spaces_and_line_ends_are_read_rightly(write, content):
    [sentence] = read_tagged(write(content), "en")
    assert (sentence.tokens, sentence.spans) == (["Maria", "Santos", "won"], MARIA)


def test_files_packed_by_xz_are_read(write):
    path = write(lzma.compress(FORMATS["tabs"].encode()), "train.tsv.xz")
    assert len(list(read_tagged(path, "en"))) == 1


def test_utf16_without_a_mark_is_a_named_error(write):
    with pytest.raises(ValueError, match="XNER104"):
        list(read_tagged(write(FORMATS["tabs"].encode("utf-16-le")), "en"))


@pytest.mark.parametrize(
    ("content", "warns"),
    [
        ("Ana\tB-PER\nJo\tB-PER\nRom\tB-LO", True),
        ("Ana\tB-PER\nJo\tB-PER\nRom\tB-LO\n", False),
        ("Ana\tB-PER\nJo\tB-PER", False),
        ("Ana\tB-PER\nJo\tO", False),
    ],
)
def test_a_label_that_may_be_cut_off_is_a_warning(write, content, warns):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(read_tagged(write(content), "en"))
    assert ["XNER-W104" in str(warning.message) for warning in caught] == [True] * warns


def test_a_text_that_is_not_that_of_its_tokens_is_a_warning(write):
    good = "# text = It rained\nIt O\nrained O\n\n"
    content = good + "# text = Something else\nMaria B-PER\nwon O\n\n" + good
    with pytest.warns(UserWarning, match=r"W105\] 1 of 3 sentences .* line 6"):
        sentences = list(read_tagged(write(content), "en"))
    assert [len(sentence.tokens) for sentence in sentences] == [2, 2, 2]


def test_hashes_that_become_spaces_are_a_warning(write):
    with pytest.warns(UserWarning, match=r"W106\] 2 lone"):
        sentences = list(read_tagged(write("東\tO\n#\tO\n京\tO\n\n#\tO\n京\tO\n"), "zh"))
    assert [sentence.tokens for sentence in sentences] == [["東", "京"], ["京"]]
    # A `# text` line says that they are real.
    [sentence] = read_tagged(write("# text = 東#京\n東\tO\n#\tO\n京\tO\n"), "zh")
    assert (sentence.tokens, sentence.spaces) == (["東", "#", "京"], [False] * 3)


def test_sentences_know_their_lines(write):
    sentences = read_tagged(write("\n# a comment\nMaria O\nwon O\n\n\nIt O\n"), "en")
    assert [sentence.line for sentence in sentences] == [3, 7]


def test_labels_are_mapped_dropped_and_checked():
    spans = [TokenSpan(0, 1, "GPE"), TokenSpan(1, 2, "DATE"), TokenSpan(2, 3, "PER")]
    assert [s.label for s in map_labels(spans, LABEL_TABLE)] == ["LOC", "PER"]
    odd = [TokenSpan(0, 1, "LAW")]
    with pytest.raises(ValueError, match="XNER107"):
        map_labels(odd, LABEL_TABLE)
    assert map_labels(odd, LABEL_TABLE, unknown="drop") == []
    assert map_labels(odd, LABEL_TABLE, unknown="keep") == odd


def test_the_sample_format_has_links(write):
    path = write("train-001\t[Ana](PER:2) in [Rom](LOC:1).\n")
    [(identifier, text, entities)] = read_sample(path)
    assert (identifier, text) == ("train-001", "Ana in Rom.")
    assert [tuple(e) for e in entities] == [(0, 3, "PER", 2), (7, 10, "LOC", 1)]
    with pytest.raises(ValueError, match="XNER111"):
        list(read_sample(write("train-001\t[Ana](PERSON:2) in Rom.\n")))
    with pytest.raises(ValueError, match="XNER101"):
        list(read_sample(write("train-001 Ana\n")))
    with pytest.raises(ValueError, match="XNER103"):
        list(read_sample(write("")))


@pytest.fixture
def corpus(tmp_path):
    """Twenty English and five Danish sentences, and five unlabelled Finnish ones."""
    vocab = spacy.blank("xx").vocab
    for lang, n in (("en", 20), ("da", 5), ("fi", 5)):
        docs = []
        for i in range(n):
            doc = spacy.tokens.Doc(vocab, words=["Maria", str(i)])
            if lang != "fi":
                doc = spacy.tokens.Doc(vocab, words=["Maria", str(i)], ents=["B-PER", "O"])
            doc._.language = lang
            docs.append(doc)
        write_docs(docs, tmp_path / f"{lang}-toy-train.spacy")
    write_docs(docs[:2], tmp_path / "fi-toy-test.spacy")
    return tmp_path


def languages_of(reader):
    return Counter(eg.reference._.language for eg in reader(spacy.blank("xx")))


def test_the_reader_mixes_languages_and_keeps_them_on_both_docs(corpus):
    reader = create_multilingual_corpus(corpus, "train")
    examples = list(reader(spacy.blank("xx")))
    assert languages_of(reader) == {"en": 20, "da": 5, "fi": 5}
    assert all(eg.predicted._.language == eg.reference._.language for eg in examples)
    order = [eg.reference._.language for eg in examples]
    assert order != sorted(order)
    assert {is_labelled(eg.reference) for eg in examples} == {True, False}
    assert not any(is_labelled(eg.reference) for eg in examples if eg.reference._.language == "fi")


def test_the_reader_limits_and_chooses_languages(corpus):
    assert languages_of(create_multilingual_corpus(corpus, "train", ["en", "da"], limit=7)) == {
        "en": 7,
        "da": 5,
    }


def test_negative_limits_are_coded_errors(corpus):
    with pytest.raises(ValueError, match="XNER122"):
        create_multilingual_corpus(corpus, "train", limit=-1)


def test_temperature_evens_the_languages_out(corpus):
    counts = languages_of(create_multilingual_corpus(corpus, "train", ["en", "da"], temperature=1e9))
    assert counts == {"en": 13, "da": 12}
    sizes = numpy.array([100, 10])
    assert sample_sizes(sizes, 1.0).tolist() == [100, 10]
    assert sample_sizes(sizes, 2.0).tolist() == [84, 26]
    with pytest.raises(ValueError, match="XNER112"):
        create_multilingual_corpus(corpus, "train", temperature=0.5)


def test_temperature_leaves_out_sentences_of_all_files_alike(tmp_path):
    register_attributes()
    vocab = spacy.blank("xx").vocab
    for name, n in (("en-first", 20), ("en-second", 80), ("sw-first", 2)):
        docs = [Doc(vocab, words=[name, str(i)]) for i in range(n)]
        for doc in docs:
            doc._.language = name[:2]
        DocBin(docs=docs, store_user_data=True).to_disk(tmp_path / f"{name}-train.spacy")
    reader = create_multilingual_corpus(tmp_path, "train", temperature=2.0)
    texts = [eg.reference.text for eg in reader(spacy.blank("xx")) if eg.reference._.language == "en"]
    assert len(set(texts)) == len(texts) < 100
    # In the order of the files, the second one's last sentences would be the ones that are left out.
    order = [f"en-first {i} " for i in range(20)] + [f"en-second {i} " for i in range(80)]
    assert set(texts) < set(order)
    assert set(texts) != set(order[: len(texts)])


def test_augmented_sentences_keep_their_corpus(tmp_path):
    register_attributes()
    vocab = spacy.blank("xx").vocab
    doc = Doc(vocab, words=["Maria", "left"], ents=["B-PER", "O"])
    doc._.language = "en"
    DocBin(docs=[doc], store_user_data=True).to_disk(tmp_path / "en-half-train.spacy")
    upper = create_lower_casing_augmenter(level=1.0)
    options = {"unannotated": {"half": ["ORG"]}, "augmenter": upper}
    (example,) = create_multilingual_corpus(tmp_path, "train", **options)(spacy.blank("xx"))
    assert example.reference.text == "maria left "
    assert example.reference._.unannotated == ["ORG"]
    assert (example.reference._.corpus, example.reference._.language) == ("half", "en")


def test_the_seed_changes_the_order(corpus):
    def order(seed):
        reader = create_multilingual_corpus(corpus, "train", seed=seed)
        return [eg.reference.text for eg in reader(spacy.blank("xx"))]

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_sentences_that_are_held_out_are_dropped_and_counted(corpus):
    reader = create_multilingual_corpus(corpus, "train", ["fi"], held_out=corpus)
    with pytest.warns(UserWarning, match="2 of 5 sentences"):
        assert languages_of(reader) == {"fi": 3}


def test_sentences_that_are_held_out_are_known_by_their_characters(tmp_path):
    register_attributes()
    vocab = spacy.blank("xx").vocab
    for split, words in (("train", ["New-York"]), ("test", ["New", "-", "York"])):
        docs = [Doc(vocab, words=words), Doc(vocab, words=[split])]
        for doc in docs:
            doc._.language = "en"
        DocBin(docs=docs, store_user_data=True).to_disk(tmp_path / f"en-toy-{split}.spacy")
    with pytest.warns(UserWarning, match="1 of 2 sentences"):
        assert languages_of(create_multilingual_corpus(tmp_path, "train", held_out=tmp_path)) == {"en": 1}


def test_the_pipelines_tokenizer_can_be_used(corpus):
    reader = create_multilingual_corpus(corpus, "train", ["en"], gold_tokens=False)
    nlp = spacy.blank("xx")
    nlp.tokenizer = lambda text: spacy.tokens.Doc(nlp.vocab, words=list(text.replace(" ", "_")))
    assert len(next(reader(nlp)).predicted) > 2


def test_missing_languages_and_broken_files_are_named_errors(corpus, tmp_path):
    with pytest.raises(ValueError, match="XNER106"):
        find_files(corpus, "train", ["xh"])
    broken = tmp_path / "en-toy-train.spacy"
    broken.write_bytes(broken.read_bytes()[:50])
    with pytest.raises(ValueError, match="XNER105"):
        read_docs(broken)
    write_docs([], broken)
    with pytest.raises(ValueError, match="XNER103"):
        read_docs(broken)


def test_what_is_made_of_a_corpus_is_read_where_it_is_named(tmp_path):
    for name in ("en-news-train", "en-news.fi-train", "en-news.fi.shuffled-train", "en-web.v2-train"):
        (tmp_path / f"{name}.spacy").touch()
    found = find_files(tmp_path, "train", ["en"])
    assert [path.stem for path in found["en"]] == ["en-news-train", "en-web.v2-train"]
    found = find_files(tmp_path, "train", ["en"], ["news", "news.fi"])
    assert [path.stem for path in found["en"]] == ["en-news-train", "en-news.fi-train"]


def test_an_interrupted_conversion_leaves_the_old_file(corpus):
    path = corpus / "en-toy-train.spacy"
    before = path.read_bytes()

    def docs():
        yield from read_docs(path).get_docs(spacy.blank("xx").vocab)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_docs(docs(), path)
    assert path.read_bytes() == before


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("file", "language", "n_sentences"),
    [
        ("wikiann/ja/dev.tsv", "ja", 10_000),
        ("wikiann/en/dev.tsv", "en", 10_000),
        ("wikineural/en/dev.conllu", "en", None),
        ("uner_pud/ru/test.iob2", "ru", 1000),
        ("uner_ddt/da/dev.iob2", "da", None),
        ("uner_gsdsimp/zh/dev.iob2", "zh", None),
        ("europarl_ner/de/test.conll02", "de", 799),
        ("aqmar/ar/train.txt", "ar", None),
        ("turku_ner/fi/dev.tsv", "fi", None),
        ("masakhaner2/yo/dev.txt", "yo", None),
    ],
)
def test_real_corpora_are_read_to_the_end(shared_data, file, language, n_sentences):
    vocab = spacy.blank("xx").vocab
    counts = Counter()
    for sentence in read_tagged(shared_data / file, language):
        spans = map_labels(sentence.spans, LABEL_TABLE, where=file)
        doc = make_doc(vocab, sentence._replace(spans=spans), language)
        assert [t.text for t in doc] == sentence.tokens
        counts.update(["sentences", *(ent.label_ for ent in doc.ents)])
    assert n_sentences in (None, counts["sentences"])
    assert counts["PER"] > 0
    assert counts["LOC"] > 0


def test_labels_of_a_language_can_be_withheld(corpus):
    reader = create_multilingual_corpus(corpus, "train", ["en", "da"], unlabelled=["da"])
    for example in reader(spacy.blank("xx")):
        assert is_labelled(example.reference) == (example.reference._.language == "en")
        assert example.reference.text == example.predicted.text


def test_sources_are_chosen_and_the_language_can_be_kept_from_the_pipeline(corpus):
    vocab = spacy.blank("xx").vocab
    doc = spacy.tokens.Doc(vocab, words=["Aarhus"], ents=["B-LOC"])
    doc._.language = "da"
    write_docs([doc], corpus / "da-other-corpus-train.spacy")
    assert languages_of(create_multilingual_corpus(corpus, "train", ["da"])) == {"da": 6}
    assert languages_of(create_multilingual_corpus(corpus, "train", sources=["other-corpus"])) == {"da": 1}
    with pytest.raises(ValueError, match="XNER106"):
        languages_of(create_multilingual_corpus(corpus, "train", ["en"], sources=["other-corpus"]))
    reader = create_multilingual_corpus(corpus, "train", known_language=False)
    assert {eg.predicted._.language for eg in reader(spacy.blank("xx"))} == {None}


@pytest.mark.parametrize(
    ("n_labelled", "n_unlabelled"), [(20, 20), (20, 5), (3, 20), (20, 0), (0, 20), (0, 0)]
)
def test_batches_alternate_and_lose_nothing(n_labelled, n_unlabelled):
    nlp = spacy.blank("xx")
    examples = []
    for i in range(n_labelled + n_unlabelled):
        words = [str(i)]
        labelled = spacy.tokens.Doc(nlp.vocab, words=words, ents=["O"] if i < n_labelled else None)
        examples.append(Example(spacy.tokens.Doc(nlp.vocab, words=words), labelled))
    numpy.random.default_rng(0).shuffle(examples)
    batches = list(create_alternating_batcher(4, 2)(examples))
    kinds = [{is_labelled(eg.reference) for eg in batch} for batch in batches]
    assert all(len(kind) == 1 for kind in kinds)
    assert sorted(eg.reference.text for batch in batches for eg in batch) == sorted(
        eg.reference.text for eg in examples
    )
    assert all(len(batch) <= (4 if kind == {True} else 2) for batch, kind in zip(batches, kinds, strict=True))
    assert sum(kind == {True} for kind in kinds) == -(-n_labelled // 4)
    if n_labelled == n_unlabelled == 20:
        alternating = [is_labelled(batch[0].reference) for batch in create_alternating_batcher(4)(examples)]
        assert alternating == [True, False] * 5


def test_surplus_of_unlabelled_batches_can_be_left_out():
    nlp = spacy.blank("xx")
    examples = []
    for i in range(60):
        doc = spacy.tokens.Doc(nlp.vocab, words=[str(i)], ents=["O"] if i % 6 == 0 else None)
        examples.append(Example(spacy.tokens.Doc(nlp.vocab, words=[str(i)]), doc))
    batches = list(create_alternating_batcher(2, 3, keep_surplus=False)(examples))
    kinds = [is_labelled(batch[0].reference) for batch in batches]
    assert kinds == [True, False] * 5
    labelled = [int(eg.reference.text) for batch in batches[::2] for eg in batch]
    assert labelled == list(range(0, 60, 6))
    # Of many unlabelled documents those nearest to the labelled batch go with it: four batches at most wait.
    late = [*(eg for eg in examples if not is_labelled(eg.reference)), examples[0]]
    [_, follower] = create_alternating_batcher(1, 2, keep_surplus=False)(late)
    assert [eg.reference.text for eg in follower] == [eg.reference.text for eg in late[-9:-7]]
    # Without unlabelled text the labelled batches are whole, and without labels there is nothing to follow.
    own = [eg for eg in examples if is_labelled(eg.reference)]
    assert sum(map(len, create_alternating_batcher(4, keep_surplus=False)(own))) == 10
    rest = [eg for eg in examples if not is_labelled(eg.reference)]
    assert list(create_alternating_batcher(4, keep_surplus=False)(rest)) == []


@pytest.mark.parametrize(("n_labelled", "n_unlabelled"), [(20, 20), (20, 3), (3, 40), (7, 0), (0, 7)])
def test_summed_batches_have_both_kinds_of_text(n_labelled, n_unlabelled):
    nlp = spacy.blank("xx")
    examples = []
    for i in range(n_labelled + n_unlabelled):
        ents = ["O"] if i < n_labelled else None
        doc = spacy.tokens.Doc(nlp.vocab, words=[str(i)], ents=ents)
        examples.append(Example(spacy.tokens.Doc(nlp.vocab, words=[str(i)]), doc))
    numpy.random.default_rng(0).shuffle(examples)
    batches = list(create_summed_batcher(4, 2)(examples))
    sizes = [(sum(is_labelled(eg.reference) for eg in batch), len(batch)) for batch in batches]
    # Every labelled document once, and they alone count the batches.
    labelled = [eg.reference.text for batch in batches for eg in batch if is_labelled(eg.reference)]
    assert labelled == [eg.reference.text for eg in examples if is_labelled(eg.reference)]
    assert len(batches) == -(-n_labelled // 4)
    assert all(total - known <= 2 for known, total in sizes)
    texts = [eg.reference.text for batch in batches for eg in batch]
    assert len(set(texts)) == len(texts)
    if n_labelled == n_unlabelled:
        assert sum(total - known for known, total in sizes) == 2 * len(batches)


def test_an_unlabelled_document_far_from_labels_does_not_wait_forever():
    nlp = spacy.blank("xx")
    docs = [spacy.tokens.Doc(nlp.vocab, words=[str(i)], ents=None if i < 50 else ["O"]) for i in range(51)]
    examples = [Example(spacy.tokens.Doc(nlp.vocab, words=[doc.text]), doc) for doc in docs]
    [batch] = create_summed_batcher(1, 2)(examples)
    assert [eg.reference[0].text for eg in batch] == ["50", "42", "43"]
