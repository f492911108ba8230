"""What every component promises, whatever it does. A factory without a subject fails the first test."""

import pickle
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import fix_random_seed

from tests import tiny

# The odd texts have a long word of a letter that the tiny vocabulary lacks.
pytestmark = pytest.mark.filterwarnings("ignore:.XNER-W141")

ODD_TEXTS = [
    "",
    " ",
    "\n\n\t ",
    "x" * 10_000,
    "😀👩‍👩‍👧 Maria 😀",
    "Mixed Кириллица 漢字 עברית العربية",
    "قال الرئيس إن ماريا سانتوس فازت",
    "nul\x00in\x00text",
    "\u200b\u200e\ufeff",
    "\u200d\u0301",
]


class Subject(NamedTuple):
    """A factory with settings that differ inside.

    make: Takes the checkpoint and settings of the component, gives a pipeline that has learnt nothing.
    examples: Training examples, anew at every call.
    doc: A document of any text as the component reads it.
    """

    factory: str
    make: Callable[..., Language]
    examples: Callable[[Language], list[Example]]
    doc: Callable[[Language, str], Doc]
    n_steps: int
    rate: float


def plain_doc(nlp: Language, text: str) -> Doc:
    return nlp.make_doc(text)


def parallel_doc(nlp: Language, text: str) -> Doc:
    """Its source is another sentence with two entities."""
    english, entities, _ = tiny.SENTENCES[0]
    return tiny.parallel(nlp, english, entities, text)


def tagger_examples(nlp: Language) -> list[Example]:
    """The sentences, and their texts as unlabelled Spanish."""
    return [*tiny.make_examples(nlp), *tiny.make_unlabelled(nlp, tiny.TEXTS)]


def router_examples(nlp: Language) -> list[Example]:
    return tiny.make_examples(nlp, known_language=False)


def projector_examples(nlp: Language) -> list[Example]:
    """The sentences, whose sources are the same sentences with entities."""
    examples = tiny.make_examples(nlp)
    docs = [tiny.parallel(nlp, text, entities) for text, entities, _ in tiny.SENTENCES]
    return [Example(doc, eg.reference) for doc, eg in zip(docs, examples, strict=True)]


def make_router(checkpoint, config=None) -> Language:
    nlp = tiny.make_identifier(checkpoint)
    nlp.add_pipe("cluster_router", config=config or {})
    nlp.config["initialize"]["components"]["cluster_router"] = {"grouping": tiny.GROUPING}
    return nlp


def make_two_readers(checkpoint, config=None) -> Language:
    own = {"@misc": "spacy_xner.augmented_tuning.v1", "refresh_every": 3}
    return tiny.make_bilstm((), {"objectives": {"own": own}, **(config or {})}, dense_width=6)


def with_head(config):
    return lambda checkpoint, settings=None: tiny.make_nlp(checkpoint, {**config, **(settings or {})})


CRF = {"model": {"head": tiny.CRF_HEAD}}
TAGGER = ("transformer_ner", tagger_examples, plain_doc, 60, 0.02)
SUBJECTS = {
    name: Subject(factory, make, examples, doc, n_steps, rate)
    for name, make, (factory, examples, doc, n_steps, rate) in [
        ("softmax", tiny.make_nlp, TAGGER),
        # Loaded ones share their frozen layers.
        ("softmax-frozen", lambda *args: tiny.make_nlp(*args, n_frozen_layers=1), TAGGER),
        ("softmax-iob1", with_head({"scheme": "IOB1"}), TAGGER),
        ("crf", with_head(CRF), TAGGER),
        ("crf-bioes", with_head({**CRF, "scheme": "BIOES"}), TAGGER),
        (
            "bilstm",
            lambda checkpoint, config=None: tiny.make_bilstm(("maria", "nokia"), config),
            ("bilstm_crf_ner", tagger_examples, plain_doc, 60, 0.02),
        ),
        ("two readers", make_two_readers, ("bilstm_crf_ner", tagger_examples, plain_doc, 30, 0.02)),
        (
            "identifier",
            tiny.make_identifier,
            ("language_identifier", router_examples, plain_doc, 40, 0.02),
        ),
        ("router", make_router, ("cluster_router", router_examples, plain_doc, 0, 0)),
        ("similarity", tiny.make_projector, ("entity_projector", projector_examples, parallel_doc, 0, 0)),
        ("aligner", tiny.make_aligner, ("entity_projector", tiny.triples, parallel_doc, 100, 0.01)),
    ]
}


