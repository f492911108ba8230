"""Annotate files of any size: part by part, without losing or repeating a document after a stop."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from spacy.cli._util import setup_gpu
from spacy.language import Language
from spacy.tokens import Doc
from tqdm import tqdm

from spacy_xner.attributes import LANGUAGE_CODE, normal_language, register_attributes
from spacy_xner.deploy.annotations import Annotated, describe, merge_parts, output_format, write_part
from spacy_xner.deploy.texts import STANDARD_INPUT, Text, Texts
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import describe_file, hold, read_json, remove_folder, write_json
from spacy_xner.loading import load_pipeline
from spacy_xner.objectives.teacher import find_taggers
from spacy_xner.tagger.confidence import check_threshold
from spacy_xner.workers import share_by_ray


@dataclass(frozen=True)
class Settings:
    """How texts are annotated.

    pipeline: Folder or installed package.
    threshold: Entities with a lower probability are left out.
    batch_size: Documents a batch.
    n_process: Processes that annotate.
    part_size: Documents between two savings.
    """

    pipeline: str
    threshold: float = 0.0
    batch_size: int = 256
    n_process: int = 1
    part_size: int = 2000

    def load(self) -> Language:
        """Load the pipeline. RAISES: XNER420, XNER186, XNER189."""
        nlp = load_pipeline(self.pipeline)
        if self.threshold:
            for name, tagger in find_taggers(nlp).items():
                tagger.threshold = check_threshold(name, self.threshold, tagger.confidence)
        return nlp

    def annotate(self, nlp: Language, texts: Iterable[Text]) -> Iterator[Annotated]:
        """Annotate a stream, in order."""
        register_attributes()
        # A pipeline that finds languages takes the one that a row tells from the context.
        finds = any("doc._.language" in nlp.get_pipe_meta(name).assigns for name in nlp.pipe_names)
        pairs = (_tell_language(text, None if finds else nlp) for text in texts)
        options = {"batch_size": self.batch_size, "n_process": self.n_process}
        for doc, context in nlp.pipe(pairs, as_tuples=True, **options):
            yield Annotated(doc, context["fields"])


def annotate_file(
    texts: Texts, out: Path, settings: Settings, nlp: Language | None = None, *, show: bool = True
) -> int:
    """Annotate the texts of a file into another one.

    Every `part_size` documents are saved beside the output. After a stop the same call goes on behind the
    last part that is whole; standard input cannot be read again, and begins anew.

    nlp: The loaded pipeline, if there is one.
    show: Show a progress bar.
    RETURNS: The number of documents.
    RAISES: XNER702 if another process writes this file; XNER714 if a stopped run had other settings or
        another input; those of `Texts.read` and `Settings.load`.
    """
    kind, nlp = output_format(out), nlp or settings.load()
    parts = out.with_name(f"{out.name}.parts")
    with hold(out):
        done = _begin(parts, texts, settings)
        n_docs = sum(done)
        stream = islice(texts.read(nlp.vocab), n_docs, None)
        progress = tqdm(desc=out.name, unit=" docs", initial=n_docs, disable=None if show else True)
        annotated = settings.annotate(nlp, stream)
        while rows := list(_counted(islice(annotated, settings.part_size), progress.update)):
            write_part(rows, _part(parts, len(done)), kind)
            done.append(len(rows))
            # Last: a part that is counted is whole.
            write_json(parts / "done.json", done)
        progress.close()
        merge_parts([_part(parts, i) for i in range(len(done))], out, kind)
        remove_folder(parts)
    return sum(done)


def annotate_stream(texts: Texts, settings: Settings) -> None:
    """Annotate the texts of a file to standard output, as JSON lines."""
    nlp = settings.load()
    for row in settings.annotate(nlp, texts.read(nlp.vocab)):
        sys.stdout.write(json.dumps(describe(row), ensure_ascii=False, default=str) + "\n")
        sys.stdout.flush()


def _tell_language(text: Text, nlp: Language | None) -> tuple[str | Doc, dict[str, Any]]:
    """Tell the language of a text, if its row does.

    nlp: Makes a document that has the language.
    RETURNS: A text or document, and its context.
    """
    language = _told_language(text.fields)
    source = text.text
    if language is not None and nlp is not None:
        source = nlp.make_doc(source) if isinstance(source, str) else source
        source._.language = normal_language(language)
    return source, {"language": language, "fields": text.fields}


def _told_language(fields: dict[str, Any]) -> str | None:
    """The language that a row tells; anything that is no code of one is a field as any other."""
    language = fields.get("language")
    if isinstance(language, str) and LANGUAGE_CODE.fullmatch(language.replace("-", "_").lower()):
        return language
    return None


def _counted(rows: Iterable[Annotated], count: Callable[[int], Any]) -> Iterator[Annotated]:
    for row in rows:
        count(1)
        yield row


def _part(parts: Path, number: int) -> Path:
    return parts / f"part.{number:06}"


def _begin(parts: Path, texts: Texts, settings: Settings) -> list[int]:
    """Look at what a stopped run left. RETURNS: Documents of each finished part. RAISES: XNER714."""
    if texts.path == STANDARD_INPUT:
        remove_folder(parts)
    plan = {
        "settings": {key: value for key, value in asdict(settings).items() if key != "n_process"},
        "format": texts.kind,
        "field": texts.field,
        "input": [str(texts.path)] if texts.path == STANDARD_INPUT else describe_file(texts.path),
    }
    path = parts / "plan.json"
    if path.exists():
        if read_json(path) != plan:
            raise XnerError(Errors.XNER714.format(folder=parts))
        done = parts / "done.json"
        return list(read_json(done)) if done.exists() else []
    write_json(path, plan)
    return []


def annotate_folder(
    texts: Texts, out: Path, suffix: str, settings: Settings, *, ray_workers: int = 0, gpu: int = -1
) -> int:
    """Annotate every file of a folder into another folder; finished ones are left as they are.

    texts: The folder, with the format and the field of all its files.
    suffix: The end of the outputs' names, such as ".jsonl".
    ray_workers: Workers of a Ray cluster that share the files; 0 annotates in this process.
    gpu: GPU to compute on, -1 for the CPU; Ray's workers take one each.
    RETURNS: The number of files that were annotated now.
    RAISES: XNER710 for an empty folder, XNER715 without Ray, XNER716 for two files whose outputs would have
        the same name, and as `annotate_file`.
    """
    paths = sorted(path for path in texts.path.iterdir() if path.is_file() and not path.name.startswith("."))
    if not paths:
        raise XnerError(Errors.XNER710.format(path=texts.path, known="files to annotate"))
    targets: dict[Path, Path] = {}
    for shard in (texts._replace(path=path) for path in paths):
        _ = shard.kind
        target = out / f"{shard.stem}{suffix}"
        if target in targets:
            raise XnerError(Errors.XNER716.format(one=targets[target], other=shard.path, target=target))
        targets[target] = shard.path
    jobs = [
        {"source": str(path.resolve()), "out": str(target.resolve())}
        for target, path in targets.items()
        if not target.exists()
    ]
    annotator = FileAnnotator(settings, texts, show=not ray_workers, gpu=gpu)
    if ray_workers:
        share_by_ray(annotator, jobs, ray_workers, n_gpus=1 if gpu >= 0 else None)
    else:
        for job in jobs:
            annotator(**job)
    return len(jobs)


class FileAnnotator:
    """Annotates file after file with one pipeline, which is loaded with the first of them.

    texts: Format of the files, and the field or column with the text.
    show: Show a progress bar.
    gpu: GPU to compute on, -1 for the CPU.
    """

    def __init__(self, settings: Settings, texts: Texts, *, show: bool, gpu: int = -1) -> None:
        self.settings, self.texts, self.show, self.gpu = settings, texts, show, gpu
        self._nlp: Language | None = None

    def __call__(self, source: str, out: str) -> None:
        """Annotate a file unless that was done meanwhile; a stopped one is gone on with behind its parts."""
        if Path(out).exists():
            return
        if self._nlp is None:
            setup_gpu(self.gpu, silent=True)
            self._nlp = self.settings.load()
        texts = self.texts._replace(path=Path(source))
        annotate_file(texts, Path(out), self.settings, self._nlp, show=self.show)
