"""The module of the factories: spaCy imports it in every process that makes a `Language`."""

import importlib
import json
import subprocess
import sys

import pytest
import spacy
from spacy.language import Language

from spacy_xner import factories

# A pipeline is made where nothing heavy can be imported after spaCy, and no other distribution's factories
# are seen: spacy-transformers' own import torch.
WATCH = """
import json, sys

import spacy

HEAVY = {"torch", "transformers", "tokenizers", "safetensors", "sklearn", "scipy"}


class Watcher:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            tried.append(name)
            raise ImportError(name)


tried = []
for name in [name for name in sys.modules if name.partition(".")[0] in HEAVY]:
    del sys.modules[name]
sys.meta_path.insert(0, Watcher())
seen = spacy.registry._entry_point_factories
shown = [point for point in seen._get_entry_points() if point.value.startswith("spacy_xner.")]
assert len(shown) == 6
seen._get_entry_points = lambda: shown
before = set(sys.modules)
ACTION
new = sorted(name for name in set(sys.modules) - before if name.startswith("spacy_xner"))
print(json.dumps({"tried": tried, "new": new}))
"""
FACTORIES = ["spacy_xner", "spacy_xner.factories", "spacy_xner.types"]
# The default config's logger is one of spacy-legacy: spaCy loads all others before it looks there.
LOGGER = [
    f"spacy_xner.{name}"
    for name in ("attributes", "averaging", "calibration", "errors", "logger", "scoring", "stability")
]
BOTH = sorted(FACTORIES + LOGGER)


def watch(action: str) -> dict[str, list[str]]:
    """Run code after `import spacy`. RETURNS: Heavy modules that were asked for, this package's modules."""
    script = WATCH.replace("ACTION", action)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("action", "modules"),
    [
        ("import spacy_xner", FACTORIES[:1]),
        ("import spacy_xner.factories", FACTORIES),
        ("spacy.blank('en')", BOTH),
        ("spacy.blank('en').add_pipe('sentencizer')", BOTH),
        ("spacy.info(); spacy.blank('xx').get_factory_meta('transformer_ner')", BOTH),
    ],
)
def test_a_language_imports_names_alone(action, modules):
    assert watch(action) == {"tried": [], "new": modules}


def test_a_component_is_imported_when_it_is_made():
    # The watcher sees what the components import, so that the test above can fail.
    seen = watch("try: spacy.blank('xx').add_pipe('cluster_router')\nexcept ImportError: pass")
    assert seen["tried"]
    assert "spacy_xner.router.component" in seen["new"] or "spacy_xner.router" in seen["new"]


@pytest.mark.parametrize(
    ("name", "module", "kind"),
    [
        ("transformer_ner", "tagger.component", "EntityTagger"),
        ("bilstm_crf_ner", "tagger.component", "EntityTagger"),
        ("language_identifier", "router.identifier", "LanguageIdentifier"),
        ("cluster_router", "router.component", "ClusterRouter"),
        ("entity_projector", "projector.component", "EntityProjector"),
    ],
)
def test_a_factory_makes_its_component(name, module, kind):
    pipe = spacy.blank("xx").add_pipe(name)
    assert type(pipe) is getattr(importlib.import_module(f"spacy_xner.{module}"), kind)
    assert pipe.name == name
    meta = Language.get_factory_meta(name)
    assert meta.assigns
    assert meta.scores == list(meta.default_score_weights)


def test_factories_do_not_share_their_defaults():
    nlp = spacy.blank("xx")
    nlp.add_pipe("transformer_ner").clusters.append("1")
    assert nlp.get_pipe_config("transformer_ner")["clusters"] == ["*"]
    assert spacy.blank("xx").add_pipe("bilstm_crf_ner").clusters == ["*"]
    assert factories.DEFAULTS["tagger"]["scheme"] == "IOB2"
    metas = [Language.get_factory_meta(name) for name in ("transformer_ner", "bilstm_crf_ner")]
    assert [meta.default_config["scheme"] for meta in metas] == ["IOB2", "BIOES"]
    heads = [meta.default_config["model"]["head"]["@architectures"] for meta in metas]
    assert heads == ["spacy_xner.SoftmaxHead.v1", "spacy_xner.CrfHead.v1"]