class Learned(NamedTuple):
    subject: Subject
    nlp: Language

    @property
    def name(self) -> str:
        return self.nlp.pipe_names[-1]

    def docs(self) -> list[Doc]:
        own = [example.predicted for example in self.subject.examples(self.nlp)]
        odd = [self.subject.doc(self.nlp, text) for text in ODD_TEXTS]
        return [odd[0], *own, *odd[1:]]


@pytest.fixture(scope="module", params=SUBJECTS)
def learned(request, checkpoint) -> Learned:
    """A pipeline whose last component has learnt something; do not change it."""
    subject = SUBJECTS[request.param]
    fix_random_seed(0)
    nlp = subject.make(checkpoint)
    teach(subject, nlp, subject.n_steps)
    return Learned(subject, nlp)


def teach(subject: Subject, nlp: Language, n_steps: int) -> list[dict[str, float]]:
    """Train the subject. RETURNS: Losses by component and step."""
    return tiny.teach(nlp, subject.examples(nlp), n_steps, subject.rate)


def written(doc: Doc) -> dict[str, Any]:
    """All that components write on a document."""
    names = ("language", "language_scores", "cluster", "cluster_score", "projection")
    spans = {
        key: ([(span.start, span.end, span.label_) for span in group], dict(group.attrs))
        for key, group in doc.spans.items()
    }
    entities = [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]
    return {name: doc._.get(name) for name in names} | {
        "text": doc.text, "entities": entities, "spans": spans, "looked at": doc.has_annotation("ENT_IOB")
    }  # fmt: skip


