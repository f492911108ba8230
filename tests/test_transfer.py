"""Transfer from labels in some languages to text in others: stages, data, choices, and what is refused."""

import json
import shutil
import warnings
from dataclasses import replace

import pytest
import spacy

from spacy_xner.cli import xner
from spacy_xner.corpus.docs import read_docs
from spacy_xner.errors import XnerError
from spacy_xner.routes import transfer as routes
from spacy_xner.routes.transfer import stage_names, training_overrides, transfer_languages
from spacy_xner.routes.transfer_data import Transfer, choose_sources, find_risks, write_corpus
from spacy_xner.training import config_path

from tests import tiny
from tests.cli import invoke


@pytest.fixture(scope="module")
def settings(toy_corpus, checkpoint):
    """A transfer from English to Russian on the tiny sentences; `out` is to be replaced."""
    return Transfer(
        toy_corpus, toy_corpus, ("en",), ("ru",), encoder=str(checkpoint), frozen=1, epochs=2,
        learn_rate=0.01, precision="float32",
    )  # fmt: skip


def run(settings, **callbacks):
    """Transfer, with the warnings that so small a corpus has."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = transfer_languages(settings, **callbacks)
    return report, [str(w.message) for w in caught if "XNER-W65" in str(w.message)]


@pytest.fixture(scope="module")
def done(settings, tmp_path_factory):
    """A finished transfer: its settings, report, warnings, stages and risks; do not change it."""
    finished = replace(settings, out=tmp_path_factory.mktemp("transfer") / "out")
    stages, risks = [], []
    report, caught = run(finished, on_stage=stages.append, on_risks=risks.extend)
    return finished, report, caught, stages, risks


def test_a_transfer_makes_one_pipeline_and_a_report(done):
    finished, report, caught, stages, risks = done
    assert stages == ["corpus", "teacher", "pipeline"] == ["corpus", *stage_names(1)]
    assert sorted(path.name for path in finished.out.iterdir()) == [
        "corpus", "corpus.json", "pipeline", "pipeline.json", "report.json", "report.md", "risks.json",
        "teacher", "teacher.json",
    ]  # fmt: skip
    assert [code[:11] for code in caught] == ["[XNER-W651]", "[XNER-W652]"]
    nlp = spacy.load(finished.out / "pipeline")
    assert nlp.pipe_names == ["ner"]
    assert nlp.get_pipe("ner").labels == ("LOC", "ORG", "PER")
    assert [row[0] for row in risks] == [row[0] for row in report.lines] == ["ru"]
    written = json.loads((finished.out / "report.json").read_text())
    assert set(written["targets"]["ru"]) == {"confidence", "density", "agreement"}
    assert "| ru |" in report.path.read_text()
    assert [line["step"] for line in json.loads((finished.out / "teacher.json").read_text())["epochs"]]
    assert not [path.name for path in (finished.out / "pipeline").iterdir() if path.name.startswith(".")]


def test_the_labels_of_a_target_are_not_there_to_be_read(done):
    finished = done[0]
    vocab = spacy.blank("xx").vocab
    [doc] = read_docs(finished.out / "corpus" / "ru-text-train.spacy").get_docs(vocab)
    assert doc.text == tiny.TEXTS[2]
    assert not doc.has_annotation("ENT_IOB")
    labelled = list(read_docs(finished.out / "corpus" / "en-gold-train.spacy").get_docs(vocab))
    assert sum(len(doc.ents) for doc in labelled) == 4


def test_the_student_learns_from_the_teacher_and_the_teacher_from_labels_alone(settings, tmp_path):
    alone = training_overrides(settings, tmp_path, None)
    assert "components.ner.objectives" not in alone
    assert "vars.unlabelled" not in alone
    taught = training_overrides(settings, tmp_path, tmp_path / "teacher")
    assert taught["vars.unlabelled"] == ["ru"]
    assert taught["corpora.train.languages"] == ["en", "ru"]
    assert taught["corpora.dev.languages"] == ["en"]
    objective = taught["components.ner.objectives"]["taught"]
    assert (objective["teacher"], objective["share"]) == (str(tmp_path / "teacher"), 0.7)
    # It begins afresh.
    assert "paths.weights" not in taught


def test_a_second_start_does_nothing_again_and_an_interrupted_one_goes_on(done, tmp_path, monkeypatch):
    finished = replace(done[0], out=tmp_path / "out")
    shutil.copytree(done[0].out, finished.out)
    stages = []
    transfer_languages(finished, stages.append)
    assert stages == [f"{name}: done before" for name in ("corpus", "teacher", "pipeline")]
    (finished.out / "pipeline.json").unlink()
    before = (finished.out / "teacher" / "ner" / "model").stat().st_mtime_ns

    def stop(*args):
        (args[1].parent / "half").write_text("")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(routes, "train_pipeline", stop)
        with pytest.raises(KeyboardInterrupt):
            transfer_languages(finished)
    assert not list(finished.out.glob(".*"))
    assert (finished.out / "pipeline" / "meta.json").exists()
    stages.clear()
    transfer_languages(finished, stages.append)
    assert stages == ["corpus: done before", "teacher: done before", "pipeline"]
    assert (finished.out / "teacher" / "ner" / "model").stat().st_mtime_ns == before
    with pytest.raises(XnerError, match="XNER640"):
        transfer_languages(replace(finished, seed=7))


def test_a_changed_recipe_is_another_one(settings, tmp_path):
    config = tmp_path / "mine.cfg"
    config.write_text(config_path("transfer").read_text(encoding="utf-8"), encoding="utf-8")
    transfer = replace(settings, config=str(config))
    before = transfer.conditions
    assert transfer.conditions == before
    config.write_text(config.read_text(encoding="utf-8").replace('"viterbi"', '"argmax"'), encoding="utf-8")
    assert transfer.conditions != before


def test_risks_are_found_once_for_the_same_text(done, settings, tmp_path, monkeypatch):
    finished, *_, risks = done
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "ru.txt").write_text("Нокиа уехала\n" * 9, encoding="utf-8")
    transfer = replace(settings, out=tmp_path / "out", text=folder)
    transfer.out.mkdir()
    counted = []
    find = routes.find_risks
    monkeypatch.setattr(routes, "find_risks", lambda one: counted.append(one) or find(one))
    first = routes._look_at_risks(transfer)
    # How long is trained has no part in them.
    assert routes._look_at_risks(replace(transfer, epochs=9, seed=3)) == first
    assert len(counted) == 1
    # Another text, another limit, and a damaged file have.
    (folder / "ru.txt").write_text("Ана уехала в Москву\n", encoding="utf-8")
    assert routes._look_at_risks(transfer) != first
    routes._look_at_risks(replace(transfer, text_limit=1))
    assert len(counted) == 3
    for content in ("[", "[]", '{"inputs": 1}'):
        (transfer.out / "risks.json").write_text(content)
        routes._look_at_risks(transfer)
    assert len(counted) == 6
    whole = (transfer.out / "risks.json").read_text()
    (transfer.out / "risks.json").write_text(whole.replace('"unseen": ', '"unseen": null, "u": '))
    assert routes._look_at_risks(transfer)["ru"].unseen >= 0
    assert len(counted) == 7
    # The risks of a transfer that was done before are those that it printed.
    monkeypatch.setattr(routes, "find_risks", lambda one: pytest.fail("found again"))
    assert routes.tabulate_risks(routes._look_at_risks(finished)) == risks


def test_rounds_have_names():
    assert stage_names(0) == ["pipeline"]
    assert stage_names(3) == ["teacher", "round-1", "round-2", "pipeline"]


def test_plain_text_goes_before_the_corpus_and_needs_none(settings, tmp_path):
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "fi.txt").write_text("Maria won in Lisbon.\n\nIt rained.\n", encoding="utf-8")
    (folder / "ru.txt").write_text("Нокиа уехала\n" * 9, encoding="utf-8")
    transfer = replace(settings, targets=("fi", "ru"), text=folder, text_limit=5)
    transfer.check()
    with pytest.warns(UserWarning, match="XNER-W651"):
        assert write_corpus(transfer, tmp_path / "corpus") == {"en": 3, "fi": 2, "ru": 5}
    assert list(find_risks(transfer)) == ["fi", "ru"]


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("XNER660", {"targets": ()}),
        ("XNER642", {"targets": ("ru", "en")}),
        ("XNER661.*sw, fi", {"targets": ("ru", "sw", "fi"), "languages": ("en",)}),
        ("XNER106", {"languages": ("en", "sw")}),
    ],
)
def test_what_cannot_be_transferred_is_a_coded_error_before_any_work(code, changes, settings, tmp_path):
    transfer = replace(settings, out=tmp_path / "out", **changes)
    with pytest.raises(XnerError, match=code):
        transfer_languages(transfer)
    assert not (tmp_path / "out").exists()


def test_dictionaries_switch_words_in_every_training(settings, tmp_path):
    (tmp_path / "en-ru.txt").write_text("won выиграла\n", encoding="utf-8")
    (tmp_path / "en-ru.dict").write_text("no pair of words", encoding="utf-8")
    (tmp_path / "ru-en.txt").write_text("no pair of words", encoding="utf-8")
    transfer = replace(settings, dictionaries=tmp_path, targets=("ru", "fi"))
    transfer.check_dictionaries()
    for teacher in (None, tmp_path / "teacher"):
        augmenter = training_overrides(transfer, tmp_path, teacher)["corpora.train.augmenter"]
        assert augmenter["dictionaries"] == {"ru": str(tmp_path / "en-ru.txt")}
        assert (augmenter["@augmenters"], augmenter["language"]) == ("spacy_xner.code_switching.v1", "en")
    # A stage that was done without them is another one; results from before there were any stay.
    assert transfer.conditions["dictionaries"][0][0] == str(tmp_path / "en-ru.txt")
    assert "dictionaries" not in settings.conditions
    assert "corpora.train.augmenter" not in training_overrides(settings, tmp_path, None)
    (tmp_path / "en-ru.txt").unlink()
    with pytest.raises(XnerError, match=r"XNER603.*en-ru\.dict"):
        transfer.check_dictionaries()


def test_dictionaries_that_cannot_be_used_are_coded_errors_before_any_work(settings, tmp_path):
    transfer = replace(settings, out=tmp_path / "out", dictionaries=tmp_path / "dictionaries")
    with pytest.raises(XnerError, match=r"XNER667.*en-ru\.txt"):
        transfer_languages(transfer)
    (tmp_path / "dictionaries").mkdir()
    (tmp_path / "dictionaries" / "en-ru.txt").write_text("won\n", encoding="utf-8")
    with pytest.raises(XnerError, match=r"XNER603.*en-ru\.txt"):
        transfer_languages(transfer)
    with pytest.raises(XnerError, match=r"XNER666.*en, zh"):
        transfer_languages(replace(transfer, languages=("en", "zh")))
    assert not (tmp_path / "out").exists()


def test_text_with_tags_in_it_is_refused_and_plain_text_is_not(settings, tmp_path):
    transfer = replace(settings, targets=("fi",), text=tmp_path)
    for tagged in ("Maria\tB-PER\nwon\tO\n", "Maria I-PER\nwon O\n\n"):
        (tmp_path / "fi.txt").write_text(tagged, encoding="utf-8")
        with pytest.raises(XnerError, match=r"XNER662.*2 of its first 2.*Maria"):
            transfer.check()
    (tmp_path / "fi.txt").write_text("Maria won\nBlood group O\nO\n", encoding="utf-8")
    transfer.check()
    (tmp_path / "fi.txt").write_text("\n\n", encoding="utf-8")
    with (
        pytest.warns(UserWarning, match="XNER-W651"),
        pytest.raises(XnerError, match=r"XNER661.*fi"),
    ):
        write_corpus(transfer, tmp_path / "corpus")


def test_a_script_that_the_vocabulary_lacks_is_refused(settings, tmp_path):
    (tmp_path / "ka.txt").write_text("თბილისი დედაქალაქია\n", encoding="utf-8")
    transfer = replace(settings, targets=("ka", "ru"), text=tmp_path)
    with pytest.raises(XnerError, match=r"XNER663.*script of ka:"):
        find_risks(transfer)


@pytest.fixture(scope="module")
def identifier(checkpoint, tmp_path_factory):
    """The folder of a language identifier."""
    folder = tmp_path_factory.mktemp("transfer") / "identifier"
    nlp = tiny.make_identifier(checkpoint)
    tiny.train_identifier(nlp, 1)
    nlp.to_disk(folder)
    return folder


def test_sources_are_chosen_by_text_alone(settings, identifier, tmp_path):
    (tmp_path / "pt.txt").write_text("\n".join(tiny.TEXTS[:2]), encoding="utf-8")
    transfer = replace(settings, languages=("en", "zh"), targets=("pt",), text=tmp_path)
    assert list(choose_sources(transfer, 1, identifier)) == ["en"]
    (tmp_path / "pt.txt").write_text(tiny.TEXTS[3], encoding="utf-8")
    assert list(choose_sources(transfer, 2, identifier)) == ["zh", "en"]
    for n, path in ((0, identifier), (3, identifier), (1, None)):
        with pytest.raises(XnerError, match="XNER665"):
            choose_sources(transfer, n, path)


def test_the_verb_chooses_sources_trains_and_reports(settings, identifier, toy_corpus, checkpoint, tmp_path):
    (tmp_path / "pt.txt").write_text(tiny.TEXTS[3], encoding="utf-8")
    # Of the two sources one is chosen, so that its dictionary is enough.
    (tmp_path / "zh-pt.txt").write_text("联合国\tNações Unidas\n", encoding="utf-8")
    shown = invoke(
        xner, "transfer", toy_corpus, tmp_path / "out", "--language", "en,zh", "--targets", "pt",
        "--text", tmp_path, "--choose-sources", 1, "--identifier", identifier, "--encoder", checkpoint,
        "--dictionaries", tmp_path,
        "--frozen", 1, "--epochs", 1, "--rounds", 0, "--precision", "float32",
    )  # fmt: skip
    assert "nearest sentences: zh (" in shown
    assert "XNER-W651" in shown
    assert "report.md" in shown
    nlp = spacy.load(tmp_path / "out" / "pipeline")
    assert nlp.get_pipe("ner").labels == ("LOC", "ORG")
    switched = nlp.config["corpora"]["train"]["augmenter"]
    assert switched["dictionaries"] == {"pt": str(tmp_path / "zh-pt.txt")}
    assert switched["language"] == "zh"
    assert "XNER660" in invoke(xner, "transfer", toy_corpus, tmp_path / "o", "--targets", ",", code=1)
