"""Bilingual dictionaries in every format, damaged ones, and their direction."""

import gzip
import lzma
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_xner.vectors import dictionary as module
from spacy_xner.vectors.dictionary import check_direction, invert, read_dictionary, split_dictionary

ARTICLES = [
    ("house", "house /haʊs/ <n>\n1. Haus (Gebäude, {n})\n2. Heim; Wohnung"),
    ("Street", "[striːt] Straße\na street is a long road in a town"),
    ("radio", "Radio\n→"),
]
GERMAN = {"house": ["haus", "heim", "wohnung"], "street": ["straße"], "radio": ["radio"]}
TEI = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE TEI SYSTEM "freedict-P5.dtd">
<TEI {namespace}><text><body>
<entry><form><orth>house</orth><pron>haʊs</pron></form>
  <sense><cit type="trans"><quote>Haus</quote><form><orth>Häuser</orth></form></cit>
    <cit type="trans"><quote>Heim, <hi>Wohnung</hi></quote></cit>
    <cit type="example"><quote>a full house</quote>
      <cit type="trans"><quote>volles Haus</quote></cit></cit></sense>
  <re><form><orth>house wife</orth></form><sense><cit type="trans"><quote>Hausfrau</quote></cit></sense></re>
</entry>
<entry><form><orth>Street</orth></form><cit type="trans"><quote>Straße (f)</quote></cit></entry>
<entry><form><orth>the</orth></form><sense><note>article</note></sense></entry>
<entry><form><orth>radio</orth></form><sense><cit type="trans"><quote>Radio</quote></cit></sense></entry>
</body></text></TEI>
"""


def write(path, text):
    packers = {".gz": gzip.compress, ".xz": lzma.compress}
    path.write_bytes(packers.get(path.suffix, bytes)(text.encode("utf-8")))
    return path


def write_stardict(folder, articles=ARTICLES, types="m", bits=32, packed=False, **changes):
    """Write a StarDict dictionary; `changes` replace lines of its .ifo."""
    index, content = b"", b""
    for word, article in articles:
        place = struct.pack(">QI" if bits == 64 else ">II", len(content), len(article.encode()))
        index += word.encode() + b"\0" + place
        content += article.encode()
    info = {"version": "3.0.0", "wordcount": len(articles), "idxfilesize": len(index), "idxoffsetbits": bits}
    info |= {"bookname": "tiny", "sametypesequence": types, **changes}
    lines = ["StarDict's dict ifo file", *(f"{key}={value}" for key, value in info.items())]
    (folder / "tiny.idx.gz" if packed else folder / "tiny.idx").write_bytes(
        gzip.compress(index) if packed else index
    )
    (folder / "tiny.dict.dz" if packed else folder / "tiny.dict").write_bytes(
        gzip.compress(content) if packed else content
    )
    return write(folder / "tiny.ifo", "\n".join(lines))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("muse.txt", "river Fluss\nriver\tStrom\nriver  fluss\n\nhouse haus\n"),
        ("pairs.tsv", " river\tFluss \nRiver\tStrom\nriver\tFluss\nhouse\tHaus"),
        ("pairs.tsv.gz", "river\tFluss\nriver\tStrom\nhouse\tHaus\r\n"),
        ("en-de.dict", "\ufeffFluss @ river\nStrom @ river\nHaus @ house\n"),
    ],
)
def test_pairs_of_words_are_read_in_their_order(tmp_path, name, text):
    path = write(tmp_path / name, text)
    assert list(read_dictionary(path).items()) == [("river", ["fluss", "strom"]), ("house", ["haus"])]
    assert read_dictionary(path, reverse=True) == {"fluss": ["river"], "strom": ["river"], "haus": ["house"]}


def test_words_may_hold_spaces_between_tabs_and_at_signs(tmp_path):
    assert read_dictionary(write(tmp_path / "a.tsv", "new york\tla  Grande Pomme\n")) == {
        "new york": ["la grande pomme"]
    }
    assert read_dictionary(write(tmp_path / "b.dict", "seti@home @ seti@home\n@ @ @\n")) == {
        "seti@home": ["seti@home"],
        "@": ["@"],
    }


words = st.text("abcABCäß@", min_size=1, max_size=4)


@given(st.lists(st.tuples(words, words), min_size=1), st.booleans())
def test_dictionaries_hold_every_pair_once(tmp_path_factory, pairs, reverse):
    path = tmp_path_factory.getbasetemp() / "any.tsv"
    write(path, "".join(f"{source}\t{target}\n" for source, target in pairs))
    found = read_dictionary(path, reverse=reverse)
    expected = dict.fromkeys((s.lower(), t.lower()) for s, t in (p[::-1] if reverse else p for p in pairs))
    assert [(s, t) for s, targets in found.items() for t in targets] == sorted(
        expected, key=lambda pair: list(found).index(pair[0])
    )


@pytest.mark.parametrize(
    "line", ["river", "river deep fluss", "a\tb\tc", "river\t \tx", " @ river", "\tFluss"]
)
def test_lines_that_are_no_pair_are_named(tmp_path, line):
    path = write(tmp_path / "bad.txt", f"house haus\n{line}\n")
    with pytest.raises(ValueError, match=r"XNER603.*bad\.txt, line 2"):
        read_dictionary(path)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.txt.xz", "a.tei", "a.ifo"])
def test_files_without_pairs_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="XNER604"):
        read_dictionary(write(tmp_path / name, "\n"))
    with pytest.raises(ValueError, match=r"XNER604.*No such file"):
        read_dictionary(tmp_path / f"missing-{name}")


@pytest.mark.parametrize(("name", "n"), [("a.txt.gz", 0), ("a.txt.gz", 10), ("a.txt.xz", 0)])
def test_damaged_archives_are_refused(tmp_path, name, n):
    whole = write(path := tmp_path / name, "river\tFluss\n" * 100).read_bytes()
    path.write_bytes(whole[:n] + b"\xff" * 8 + whole[n + 8 :])
    with pytest.raises(ValueError, match=r"XNER(104|108|604)"):
        read_dictionary(path)


def test_the_first_words_are_for_training_and_the_next_for_testing():
    whole = {str(i): [f"{i}a", f"{i}b"] for i in range(10)}
    train, test = split_dictionary(whole, 5, 3)
    assert (list(train), list(test)) == (list("01234"), list("567"))
    assert train | test == {word: whole[word] for word in "01234567"}
    assert split_dictionary(whole) == (whole, {})


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("packed", [False, True])
def test_stardict_is_read(tmp_path, bits, packed):
    path = write_stardict(tmp_path, bits=bits, packed=packed)
    assert read_dictionary(path) == GERMAN
    assert read_dictionary(path, reverse=True)["heim"] == ["house"]


@pytest.mark.parametrize(
    ("types", "article"),
    [
        ("m", "Haus, Bau (ein (alter) Hof), Heim"),
        ("tm", "haʊs\0Haus\nHeim"),
        ("mt", "Haus\nHeim\0haʊs"),
        ("g", "<b>house</b> <i>(n)</i>\nHa<u>us</u>, Heim &lt;ugs&gt;"),
        ("h", '<div class="x"><B>house</B><br/>/haʊs/<ol><li>Ha<i>u</i>s</li><li>Heim</li></ol></div>'),
        (
            "x",
            "<k>house</k>\n<tr>haʊs</tr><dtrn>Haus</dtrn> <co>Bau</co><dtrn>Heim</dtrn><ex>mein, Haus</ex>",
        ),
        ("h", "<table><tr><td>Haus</td><td>Heim</td></tr></table>"),
        ("th", "haʊs\0<p>Haus<p>Heim<!-- old -->"),
    ],
)
def test_articles_are_stripped_of_marks_and_remarks(tmp_path, types, article):
    path = write_stardict(tmp_path, [("house", article)], types)
    assert read_dictionary(path) == {"house": ["haus", "heim"]}


def test_plain_articles_have_remarks_where_others_have_marks(tmp_path):
    assert read_dictionary(write_stardict(tmp_path, [("a", "das <n> Haus")], "m")) == {"a": ["das haus"]}
    assert read_dictionary(write_stardict(tmp_path, [("a", "das <n> Haus")], "h")) == {"a": ["das", "haus"]}


def test_only_short_translations_are_kept(tmp_path):
    path = write_stardict(tmp_path, [("a", "eins zwei drei\neins zwei drei vier"), ("b", "x" * (1 << 17))])
    assert read_dictionary(path) == {"a": ["eins zwei drei"]}


@pytest.mark.parametrize("article", ["<" + "a" * 60_000, " " * 60_000 + "x", "(" * 60_000, "/a " * 20_000])
@pytest.mark.parametrize("types", ["m", "x"])
def test_hostile_articles_take_no_longer_than_others(tmp_path, types, article):
    path = write_stardict(tmp_path, [("house", article + "\nHaus")], types)
    start = time.perf_counter()
    assert "haus" in read_dictionary(path)["house"]
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("file", ["tiny.idx", "tiny.dict", "tiny.idx.gz", "tiny.dict.dz", "tiny.ifo"])
def test_truncated_stardicts_are_refused(tmp_path, file):
    write_stardict(tmp_path, packed=file.endswith("z"))
    whole = (tmp_path / file).read_bytes()
    for n in range(len(whole)):
        (tmp_path / file).write_bytes(whole[:n])
        with pytest.raises(ValueError, match="XNER604"):
            read_dictionary(tmp_path / "tiny.ifo")


@pytest.mark.parametrize(
    "changes",
    [
        {"sametypesequence": ""},
        {"sametypesequence": "W"},
        {"idxoffsetbits": 16},
        {"idxoffsetbits": 64},
        {"wordcount": 4},
        {"idxfilesize": 1},
    ],
)
def test_stardicts_that_contradict_themselves_are_refused(tmp_path, changes):
    with pytest.raises(ValueError, match="XNER604"):
        read_dictionary(write_stardict(tmp_path, **changes))


def test_other_files_are_no_stardicts(tmp_path):
    path = write_stardict(tmp_path)
    content = path.read_text(encoding="utf-8")
    write(path, content.replace("StarDict's dict ifo file", "StarDict's treedict ifo file"))
    with pytest.raises(ValueError, match=r"XNER604.*no \.ifo file"):
        read_dictionary(path)
    write(path, content)
    index = (tmp_path / "tiny.idx").read_bytes()
    (tmp_path / "tiny.idx").write_bytes(index.replace(b"house", b"h\xffuse"))
    with pytest.raises(ValueError, match=r"XNER604.*codec"):
        read_dictionary(path)


def test_stardicts_do_not_grow_without_bounds(tmp_path, monkeypatch):
    path = write_stardict(tmp_path, packed=True)
    monkeypatch.setattr(module, "_MOST_BYTES", 50)
    with pytest.raises(ValueError, match=r"XNER604.*more than 50 bytes"):
        read_dictionary(path)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_hostile_stardicts_raise_coded_errors_only(tmp_path_factory, index, content):
    folder = tmp_path_factory.mktemp("hostile")
    path = write_stardict(folder, types="x", idxfilesize=len(index))
    (folder / "tiny.idx").write_bytes(index)
    (folder / "tiny.dict").write_bytes(content)
    with pytest.raises(ValueError, match="XNER604"):
        read_dictionary(path)


@pytest.mark.parametrize("namespace", ["", 'xmlns="http://www.tei-c.org/ns/1.0"'])
@pytest.mark.parametrize("name", ["eng-deu.tei", "eng-deu.tei.gz"])
def test_tei_is_read(tmp_path, name, namespace):
    path = write(tmp_path / name, TEI.format(namespace=namespace))
    assert read_dictionary(path) == GERMAN
    assert read_dictionary(path, reverse=True)["heim"] == ["house"]


def test_truncated_tei_is_refused(tmp_path):
    text = TEI.format(namespace="").rstrip()
    for n in range(0, len(text), 7):
        with pytest.raises(ValueError, match="XNER604"):
            read_dictionary(write(tmp_path / "a.tei", text[:n]))


@pytest.mark.parametrize("declaration", ['<!ENTITY a "b">', '<!ENTITY % a SYSTEM "file:///etc/passwd"> %a;'])
def test_tei_with_entities_is_refused(tmp_path, declaration):
    text = TEI.format(namespace="").replace('.dtd"', f'.dtd" [\n{declaration}\n]')
    with pytest.raises(ValueError, match=r"XNER604.*declares entities"):
        read_dictionary(write(tmp_path / "a.tei", text))


def test_wrong_directions_are_refused(tmp_path):
    dictionary = {"house": ["haus", "heim"], "street": ["straße"], "radio": ["radio"]}
    english, german = {"house", "street", "radio", "the"}, {"haus", "straße", "radio", "die"}
    check_direction(dictionary, english, german, tmp_path)
    with pytest.raises(ValueError, match=r"XNER605.* 33% .* 25% .* 100% and 75% the other way.*--reverse"):
        check_direction(dictionary, german, english, tmp_path)
    # Nothing known on either side tells nothing.
    check_direction(dictionary, set(), set(), tmp_path)
    check_direction({}, english, german, tmp_path)


def test_directions_are_told_from_all_words_and_from_one_side(tmp_path):
    # An alphabetical dictionary begins with words that no text has, and half of its translations are phrases.
    strange = {f"a{i}": [f"a{i} der"] for i in range(3000)}
    right = {**strange, **{f"s{i}": [f"t{i} t{i + 1}"] for i in range(50)}}
    check_direction(right, {f"s{i}" for i in range(10)}, (), tmp_path)
    with pytest.raises(ValueError, match="XNER605"):
        check_direction(right, {f"t{i}" for i in range(10)}, (), tmp_path)


def test_an_inverted_dictionary_has_no_word_of_the_training():
    test = {"house": ["haus", "heim"], "home": ["heim", "zuhause"]}
    assert invert(test, {"domestic": ["zuhause"]}) == {"haus": ["house"], "heim": ["house", "home"]}


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("language", "n_train", "n_test"),
    [("es", 11_977, 2_975), ("de", 14_677, 3_660), ("fr", 10_872, 2_943), ("ru", 10_887, 2_447)],
)
def test_muse_splits_have_their_published_sizes(shared_data, language, n_train, n_test):
    dictionary = read_dictionary(shared_data / "lexicons" / "muse" / f"en-{language}.dict")
    train, test = split_dictionary(dictionary)
    assert (len(train), len(test)) == (5000, 1500)
    assert (sum(map(len, train.values())), sum(map(len, test.values()))) == (n_train, n_test)
