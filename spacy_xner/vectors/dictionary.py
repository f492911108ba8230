"""Bilingual dictionaries: pairs of words a line, StarDict and FreeDict's TEI."""

import gzip
import html
import re
import struct
import zlib
from collections.abc import Callable, Collection, Iterator
from itertools import islice, product
from lzma import LZMAError
from pathlib import Path
from typing import Any, TypeAlias
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import COMPRESSED, numbered_lines

# Source words with their translations in the order of the file, without duplicates; all in lower case.
BilingualDictionary: TypeAlias = dict[str, list[str]]
_Pairs: TypeAlias = Iterator[tuple[str, str]]

# Largest size of an unpacked StarDict file, far above the largest dictionary in use. Units: bytes.
_MOST_BYTES = 1 << 28
# A longer article describes its word rather than translating it. Units: bytes, words.
_LONGEST_ARTICLE = 1 << 16
_LONGEST_TRANSLATION = 3
# No pattern goes over a character twice, whatever a file holds.
_MARK = re.compile(r"<(/?\w+)(?:[^\w<>][^<>]*)?>")
_INLINE_MARK = re.compile(r"</?(a|b|big|c|em|font|i|s|small|span|strong|su[bp]|tt|u)\b[^<>]*>", re.IGNORECASE)
# Tags that XDXF puts beside the translation: headword, pronunciation, grammar, examples, comments.
_XDXF_ASIDES = frozenset({"abr", "co", "ex", "gr", "k", "pos", "tr"})
_REMARK = re.compile(r"\([^()\n]*\)|\[[^][\n]*\]|\{[^{}\n]*\}|<[^<>\n]*>|(?<!\S)/[^/\n]+/(?!\S)")
_NUMBERING = re.compile(r"\A(\d+[.)]|[-*•]) ")
_BRACKET = re.compile(r"[][(){}<>]")


def read_dictionary(path: Path, *, reverse: bool = False) -> BilingualDictionary:
    """Read a bilingual dictionary, by its name and its lines in one of these formats.

    Text (also .gz and .xz) has a pair a line: `source target` (MUSE), `source TAB target`, where either may
    be several words, or `target @ source`. StarDict is named by its `.ifo`, with its other files beside it;
    a FreeDict source ends in `.tei`. From the articles of these two, translations of at most three words
    are taken.

    reverse: Swap source and target.
    RAISES: XNER603 for a line that is no pair, XNER604 for a damaged file or one without pairs, XNER104 and
        XNER108 for text that cannot be decoded.
    """
    readers: dict[str, Callable[[Path], _Pairs]] = {".ifo": _read_stardict, ".tei": _read_tei}
    suffix = Path(path.stem).suffix if path.suffix in COMPRESSED else path.suffix
    entries: dict[str, dict[str, None]] = {}
    try:
        for pair in readers.get(suffix, _read_lines)(path):
            source, target = (" ".join(word.lower().split()) for word in (pair[::-1] if reverse else pair))
            entries.setdefault(source, {})[target] = None
    except (OSError, EOFError, zlib.error, LZMAError, UnicodeDecodeError, ParseError) as error:
        raise _damaged(path, str(error)) from error
    if not entries:
        raise _damaged(path, "it has no pair of words")
    return {word: list(translations) for word, translations in entries.items()}


def split_dictionary(
    dictionary: BilingualDictionary, n_train: int = 5000, n_test: int = 1500
) -> tuple[BilingualDictionary, BilingualDictionary]:
    """Cut off the first words for training and the next ones for testing.

    n_train, n_test: Numbers of source words; each keeps all of its translations.
    SOURCE: Conneau et al. 2018; the words of a full MUSE dictionary stand in the order of frequency, and the
        default numbers give the splits that MUSE publishes.
    """
    entries = iter(dictionary.items())
    return dict(islice(entries, n_train)), dict(islice(entries, n_test))


def invert(dictionary: BilingualDictionary, seen: BilingualDictionary) -> BilingualDictionary:
    """Swap source and target of a test dictionary.

    seen: Dictionary that the map was made with; words that are translations in it are left out.
    """
    known = {word for group in seen.values() for word in group}
    inverse: BilingualDictionary = {}
    for source, group in dictionary.items():
        for word in group:
            if word not in known:
                inverse.setdefault(word, []).append(source)
    return inverse


def check_direction(
    dictionary: BilingualDictionary, source_words: Collection[str], target_words: Collection[str], path: Path
) -> None:
    """Refuse a dictionary that fits the texts better from the target to the source.

    source_words, target_words: Words of one language each in lower case, as a set or a counter; empty for a
        language whose words are not known.
    path: File of the dictionary.
    RAISES: XNER605 if more words and translations are known in the wrong direction than in the right one.
    """
    # All entries count: the first ones of an alphabetical dictionary are rare words.
    entries = [part for word in dictionary for part in word.split()]
    translations = [part for group in dictionary.values() for word in group for part in word.split()]

    def share(words: Collection[str], known: Collection[str]) -> float:
        return sum(word in known for word in words) / max(1, len(words))

    shares = share(entries, source_words), share(translations, target_words)
    swapped = share(entries, target_words), share(translations, source_words)
    if sum(shares) < sum(swapped):
        raise XnerError(Errors.XNER605.format(path=path, shares=shares, swapped=swapped))


def _damaged(path: Path, reason: str) -> XnerError:
    return XnerError(Errors.XNER604.format(path=path, reason=reason))


