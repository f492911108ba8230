"""Tables of word vectors: read, write, look up, merge."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy
import spacy
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from spacy.vectors import Mode, Vectors

from spacy_xner.arrays import to_unit_length
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import fresh_folder, numbered_lines, write_bytes
from spacy_xner.vectors.words import key_of

# Number of rows at the beginning of a text file that are checked: if most of their words end in a number, the
# header's width is too small.
N_SUSPECTED = 20


class VectorTable(NamedTuple):
    """Words, the most frequent one first, and their vectors.

    vectors: Shape: (n_words, width).
    """

    words: list[str]
    vectors: NDArray[numpy.float32]


def read_table(path: Path, limit: int = 0) -> VectorTable:
    """Read a table: text as fastText and word2vec write it (also .gz), .safetensors, or a spaCy pipeline.

    limit: Number of words to read from the beginning; 0 reads all.
    RAISES: XNER601 for a wrong header, XNER602 for ragged rows, XNER606 for duplicates, XNER607 for text that
        is not a number, XNER610 for damaged files, with file and line.
    """
    if path.is_dir():
        return _read_spacy(path, limit)
    if path.suffix == ".safetensors":
        return _read_safetensors(path, limit)
    return _read_text(path, limit)


def write_table(table: VectorTable, path: Path, *, half_precision: bool = False) -> None:
    """Write a .safetensors file, as a whole or not at all."""
    vectors = numpy.ascontiguousarray(table.vectors, dtype="float16" if half_precision else "float32")
    content = save({"vectors": vectors}, metadata={"words": json.dumps(table.words, ensure_ascii=False)})
    write_bytes(path, content)


def merge_tables(tables: Sequence[VectorTable], languages: Sequence[str] = ()) -> VectorTable:
    """Merge tables of one space; a word that several tables have is taken once.

    Its vector is that of the table in which the word stands nearest to the front: "die" is the German
    article, not the English verb.

    languages: A language a table keeps words apart that are spelled alike: each is named by `key_of`.
    RAISES: XNER611 for tables of different widths, XNER624 for more or fewer languages than tables.
    """
    if languages:
        if len(set(languages)) != len(tables):
            raise XnerError(Errors.XNER624.format(n=len(tables), languages=", ".join(languages)))
        tables = [
            table._replace(words=[key_of(word, lang) for word in table.words])
            for table, lang in zip(tables, languages, strict=True)
        ]
    widths = [table.vectors.shape[1] for table in tables]
    if len(set(widths)) > 1:
        raise XnerError(Errors.XNER611.format(source=min(widths), target=max(widths)))
    rank: dict[str, tuple[int, int]] = {}
    for t, table in enumerate(tables):
        for r, word in enumerate(table.words):
            if word not in rank or r < rank[word][0]:
                rank[word] = (r, t)
    words = sorted(rank, key=rank.__getitem__)
    vectors = numpy.stack([tables[t].vectors[r] for r, t in map(rank.__getitem__, words)])
    return VectorTable(words, vectors)


def reduce_width(table: VectorTable, width: int) -> VectorTable:
    """Reduce vectors to their principal components, and bring them to unit length."""
    from sklearn.decomposition import PCA

    vectors = PCA(min(width, *table.vectors.shape), random_state=0).fit_transform(table.vectors)
    return VectorTable(table.words, numpy.asarray(to_unit_length(vectors), "float32"))


def randomise_table(table: VectorTable, seed: int = 0) -> VectorTable:
    """Give the same words random vectors, as a baseline."""
    generator = numpy.random.default_rng(seed)
    return table._replace(vectors=generator.standard_normal(table.vectors.shape, dtype="float32"))


def write_pipeline(table: VectorTable, path: Path, *, half_precision: bool = True) -> int:
    """Write a blank pipeline with these vectors, for `[initialize] vectors`.

    RETURNS: Size of the vectors in bytes.
    """
    nlp = spacy.blank("xx")
    data = table.vectors.astype("float16" if half_precision else "float32")
    keys = [nlp.vocab.strings.add(word) for word in table.words]
    nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=data, keys=keys, name="xner")
    with fresh_folder(path) as folder:
        nlp.to_disk(folder)
    return int(data.nbytes)


def index_words(words: Sequence[str]) -> dict[str, int]:
    """Rows of words. A word that the table has in capitals alone is found in lower case too.

    The entries of dictionaries are in lower case; a table with capitals has German nouns as they are written.
    """
    rows: dict[str, int] = {}
    for row, word in enumerate(words):
        rows.setdefault(word.lower(), row)
    return rows | {word: row for row, word in enumerate(words)}


class Lookup:
    """Unit-length vectors by word, as written or else in lower case; unknown words get zeros."""

    def __init__(self, table: VectorTable) -> None:
        unit = numpy.asarray(to_unit_length(table.vectors), "float32")
        self._vectors = numpy.vstack((unit, numpy.zeros((1, unit.shape[1]), "float32")))
        self._rows = {word: row for row, word in enumerate(table.words)}

    def __call__(self, words: Sequence[str]) -> NDArray[numpy.float32]:
        """Shape: (n_words, width)."""
        rows = [self._rows.get(word, self._rows.get(word.lower(), -1)) for word in words]
        return self._vectors[rows]


def _read_text(path: Path, limit: int) -> VectorTable:
    lines = numbered_lines(path)
    number, header = next(lines, (1, ""))
    sizes = header.split()
    if len(sizes) != 2 or not all(size.isdecimal() for size in sizes) or int(sizes[1]) == 0:
        raise XnerError(Errors.XNER601.format(path=path, line=number, text=header[:80]))
    total, width = map(int, sizes)
    expected = min(limit, total) if limit else total
    rows: list[NDArray[numpy.float32]] = []
    known: dict[str, int] = {}
    odd: list[tuple[int, str]] = []
    for number, line in lines:
        if len(rows) == expected and limit:
            break
        # Some words contain spaces, mostly no-break spaces.
        word, *numbers = line.rstrip(" ").rsplit(" ", width)
        if len(rows) < N_SUSPECTED and " " in word and _is_number(word.rpartition(" ")[2]):
            odd.append((number, line))
        if len(numbers) != width or not word:
            raise XnerError(
                Errors.XNER602.format(path=path, line=number, width=width, n=len(numbers), text=line[:40])
            )
        try:
            row = numpy.array(numbers, dtype="float32")
        except ValueError:
            raise XnerError(Errors.XNER607.format(path=path, line=number, text=line[:80])) from None
        if not numpy.isfinite(row).all():
            raise XnerError(Errors.XNER607.format(path=path, line=number, text=line[:80]))
        if word in known:
            raise XnerError(Errors.XNER606.format(path=path, line=number, word=word, first=known[word]))
        known[word] = number
        rows.append(row)
    if len(odd) > min(N_SUSPECTED, len(rows)) / 2:
        number, line = odd[0]
        raise XnerError(Errors.XNER602.format(path=path, line=number, width=width, n="more", text=line[:40]))
    if len(rows) != expected or not rows:
        raise XnerError(Errors.XNER601.format(path=path, line=1, text=f"{header} (and {len(rows)} rows)"))
    return VectorTable(list(known), numpy.stack(rows))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_safetensors(path: Path, limit: int) -> VectorTable:
    try:
        with safe_open(path, framework="numpy") as file:
            words = json.loads((file.metadata() or {})["words"])
            rows = file.get_slice("vectors")
            n_rows = rows.get_shape()[0]
            vectors = rows[: min(limit or n_rows, n_rows)].astype("float32")
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise XnerError(Errors.XNER610.format(path=path, reason=error)) from error
    words = words[: limit or None]
    if len(words) != len(vectors) or len(set(words)) != len(words) or not numpy.isfinite(vectors).all():
        reason = f"{len(words)} words, {len(set(words))} different, {len(vectors)} vectors, or not finite"
        raise XnerError(Errors.XNER610.format(path=path, reason=reason))
    return VectorTable(words, vectors)


def _read_spacy(path: Path, limit: int) -> VectorTable:
    try:
        vocab = spacy.load(path, exclude=spacy.util.get_model_meta(path)["pipeline"]).vocab
    except (OSError, ValueError) as error:
        raise XnerError(Errors.XNER610.format(path=path, reason=error)) from error
    if vocab.vectors.mode == Mode.floret:
        raise XnerError(Errors.XNER610.format(path=path, reason="floret vectors have no list of words"))
    rows = {vocab.strings[key]: row for key, row in vocab.vectors.key2row.items() if key in vocab.strings}
    if not rows:
        raise XnerError(Errors.XNER610.format(path=path, reason="the pipeline has no vectors"))
    words = sorted(rows, key=rows.__getitem__)[: limit or None]
    vectors = numpy.asarray(vocab.vectors.data[[rows[w] for w in words]], "float32")
    if not numpy.isfinite(vectors).all():
        raise XnerError(Errors.XNER610.format(path=path, reason="numbers that are not finite"))
    return VectorTable(words, vectors)