def assert_alike(a: Any, b: Any) -> None:
    """Equal but for the last digits of numbers."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_alike(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_alike(one, other)
    elif isinstance(a, (float, numpy.floating, numpy.ndarray)):
        numpy.testing.assert_allclose(a, b, atol=1e-4)
    else:
        assert a == b


def test_every_factory_is_a_subject():
    own = {
        entry.name for entry in entry_points(group="spacy_factories") if entry.value.startswith("spacy_xner.")
    }
    # That one has no model; tests/test_library.py holds it to the same promises.
    own.remove("library_language_identifier")
    assert own == {subject.factory for subject in SUBJECTS.values()} == SETTINGS.keys()


@pytest.mark.parametrize("factory", sorted({subject.factory for subject in SUBJECTS.values()}))
def test_a_factory_needs_no_config(factory):
    nlp = spacy.blank("xx")
    pipe = nlp.add_pipe(factory)
    assert spacy.blank("xx").from_config(nlp.config).pipe_names == [factory]
    # Without labels or a grouping it cannot do a thing, and says what to do.
    doc = nlp.make_doc("Maria")
    doc._.source = doc.copy()
    with pytest.raises(ValueError, match=r"XNER(301|406)"):
        pipe(doc)


def test_something_is_written(learned):
    docs = [example.predicted for example in learned.subject.examples(learned.nlp)]
    before = [written(doc) for doc in docs]
    after = [written(doc) for doc in learned.nlp.pipe(docs)]
    assert sum(a != b for a, b in zip(before, after, strict=True)) >= len(docs) / 2


@pytest.mark.parametrize("form", ["disk", "bytes"])
def test_a_reloaded_pipe_is_the_same(learned, form, tmp_path):
    fix_random_seed(1)  # so that forgotten weights cannot match by luck
    if form == "disk":
        learned.nlp.to_disk(tmp_path)
        again = spacy.load(tmp_path)
    else:
        again = spacy.blank("xx").from_config(learned.nlp.config).from_bytes(learned.nlp.to_bytes())
    assert again.get_pipe(learned.name).to_bytes() == learned.nlp.get_pipe(learned.name).to_bytes()
    for a, b in zip(
        learned.nlp.pipe(learned.docs()), again.pipe(learned._replace(nlp=again).docs()), strict=True
    ):
        assert_alike(written(a), written(b))


def test_pipe_equals_call_and_two_processes(learned):
    called = [written(learned.nlp(doc)) for doc in learned.docs()]
    # Batches with empty documents beside others, and the last one smaller.
    for options in ({"batch_size": 4}, {"batch_size": 100}, {"n_process": 2, "batch_size": 4}):
        for own, doc in zip(called, learned.nlp.pipe(learned.docs(), **options), strict=True):
            assert_alike(own, written(doc))


def test_one_bad_document_loses_itself_only(learned, monkeypatch):
    pipe = learned.nlp.get_pipe(learned.name)
    method = "predict" if hasattr(pipe, "predict") else "__call__"
    works = getattr(type(pipe), method)

    def fail(self, given):
        docs = [given] if isinstance(given, Doc) else list(given)
        if any(doc.text.startswith("bad") for doc in docs):
            raise RuntimeError("no such text")
        return works(self, given if isinstance(given, Doc) else docs)

    monkeypatch.setattr(type(pipe), method, fail)
    docs = [learned.nlp(doc) for doc in learned.docs()]
    bad = [learned.subject.doc(learned.nlp, f"bad {i}") for i in range(3)]
    mixed = [bad[0], *learned.docs()[:3], *bad[1:], *learned.docs()[3:]]
    with pytest.raises(RuntimeError, match="no such text"):
        list(learned.nlp.pipe(mixed))
    reported = []
    handler = lambda name, proc, docs, error: reported.append((name, proc, docs, str(error)))  # noqa: E731
    monkeypatch.setattr(pipe, "error_handler", handler, raising=False)
    mixed = [bad[0], *learned.docs()[:3], *bad[1:], *learned.docs()[3:]]
    for a, b in zip(docs, learned.nlp.pipe(mixed), strict=True):
        assert_alike(written(a), written(b))
    assert reported == [(learned.name, pipe, [doc], "no such text") for doc in bad]


def test_processes_that_are_spawned_get_it_whole(learned):
    # They do on macOS and Windows; forked ones, as above, share what there is.
    nlp = pickle.loads(pickle.dumps(learned.nlp))
    for own, doc in zip(map(learned.nlp, learned.docs()), map(nlp, learned.docs()), strict=True):
        assert_alike(written(own), written(doc))


def test_loaded_models_go_to_other_processes(learned, tmp_path):
    learned.nlp.to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    models = [pipe.model for _, pipe in nlp.pipeline if hasattr(pipe, "model")]
    assert models
    for model in models:
        assert pickle.loads(pickle.dumps(model)).to_bytes() == model.to_bytes()
    again = learned._replace(nlp=pickle.loads(pickle.dumps(nlp)))
    for own, doc in zip(map(learned.nlp, learned.docs()), map(again.nlp, again.docs()), strict=True):
        assert_alike(written(own), written(doc))


def test_text_comes_out_as_it_went_in(learned):
    for doc, text in zip(
        learned.nlp.pipe(learned.subject.doc(learned.nlp, t) for t in ODD_TEXTS), ODD_TEXTS, strict=True
    ):
        assert doc.text == text
        assert all(not ent[0].is_space and not ent[-1].is_space for ent in doc.ents)


def test_nothing_to_read_is_answered(learned):
    pipe = learned.nlp.get_pipe(learned.name)
    assert list(learned.nlp.pipe([])) == list(pipe.pipe([])) == []
    for docs in ([""], ["", " "]):
        for doc in learned.nlp.pipe(learned.subject.doc(learned.nlp, text) for text in docs):
            assert not doc.ents
            assert doc._.cluster is None
    if hasattr(pipe, "predict"):
        assert list(pipe.predict([])) == []
    if pipe.is_trainable:
        assert set(pipe.update([], losses={}).values()) <= {0.0}
        if hasattr(pipe, "add_gradients"):
            with pytest.raises(TypeError, match=f"{type(pipe).__name__}.update"):
                pipe.update(learned.docs())


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign"])
def test_damaged_files_are_a_coded_error(learned, tmp_path, damage):
    learned.nlp.to_disk(tmp_path)
    files = sorted(path for path in (tmp_path / learned.name).rglob("*") if path.is_file())
    assert files
    for path in files:
        content = path.read_bytes()
        if damage == "missing":
            path.unlink()
        elif damage == "truncated":
            path.write_bytes(content[: len(content) // 2])
        else:
            path.write_bytes(b"\x93NUMPY foreign")
        with pytest.raises(ValueError, match=r"XNER(302|330|403)"):
            spacy.load(tmp_path)
        path.write_bytes(content)
    spacy.load(tmp_path)


def test_weights_are_stored_without_pickle(learned):
    assert b"torch._utils" not in learned.nlp.get_pipe(learned.name).to_bytes()


class Setting(NamedTuple):
    """A value other than the default, and the settings under which it shows."""

    value: Any
    among: Mapping[str, Any] = MappingProxyType({})


TAGGER_SETTINGS = {
    "scheme": Setting("IOB1"),
    "clusters": Setting(["2"]),
    "spans_key": Setting("own"),
    "confidence": Setting(False),
    "threshold": Setting(1.0),
    "overwrite": Setting(True),
    "objectives": Setting({"own": {"@misc": "spacy_xner.augmented_tuning.v1", "target_reader": False}}),
    "scorer": Setting(None),
}
FAR = {"threshold": 1.0, "fallback": "asian"}
SETTINGS: dict[str, dict[str, Setting]] = {
    "transformer_ner": TAGGER_SETTINGS,
    "bilstm_crf_ner": TAGGER_SETTINGS,
    "language_identifier": {
        "level": Setting("sentence"),
        "min_probability": Setting(1.0),
        "scorer": Setting(None),
    },
    "cluster_router": {
        "threshold": Setting(1.0),
        "fallback": Setting("asian", {"threshold": 1.0, "fallback_threshold": 1.0}),
        "fallback_threshold": Setting(1.0, FAR),
    },
    "entity_projector": {
        "suppressed": Setting(["LOC"]),
        "min_probability": Setting(1.0),
        "back_projection": Setting(True, {"keep_incomplete": True}),
        "keep_incomplete": Setting(True, {"min_probability": 1.0}),
        "spans_key": Setting("own"),
        "scorer": Setting(None),
    },
}


@pytest.mark.parametrize("factory", SETTINGS)
def test_every_setting_is_tried(factory):
    nlp = spacy.blank("xx")
    nlp.add_pipe(factory)
    own = nlp.get_pipe_config(factory).keys() - {"factory", "model", "nlp", "name"}
    assert own == SETTINGS[factory].keys()


@pytest.mark.parametrize(("factory", "setting"), [(f, s) for f, own in SETTINGS.items() for s in own])
def test_every_setting_shows(checkpoint, factory, setting):
    value, among = SETTINGS[factory][setting]
    subject = next(subject for subject in SUBJECTS.values() if subject.factory == factory)
    found = []
    for config in (among, {**among, setting: value}):
        fix_random_seed(0)
        found.append(observe(subject, subject.make(checkpoint, config)))
    with pytest.raises(AssertionError):
        assert_alike(*found)


def observe(subject: Subject, nlp: Language) -> list[Any]:
    """RETURNS: Losses, what is written on documents of one cluster and two sentences, and the scores."""
    losses = teach(subject, nlp, min(subject.n_steps, 5))
    nlp.add_pipe("sentencizer", first=True)
    nlp.add_pipe("entity_ruler", first=True).add_patterns([{"label": "ODD", "pattern": "won"}])
    docs = [subject.doc(nlp, text) for text in ("Maria won. Она уехала.", *tiny.TEXTS)]
    for doc in docs:
        if "cluster_router" not in nlp.pipe_names:
            doc._.cluster = "1"
    return [losses, [written(doc) for doc in nlp.pipe(docs)], sorted(nlp.evaluate(subject.examples(nlp)))]