def _read_lines(path: Path) -> _Pairs:
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        # The files of MUSE mix tabs and spaces.
        if "\t" in line:
            pair = line.split("\t")
        elif " @ " in line:
            pair = line.split(" @ ")[::-1]
        else:
            pair = line.split()
        if len(pair) != 2 or not all(map(str.strip, pair)):
            raise XnerError(Errors.XNER603.format(path=path, line=number, text=line[:80]))
        yield pair[0], pair[1]


def _read_stardict(path: Path) -> _Pairs:
    """SOURCE: StarDict's doc/StarDictFileFormat, versions 2.4.2 and 3.0.0."""
    info = dict(line.strip().partition("=")[::2] for _, line in numbered_lines(path))
    types, width = info.get("sametypesequence", ""), info.get("idxoffsetbits", "32")
    if "StarDict's dict ifo file" not in info or width not in ("32", "64"):
        raise _damaged(path, "it is no .ifo file of StarDict")
    if not types or set(types) - set("mtghx"):
        raise _damaged(path, f"its articles are of the types {types!r}, known are m, t, g, h and x")
    index = _read_beside(path, ".idx", ".idx.gz")
    articles = _read_beside(path, ".dict", ".dict.dz")
    place = struct.Struct(">QI" if width == "64" else ">II")
    n_words = start = 0
    while start < len(index):
        end = index.find(b"\0", start)
        if end < 0 or end + 1 + place.size > len(index):
            raise _damaged(path, "its index ends within a word")
        offset, size = place.unpack_from(index, end + 1)
        if offset + size > len(articles):
            raise _damaged(path, f"article {n_words + 1} lies outside of its {len(articles)} bytes")
        if size <= _LONGEST_ARTICLE:
            article = articles[offset : offset + size]
            yield from _pairs_of_article(index[start:end].decode(), article, types)
        n_words, start = n_words + 1, end + 1 + place.size
    if (info.get("wordcount"), info.get("idxfilesize")) != (str(n_words), str(len(index))):
        raise _damaged(path, f"its index has {n_words} words in {len(index)} bytes, other than it announces")


def _read_beside(path: Path, unpacked: str, packed: str) -> bytes:
    """Read a file that is named like another one but for its ending; dictzip's files are gzip files."""
    is_packed = path.with_suffix(packed).is_file()
    opener: Callable = gzip.open if is_packed else open
    with opener(path.with_suffix(packed if is_packed else unpacked), "rb") as file:
        content: bytes = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise _damaged(path, f"its {unpacked} file has more than {_MOST_BYTES} bytes")
    return content


def _pairs_of_article(word: str, article: bytes, types: str) -> _Pairs:
    fields = zip(types, article.split(b"\0"), strict=False)
    texts = [_without_marks(field.decode(), kind) for kind, field in fields if kind != "t"]
    translations = _translations("\n".join(texts))
    # Many articles begin with their word, which need not be a translation of itself.
    if len(translations) > 1 and translations[0] == " ".join(word.lower().split()):
        del translations[0]
    return product([word], translations)


def _without_marks(text: str, kind: str) -> str:
    """Take tags out of an article; a tag that stands between phrases ends a line.

    kind: StarDict's type of the article: m plain, g Pango, h HTML, x XDXF.
    """
    if kind == "m":
        return text
    first, *rest = _MARK.split(_INLINE_MARK.sub("", text))
    pieces, aside = [first], ""
    for mark, piece in zip(rest[::2], rest[1::2], strict=True):
        if kind == "x" and not aside and mark in _XDXF_ASIDES:
            aside = mark
        elif mark == f"/{aside}":
            aside = ""
        if not aside:
            pieces.append(piece)
    return html.unescape("\n".join(pieces))


def _translations(text: str) -> list[str]:
    """Split an article at lines and commas, without remarks, pronunciation, numbers and whole sentences."""
    parts = re.split("[\n;,；，、]", _REMARK.sub(" ", text))
    words = [_NUMBERING.sub("", " ".join(part.lower().split())) for part in parts]
    return [
        word
        for word in words
        if any(map(str.isalpha, word))
        and word.count(" ") < _LONGEST_TRANSLATION
        and not _BRACKET.search(word)
    ]


def _read_tei(path: Path) -> _Pairs:
    above: list[Element] = []
    words: list[str] = []
    translations: list[str] = []
    for event, element in _tei_events(path):
        if event == "start":
            above.append(element)
            continue
        above.pop()
        name = _local_name(element)
        if name == "entry":
            yield from product(words, translations)
            words, translations = [], []
            # Entries that have been read are freed.
            if above:
                above[-1].remove(element)
        elif name in ("orth", "quote") and all(_local_name(parent) != "re" for parent in above):
            # Related entries (re) and examples have words and translations too, of other words.
            cits = [parent.get("type") for parent in above if _local_name(parent) == "cit"]
            text = "".join(element.itertext())
            if name == "quote" and cits == ["trans"]:
                translations += _translations(text)
            elif name == "orth" and not cits and text.strip():
                words.append(text)


def _tei_events(path: Path) -> Iterator[tuple[str, Element]]:
    """Parse like `iterparse`, and refuse text that is not UTF-8 or declares entities."""
    parser: Any = XMLPullParser(("start", "end"))
    for _, line in numbered_lines(path):
        if "<!ENTITY" in line:
            raise _damaged(path, "it declares entities, which may grow without bounds and are not read")
        parser.feed(line + "\n")
        yield from parser.read_events()
    parser.close()
    yield from parser.read_events()


def _local_name(element: Element) -> str:
    return element.tag.rpartition("}")[2]
