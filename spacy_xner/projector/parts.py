"""Parts of a silver corpus: each is projected and saved by itself, and all are put together at last."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from spacy.cli._util import setup_gpu
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from tqdm import tqdm

from spacy_xner.corpus.docs import make_doc, read_docs, sentence_of, write_docs
from spacy_xner.corpus.origins import learnt_corpora, mark_taught
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import read_json, write_bytes, write_json
from spacy_xner.loading import load_pipeline
from spacy_xner.projector.parallel import Part, TextPair, project_pairs
from spacy_xner.projector.settings import AlignerSettings, SilverSettings
from spacy_xner.projector.summary import Summary, record_pair
from spacy_xner.tokenizer import blank_pipeline

PROJECTOR = "entity_projector"


class PartWriter:
    """Projects part by part and saves each; its pipelines are loaded with the first part.

    settings: Settings of the corpus.
    folder: Folder of the parts.
    plan: Digest of the settings. A part that was saved under another one is not taken.
    gpu: Number of the GPU, -1 for the CPU.
    """

    def __init__(self, settings: SilverSettings, folder: Path, plan: str, gpu: int) -> None:
        self.settings = settings
        self.folder = folder
        self.plan = plan
        self.gpu = gpu
        self._pipelines: tuple[Language, Language] | None = None
        # Corpora that the teacher goes back to, which stand on every document.
        self._taught: set[str] = set()

    def write(self, part: Part, tell: Callable[[str], None] = lambda message: None) -> str:
        """Project a part unless that was done before. RETURNS: Its name."""
        if self.read(part.name) is not None:
            tell(f"Part {part.name}: done before")
            return part.name
        if self._pipelines is None:
            setup_gpu(self.gpu, silent=True)
            self._pipelines = load_pipeline(self.settings.teacher), make_projector(self.settings.aligner)
            self._taught = learnt_corpora(self._pipelines[0].meta, self._pipelines[0].config)
        progress = tqdm(part.pairs, desc=f"part {part.name}", unit=" pairs", leave=False, disable=None)
        docs, summary = project_part(progress, *self._pipelines, self.settings)
        for doc in docs:
            mark_taught(doc, self._taught)
        if docs:
            write_docs(docs, self.docs_path(part.name))
        # Last: a part with a summary is done.
        content = {"plan": self.plan, "shard": part.shard, **summary.to_json()}
        write_json(self.summary_path(part.name), content)
        return part.name

    def write_shard(self, path: str) -> None:
        """Project a shard of the text unless that was done before."""
        self.write(self.settings.text.shard(Path(path)))

    def read(self, name: str) -> dict[str, Any] | None:
        """Read the summary of a part; None if it was not saved with these settings."""
        path = self.summary_path(name)
        content = read_json(path) if path.exists() else {}
        return content if content.get("plan") == self.plan else None

    def summary_path(self, name: str) -> Path:
        """File with the counts and examples of a part."""
        return self.folder / f"part.{name}.json"

    def docs_path(self, name: str) -> Path:
        """File with the documents of a part; there is none for a part without any."""
        return self.folder / f"part.{name}.spacy"


def project_part(
    pairs: Iterable[TextPair], teacher: Language, projector: Language, settings: SilverSettings
) -> tuple[list[Doc], Summary]:
    """Project pairs. RETURNS: Documents for the corpus, and what became of all pairs."""
    summary = Summary()
    counts = summary.counts

    def counted() -> Iterator[TextPair]:
        for pair in pairs:
            counts.pairs += 1
            if pair.is_whole:
                yield pair
            else:
                summary.missing.append(pair.number)

    languages = settings.language, settings.source_language
    complete = [
        plain_copy(doc)
        for pair, doc in project_pairs(counted(), teacher, projector, *languages)
        if record_pair(summary, pair, doc, settings.n_examples)
    ]
    n_full = sum(bool(doc.ents) for doc in complete)
    docs = list(limit_empty(complete, n_full, settings.empty_share))
    counts.incomplete_pairs = len(summary.missing)
    counts.kept, counts.kept_without_entities = len(docs), len(docs) - n_full
    counts.left_out = len(complete) - len(docs)
    counts.labels.update(ent.label_ for doc in docs for ent in doc.ents)
    return docs, summary


def plain_copy(doc: Doc) -> Doc:
    """Copy text, entities and language, without the source and the fates of its entities."""
    return make_doc(doc.vocab, sentence_of(doc), doc._.language)


def limit_empty(docs: Iterable[Doc], n_full: int, share: float) -> Iterator[Doc]:
    """Leave out sentences without entities until they are at most a share of all.

    n_full: Sentences with entities.
    """
    room = float("inf") if share >= 1 else share / (1 - share) * n_full
    for doc in docs:
        room -= not doc.ents
        if doc.ents or room >= 0:
            yield doc


def merge_parts(writer: PartWriter, names: Iterable[str], corpus: Path) -> Summary:
    """Put the parts together and write the corpus, unless it would be empty.

    names: Names of all parts. The corpus is not touched if one is not there.
    RAISES: XNER512.
    """
    total = Summary()
    merged = DocBin(attrs=["ENT_IOB", "ENT_TYPE"], store_user_data=True)
    for name in names:
        content = writer.read(name)
        if content is None:
            raise XnerError(Errors.XNER512.format(name=name, folder=writer.folder))
        summary = Summary.from_json(content)
        total.add(summary, writer.settings.n_examples, content["shard"])
        if summary.counts.kept:
            merged.merge(read_docs(writer.docs_path(name)))
    if len(merged):
        write_bytes(corpus, merged.to_bytes())
    return total


def make_projector(settings: AlignerSettings) -> Language:
    """Load or build a pipeline that projects. RAISES: XNER420, XNER421."""
    if settings.pipeline:
        nlp = load_pipeline(settings.pipeline, PROJECTOR)
    else:
        nlp = blank_pipeline()
        tok2vec = {
            "@architectures": "spacy_xner.TransformerEncoder.v1", "name": settings.encoder,
            "n_layers": settings.layer, "n_frozen_layers": settings.layer, "pooling": "mean",
            "precision": settings.precision,
        }  # fmt: skip
        nlp.add_pipe(PROJECTOR, config={"model": {"tok2vec": tok2vec}})
        nlp.initialize()
    pipe: Any = nlp.get_pipe(PROJECTOR)
    for name in ("suppressed", "min_probability", "back_projection"):
        value = getattr(settings, name)
        if value is not None:
            setattr(pipe, name, list(value) if name == "suppressed" else value)
    # A sentence that lost an entity would teach that there is none.
    pipe.keep_incomplete = False
    return nlp
