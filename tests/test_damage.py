"""A model that is not what it says does not load: checksums, labels, routes, sizes, vectors, format 1."""

import json
import os
import random
import shutil
import warnings
from pathlib import Path

import numpy
import pytest
import spacy
import srsly
import torch

from spacy_xner.errors import XnerError
from spacy_xner.storage import MANIFEST, Manifest, checksum_vectors
from spacy_xner.tokenizer import GuardedTokenizer

from tests import tiny
from tests.attack import cases, damage
from tests.attack.pipelines import make_pipelines, read_texts
from tests.attack.trial import BAD, try_case

FORMAT1 = Path(__file__).parent / "fixtures" / "format1"


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory):
    """Folders of tiny pipelines by name; damage copies of them."""
    n_threads = torch.get_num_threads()
    yield make_pipelines(tmp_path_factory.mktemp("pipelines"))
    torch.set_num_threads(n_threads)


@pytest.fixture
def copy(pipelines, tmp_path):
    """Copies a pipeline, damages it and gives the folder."""

    def make(name, change=None):
        place = tmp_path / name
        shutil.copytree(pipelines[name], place)
        if change is not None:
            change(place)
        return place

    return make


def refuses(code, place):
    """Loading raises this code, before there is any text."""
    with pytest.raises(XnerError, match=rf"^\[{code}\]"):
        spacy.load(place)


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("tagger", "ner/model"),
        ("bilstm", "ner/model"),
        ("routed", "language_identifier/model"),
        ("routed", "cluster_router/means.safetensors"),
        ("projector", "entity_projector/model"),
        ("aligner", "entity_projector/model"),
    ],
)
def test_a_flipped_bit_is_refused(pipelines, copy, name, where):
    size = (pipelines[name] / where).stat().st_size
    refuses("XNER330", copy(name, damage.flip(where, size // 2, 0)))


def test_a_flipped_bit_in_a_manifest_is_refused(copy):
    where = f"ner/{MANIFEST}"
    refuses("XNER330", copy("bilstm", damage.rewrite(where, lambda b: damage.swap(b, "LOC", "LOB"))))


def test_weights_of_the_same_shape_are_refused(pipelines, copy):
    place = copy("tagger", damage.copy_over(pipelines["other"] / "ner" / "model", "ner/model"))
    refuses("XNER330", place)


def test_a_later_format_is_refused(copy):
    place = copy("tagger", damage.rewrite_json(f"ner/{MANIFEST}", lambda m: m.update(format=3)))
    refuses("XNER331", place)


@pytest.mark.parametrize("form", ["checksums anew", "format 1"])
@pytest.mark.parametrize(
    ("code", "cfg"),
    [
        ("XNER333", {"labels": ["PER", "ORG", "LOC"]}),
        ("XNER333", {"labels": ["CITY", "FIRM", "HUMAN"]}),
        ("XNER333", {"labels": ["LOC", "ORG", "PER", "ZOO"]}),
        ("XNER333", {"labels": []}),
        ("XNER333", {"scheme": "BIOES"}),
        ("XNER333", {"scheme": "XX"}),
        ("XNER335", {"labels": "ABC"}),
        ("XNER335", {"labels": [1, 2, 3]}),
        ("XNER335", {"labels": ["LOC", "LOC"]}),
        ("XNER335", {"labels": {}}),
    ],
)
def test_labels_that_are_not_the_heads_are_refused(copy, form, code, cfg):
    refuses(code, copy("tagger", damage.rewrite_cfg("ner", lambda c: c.update(cfg), form)))


@pytest.mark.parametrize("form", ["checksums anew", "format 1"])
@pytest.mark.parametrize("labels", [["en", "ru"], ["de", "en", "ru", "zh"]])
def test_languages_that_are_not_the_output_layers_are_refused(copy, form, labels):
    change = damage.rewrite_cfg("language_identifier", lambda c: c.update(labels=labels), form)
    refuses("XNER334", copy("routed", change))


def test_languages_in_another_order_are_refused(copy):
    change = damage.rewrite_cfg("language_identifier", lambda c: c["labels"].reverse(), "as it is")
    refuses("XNER330", copy("routed", change))


@pytest.mark.parametrize("form", ["checksums anew", "format 1"])
def test_a_cluster_that_the_grouping_lacks_is_refused(copy, form):
    def rename(grouping):
        grouping["clusters"]["europman"] = grouping["clusters"].pop("european")

    refuses("XNER410", copy("routed", damage.rewrite_cfg("cluster_router", rename, form)))


@pytest.mark.parametrize(
    ("code", "clusters"), [("XNER410", '["nowhere"]'), ("XNER344", "[]"), ("XNER344", '[""]')]
)
def test_clusters_that_nothing_is_sent_to_are_refused(copy, code, clusters):
    place = copy("routed")
    config = (place / "config.cfg").read_bytes()
    before = b'clusters = ["asian"]'
    (place / "config.cfg").write_bytes(config.replace(before, f"clusters = {clusters}".encode()))
    assert before in config
    refuses(code, place)


def test_clusters_are_compared_in_bytes_too(pipelines):
    nlp = spacy.load(pipelines["routed"])
    stored = nlp.to_bytes()
    nlp.get_pipe("ner_asian").clusters = ["nowhere"]
    with pytest.raises(XnerError, match="XNER410"):
        nlp.from_bytes(stored)


def test_a_tagger_that_is_left_out_is_warned_of_and_one_that_is_disabled_is_not(pipelines):
    with pytest.warns(UserWarning, match=r"XNER-W331.*asian"):
        part = spacy.load(pipelines["routed"], exclude=["ner_asian"])
    assert part.pipe_names == ["language_identifier", "cluster_router", "ner_european"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spacy.load(pipelines["routed"], disable=["ner_asian"])
        spacy.load(pipelines["routed"])


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("XNER336", lambda means: means.update(en=means["en"] * float("nan"))),
        ("XNER411", lambda means: means.update(ja=means["en"])),
        ("XNER411", lambda means: [means.update({key: means[key][:5]}) for key in list(means)]),
    ],
)
@pytest.mark.parametrize("form", ["checksums anew", "format 1"])
def test_means_that_do_not_fit_are_refused(copy, form, code, change):
    refuses(code, copy("routed", damage.rewrite_means(change, form)))


NETWORKS = [
    ("XNER337", lambda cfg, tensors: damage.recast(tensors, "float16")),
    ("XNER337", lambda cfg, tensors: damage.recast(tensors, "float64")),
    ("XNER336", lambda cfg, tensors: damage.spoil(tensors, float("nan"))),
    ("XNER338", lambda cfg, tensors: damage.lengthen(tensors)),
    ("XNER338", lambda cfg, tensors: cfg["config"].update(num_hidden_layers=10**6)),
    ("XNER338", lambda cfg, tensors: cfg["config"].update(vocab_size=10**12)),
    ("XNER338", lambda cfg, tensors: cfg["config"].update(num_hidden_layers=1)),
    ("XNER339", lambda cfg, tensors: cfg["special_ids"].update(cls=10**6)),
    ("XNER339", lambda cfg, tensors: cfg["special_ids"].update(pad=-7)),
    ("XNER339", lambda cfg, tensors: cfg.update(tokenizer=damage.add_pieces(cfg["tokenizer"]))),
    ("XNER341", lambda cfg, tensors: cfg.update(tokenizer="{}")),
    ("XNER341", lambda cfg, tensors: cfg.update(tokenizer="[[[[")),
    ("XNER302", lambda cfg, tensors: cfg["config"].update(num_attention_heads=0)),
]


@pytest.mark.parametrize("form", ["checksums anew", "format 1"])
@pytest.mark.parametrize(("code", "lie"), NETWORKS)
def test_a_network_that_is_not_what_it_says_is_refused_at_load(copy, form, code, lie):
    refuses(code, copy("tagger", damage.rewrite_network("ner", 0, lie, form)))


@pytest.mark.parametrize("where", ["ner/model", f"ner/{MANIFEST}", "tokenizer"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_not_read(copy, where, make):
    refuses("XNER340", copy("tagger", damage.replace(where, make)))


def test_a_link_to_a_file_is_read(pipelines, copy, tmp_path):
    place = copy("tagger")
    (place / "ner" / "model").rename(tmp_path / "elsewhere")
    (place / "ner" / "model").symlink_to(tmp_path / "elsewhere")
    assert read_texts(spacy.load(place)) == read_texts(spacy.load(pipelines["tagger"]))


@pytest.mark.parametrize(
    "change",
    [
        damage.rewrite_vectors(lambda array: array[::-1]),
        damage.rewrite_vectors(lambda array: array * 0),
        damage.rewrite_vectors(lambda array: array.astype("float64")),
        lambda folder: (folder / "vocab" / "key2row").unlink(),
    ],
)
def test_vectors_that_the_tagger_was_not_saved_with_are_refused(copy, change):
    refuses("XNER342", copy("bilstm", change))


@pytest.mark.parametrize("form", ["checksums anew", "format 1"])
@pytest.mark.parametrize("rows", [0, 2])
def test_vectors_with_less_rows_than_words_are_refused(copy, rows, form):
    def change(folder):
        damage.rewrite_vectors(lambda array: array[:rows])(folder)
        damage.rewrite_cfg("ner", lambda cfg: None, form)(folder)

    refuses("XNER343", copy("bilstm", change))


def test_vectors_that_are_not_numbers_are_refused_in_format_1(copy):
    def change(folder):
        damage.rewrite_vectors(lambda array: array * float("nan"))(folder)
        damage.rewrite_cfg("ner", lambda cfg: None, "format 1")(folder)

    refuses("XNER343", copy("bilstm", change))


def test_vectors_may_be_pruned_in_memory_and_left_out(pipelines, tmp_path):
    nlp = spacy.load(pipelines["bilstm"])
    before = checksum_vectors(nlp.vocab.vectors)
    nlp.vocab.prune_vectors(3)
    assert checksum_vectors(nlp.vocab.vectors) != before
    nlp.to_disk(tmp_path / "pruned")
    assert len(spacy.load(tmp_path / "pruned").vocab.vectors) == 3
    # Without a vocabulary there is nothing to compare: the first text says so, or finds what was filled in.
    nlp.to_disk(tmp_path / "bare", exclude=["vocab"])
    bare = spacy.load(tmp_path / "bare")
    with pytest.raises(XnerError, match="XNER614"):
        bare("Maria")
    bare.vocab.vectors = nlp.vocab.vectors
    assert [ent.text for ent in bare(tiny.TEXTS[0]).ents] == [ent.text for ent in nlp(tiny.TEXTS[0]).ents]


def test_rules_of_the_tokenizer_that_were_changed_are_refused(copy):
    place = copy("tagger")
    rules = srsly.msgpack_loads((place / "tokenizer").read_bytes())
    rules["infix_finditer"] = "o"
    (place / "tokenizer").write_bytes(srsly.msgpack_dumps(rules))
    refuses("XNER345", place)
    (place / "tokenizer").write_bytes(b"\xc1")
    refuses("XNER302", place)
    with pytest.raises(XnerError, match="XNER345"):
        tiny.blank().tokenizer.from_bytes(srsly.msgpack_dumps(rules))


def test_rules_of_the_tokenizer_without_checksum_are_read():
    tokenizer = tiny.blank().tokenizer
    assert isinstance(tokenizer, GuardedTokenizer)
    rules = srsly.msgpack_loads(tokenizer.to_bytes())
    del rules["checksum"]
    rules["infix_finditer"] = "y"
    tokenizer.from_bytes(srsly.msgpack_dumps(rules))
    assert [token.text for token in tokenizer("Toyota")] == ["To", "y", "ota"]


def test_a_setting_that_is_read_with_another_last_digit_is_no_change(copy):
    place = copy(
        "routed",
        damage.rewrite(
            "config.cfg", lambda b: damage.swap(b, "threshold = 0.5", "threshold = 0.5000000000000001")
        ),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spacy.load(place)


@pytest.mark.parametrize(
    ("name", "before", "after", "said"),
    [
        ("tagger", 'pooling = "first"', 'pooling = "mean"', "pooling was 'first' and is 'mean'"),
        ("tagger", 'clusters = ["*"]', 'clusters = ["a"]', "clusters was"),
        ("routed", "threshold = 0.5", "threshold = 0.9", "threshold was 0.5 and is 0.9"),
        ("projector", 'method = "span"', 'method = "mutual"', "method was 'span' and is 'mutual'"),
    ],
)
def test_settings_that_were_changed_are_warned_of(copy, name, before, after, said):
    place = copy(name, damage.rewrite("config.cfg", lambda b: damage.swap(b, before, after)))
    with pytest.warns(UserWarning, match=rf"XNER-W330.*{said}"):
        nlp = spacy.load(place)
    # Saved again it is what it says.
    nlp.to_disk(place)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spacy.load(place)


def test_a_manifest_tells_a_checksum_from_all_others():
    manifest = Manifest({"labels": ["A"]}, {"level": 0.1}, {"model": "x"}, "y")
    assert Manifest.from_bytes(manifest.to_bytes(), "ner") == manifest
    content = json.loads(manifest.to_bytes())
    content["settings"]["level"] = 0.2
    with pytest.raises(XnerError, match="XNER330"):
        Manifest.from_bytes(json.dumps(content).encode(), "ner")


@pytest.mark.parametrize("name", ["routed", "bilstm"])
@pytest.mark.parametrize("form", ["disk", "bytes"])
def test_a_pipeline_of_format_1_finds_what_it_found(tmp_path, name, form):
    place = tmp_path / name
    shutil.copytree(FORMAT1 / name, place)
    assert not list(place.rglob(MANIFEST))
    tiny.blank().tokenizer.to_disk(place / "tokenizer")
    nlp = spacy.load(place)
    if form == "bytes":
        message = srsly.msgpack_loads(nlp.to_bytes())
        for component in nlp.pipe_names:
            message[component] = srsly.msgpack_dumps(as_bytes_of_format_1(place / component))
        nlp = spacy.load(place).from_bytes(srsly.msgpack_dumps(message))
    expected = json.loads((FORMAT1 / "expected.json").read_text(encoding="utf-8"))[name]
    check(nlp, expected)
    # Saved again it is of format 2, and nothing of the old one is left.
    nlp.to_disk(place)
    assert {path.name for path in place.glob("*/*")} >= {MANIFEST}
    assert not {path.name for path in place.glob("*/*")} & {"cfg", "grouping.json"}
    check(spacy.load(place), expected)


def as_bytes_of_format_1(folder):
    """What the component's `to_bytes` gave in format 1: keys without endings."""
    names = {"grouping": "cfg"}
    return {names.get(path.stem, path.stem): path.read_bytes() for path in folder.iterdir()}


def check(nlp, expected):
    for row in expected:
        doc = nlp(row["text"])
        assert [[ent.start_char, ent.end_char, ent.label_] for ent in doc.ents] == row["entities"]
        assert (doc._.language, doc._.cluster) == (row["language"], row["cluster"])
        numpy.testing.assert_allclose(doc.spans["xner"].attrs["scores"], row["scores"], atol=1e-3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="damaged pipelines are loaded in forked processes")
def test_damage_of_all_kinds_is_coded_and_nothing_changes_silently(pipelines, tmp_path):
    every = list(cases.make_cases(pipelines, seed=0, n_flips=4))
    assert len(every) >= 600
    healthy = {name: read_texts(spacy.load(path)) for name, path in pipelines.items()}
    outcomes = {}
    for case in random.Random(0).sample(every, 60):
        key = (case.pipeline, case.kind, case.where)
        outcomes[key] = try_case(case, pipelines[case.pipeline], tmp_path / "case", healthy[case.pipeline])
    assert {key: outcome for key, outcome in outcomes.items() if outcome.name in BAD} == {}
    assert sum(outcome.name == "coded" for outcome in outcomes.values()) > 30
