"""The package's structure: imports point down, names resolve, errors have tests."""

import ast
import configparser
import re
from importlib import import_module
from pathlib import Path

import pytest
from spacy.util import registry

import spacy_xner
from spacy_xner.errors import Errors, Warnings

PACKAGE = Path(spacy_xner.__file__).parent
LAYERS = [
    {"errors", "types", "locks", "machine"},
    {"workers", "cache", "precision", "steps", "storage", "weights", "packing"},
    {"trunk"},
    {"netfile"},
    {"stored"},
    {
        "arrays",
        "tags",
        "attributes",
        "tokenizer",
        "shim",
        "optimizer",
        "pipe",
        "stability",
        "calibration",
        "files",
        "verbs",
    },
    {"loading", "pages"},
    {"corpus", "scoring"},
    {"logger", "training", "significance", "runs", "evaluation"},
    {"tagger", "averaging"},
    {"soup"},
    {"transformer"},
    {"vectors"},
    {"bilstm", "router", "projector"},
    {"objectives", "factories"},
    {"routes", "report"},
    {"deploy"},
    {"cli"},
]
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}
# The scripts are above the package; they import one another down too.
SCRIPTS = Path("scripts")
SCRIPT_LAYERS = [
    {
        "assets",
        "versions",
        "sample",
        "unpack",
        "variants",
        "following",
        "options",
        "prose",
        "recipes",
        "site",
    },
    {"gallery", "notebook", "screens"},
    {"results"},
    {"runner", "tables"},
    {"overrides", "views"},
    {"figures"},
    {
        "clusters",
        "corpora",
        "identifier",
        "joint",
        "lexical",
        "pages",
        "picture",
        "reference",
        "spaces",
        "students",
        "teachers",
        "transfer",
        "zero_shot",
    },
    {"experiment", "sections"},
    {"command"},
    {"__main__"},
]
SCRIPT_RANK = {part: rank for rank, layer in enumerate(SCRIPT_LAYERS) for part in layer}
TORCH_ONLY = [
    "weights.py",
    "packing.py",
    "tagger/network.py",
    "tagger/crf.py",
    "tagger/losses.py",
    "bilstm/network.py",
    "cache.py",
    "transformer/exported.py",
    "transformer/network.py",
    "transformer/pooling.py",
    "transformer/sharing.py",
    "transformer/freezing.py",
    "transformer/mixing.py",
    "objectives/network.py",
]


def imports(path):
    """All modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def part_of(path, folder=PACKAGE):
    return path.relative_to(folder).with_suffix("").parts[0]


def test_imports_point_down_the_layers():
    bad = [
        (str(path.relative_to(PACKAGE)), module)
        for path in PACKAGE.rglob("*.py")
        for module in imports(path)
        if module.startswith("spacy_xner.")
        and module.split(".")[1] != part_of(path)
        and RANK[module.split(".")[1]] >= RANK[part_of(path)]
    ]
    assert bad == []


def script_imports():
    """What the scripts import of one another. RETURNS: Pairs of parts, the file's first."""
    for path in SCRIPTS.rglob("*.py"):
        for module in imports(path):
            if module.startswith("scripts."):
                yield part_of(path, SCRIPTS), module.split(".")[1]


def test_scripts_import_down_and_the_package_knows_none():
    pairs = {pair for pair in script_imports() if pair[0] != pair[1]}
    assert len(pairs) > 30
    assert [pair for pair in pairs if SCRIPT_RANK[pair[1]] >= SCRIPT_RANK[pair[0]]] == []
    roots = {module.split(".")[0] for path in PACKAGE.rglob("*.py") for module in imports(path)}
    assert not roots & {"scripts", "tests", *SCRIPT_RANK}


@pytest.mark.skipif((SCRIPTS / "convert.py").exists(), reason="commands of the package are still scripts")
def test_every_script_has_a_layer():
    assert {part_of(path, SCRIPTS) for path in SCRIPTS.rglob("*.py")} == {*SCRIPT_RANK, "__init__"}


@pytest.mark.parametrize("file", TORCH_ONLY)
def test_networks_know_no_spacy(file):
    roots = {module.split(".")[0] for module in imports(PACKAGE / file)}
    assert not roots & {"spacy", "thinc"}


def test_nothing_reads_pickles_or_evaluates_text():
    for path in [*PACKAGE.rglob("*.py"), *SCRIPTS.rglob("*.py")]:
        content = path.read_text(encoding="utf-8")
        assert "import pickle" not in content
        assert "torch.load(" not in content
        assert not re.search(r"(?<![.\w])(eval|exec)\(", content), path


def entry_points():
    config = configparser.ConfigParser()
    config.read("setup.cfg", encoding="utf-8")
    for group, lines in config["options.entry_points"].items():
        for line in filter(None, lines.splitlines()):
            name, target = line.split(" = ")
            yield group, name, target


@pytest.mark.parametrize(("group", "name", "target"), list(entry_points()))
def test_every_public_name_resolves(group, name, target):
    kind = group.partition("_")[2]
    found = registry.get("_entry_point_factories" if kind == "factories" else kind, name)
    module, function = target.split(":")
    assert found is getattr(import_module(module), function)


def parts_of_type(annotation):
    """Yield a type and those that it is made of."""
    yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from parts_of_type(part)


def test_older_validation_can_ask_for_instances_of_every_protocol():
    """Older versions of thinc have pydantic 1 check settings, which asks whether None is an instance."""
    protocols = set()
    for _, _, target in entry_points():
        module, function = target.split(":")
        for annotation in getattr(getattr(import_module(module), function), "__annotations__", {}).values():
            protocols |= {part for part in parts_of_type(annotation) if getattr(part, "_is_protocol", False)}
    names = {protocol.__name__ for protocol in protocols}
    assert {"TokenLoss"} <= names
    assert not any(isinstance(None, protocol) for protocol in protocols)


def test_progress_is_drawn_on_terminals_alone():
    """A log that is no terminal would get a fragment of a line for every step."""
    calls = [
        (path, node)
        for folder in (PACKAGE, SCRIPTS)
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "tqdm"
    ]
    assert len(calls) > 5
    for path, node in calls:
        [disable] = [keyword.value for keyword in node.keywords if keyword.arg == "disable"] or [None]
        assert disable is not None, (path, node.lineno)
        assert ast.unparse(disable) in ("None", "None if show else True"), (path, node.lineno)


@pytest.mark.parametrize("texts", [Errors, Warnings])
def test_messages_start_with_their_code(texts):
    for code, text in vars(texts).items():
        if not code.startswith("_"):
            printed = code if code.startswith("XNER") else f"XNER-{code}"
            assert text.startswith(f"[{printed}] ")


def test_every_message_is_raised_somewhere_and_tested():
    files = [*PACKAGE.rglob("*.py"), *SCRIPTS.rglob("*.py")]
    source = "".join(p.read_text(encoding="utf-8") for p in files)
    tests = "".join(p.read_text(encoding="utf-8") for p in Path("tests").rglob("*.py"))
    for code in [c for c in vars(Errors) if not c.startswith("_")]:
        assert f"Errors.{code}" in source, code
        assert code in tests, code
