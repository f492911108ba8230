"""The sentences and texts from which a trained pipeline learns on; see `extend`."""

from itertools import islice
from pathlib import Path
from typing import NamedTuple

from spacy.language import Language
from spacy.training import Example

from spacy_xner.deploy.extend import Material
from spacy_xner.deploy.trim import read_texts
from spacy_xner.errors import Errors, XnerError
from spacy_xner.evaluation import read_examples

# Without a split to score, one sentence of so many is held out.
HELD_OUT = 5
YOURS, OTHERS = "yours", "others"


class Sources(NamedTuple):
    """Where sentences and texts are read.

    corpus: Folder of {lang}-{source}-{split}.spacy, or one file, with the sentences to learn.
    texts: Text to rehearse on: folders (split train), `.spacy` files or text files.
    check: Corpus on whose test sentences old labels are scored too.
    split: Split of the corpus that is scored. Without such files, every fifth sentence is held out.
    languages: Languages that are read; all by default.
    limit: Sentences a file; 0 takes all.
    text_limit: Texts; 0 takes all.
    """

    corpus: Path
    texts: tuple[Path, ...] = ()
    check: Path | None = None
    split: str = "dev"
    languages: tuple[str, ...] = ()
    limit: int = 0
    text_limit: int = 2000


def read_material(nlp: Language, sources: Sources) -> Material:
    """Read what is learnt and what is scored.

    RAISES: XNER106 without sentences to learn; XNER151 for the training split as the one to score.
    """
    if sources.split == "train":
        raise XnerError(Errors.XNER151)
    labelled = _read(nlp, sources, sources.corpus, "train")
    if sources.corpus.is_dir() and any(sources.corpus.glob(f"*-{sources.split}.spacy")):
        scored = _read(nlp, sources, sources.corpus, sources.split)
    else:
        scored = labelled[::HELD_OUT]
        labelled = [example for i, example in enumerate(labelled) if i % HELD_OUT]
    sets = {YOURS: scored}
    if sources.check is not None:
        sets[OTHERS] = _read(nlp, sources, sources.check, "test")
    lines = read_texts(sources.texts, sources.languages, ("train",))
    return Material(labelled, list(islice(lines, sources.text_limit or None)), sets)


def _read(nlp: Language, sources: Sources, corpus: Path, split: str) -> list[Example]:
    return read_examples(nlp, corpus, split, list(sources.languages), sources.limit)
