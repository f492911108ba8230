"""The pages: code runs, commands are the verbs' own, links lead somewhere, references are as the code.

A page's blocks run in order, in a folder of their own that looks like a user's: see `make_workspace`. The
pipelines and the encoder in it are tiny, and have the names that the pages use. Trainings get the settings
that a tiny encoder learns with (`TINY_TRAINING`). A block below `<!-- not run: reason -->` is checked, and
does not run.

A block of text is compared with what the block of code before it prints. Below `<!-- output -->` both are
equal, but for white space. Below `<!-- output of the demo -->` stands what the pipelines of `make demo`
print: here the number of lines is compared, and the whole text where these pipelines are (see `find_demo`).
Other blocks of text say `<!-- no output: reason -->`.
"""

import ast
import configparser
import contextlib
import io
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import srsly
import torch
import yaml
from spacy.util import load_model_from_config
from thinc.api import Config
from transformers import AutoConfig, XLMRobertaModel

from spacy_xner.attributes import register_attributes
from spacy_xner.cli.app import xner
from spacy_xner.corpus.docs import write_docs
from spacy_xner.training import config_path

from scripts.options import Verb, read_verbs
from scripts.prose import describe_setting, split_docstring
from scripts.reference import render_pages, slug, split_message
from scripts.site import follow_links, places
from tests import tiny
from tests.cli import invoke

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"(?:<!-- (?:not run: (?P<reason>[^>]+)|(?P<mark>output|output of the demo|no output: [^>]+)) -->\n)?"
    r"```(?P<kind>\w*)\n(?P<code>.*?)```",
    re.DOTALL,
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
VERBS = {verb.name: verb for verb in read_verbs()}
# Checked as commands of the checkout; they do not run here, because other tests run the workflows.
TOOLS = ("make", "pip", "weasel")
# Layers of the encoder in the workspace: pages read the sixth and the eighth.
N_LAYERS = 12
TINY_TRAINING = [
    "--vars.learn_rate=0.02", "--training.optimizer.learn_rate=0.02", "--vars.max_epochs=0",
    "--training.max_epochs=0", "--training.max_steps=30", "--vars.eval_frequency=15",
]  # fmt: skip


class Block(NamedTuple):
    """A fenced block of a page.

    reason: Why it does not run; empty if it does.
    mark: What a block of text is: `output`, `output of the demo`, `no output: ...`; empty for others.
    """

    page: Path
    line: int
    kind: str
    code: str
    reason: str
    mark: str = ""

    @property
    def commands(self) -> list[list[str]]:
        """The words of its commands."""
        return [shlex.split(line, comments=True) for line in self.code.splitlines() if line.strip()]


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, match.start()) + 1,
            match["kind"],
            match["code"],
            match["reason"] or "",
            match["mark"] or "",
        )
        for match in FENCE.finditer(text)
    ]


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
CODE = [block for block in BLOCKS if block.kind not in ("", "text")]
OF_THE_DEMO = sorted({block.page for block in BLOCKS if block.mark == "output of the demo"})
RUNNING = sorted({block.page for block in CODE if "reference/verbs" not in named(block.page)})


def test_blocks_are_collected_and_few_do_not_run():
    kinds = [block.kind for block in CODE]
    assert kinds.count("python") >= 12
    assert kinds.count("bash") >= 40
    assert {block.kind for block in BLOCKS} <= {"", "bash", "ini", "json", "python", "text"}
    assert sum(bool(block.reason) for block in CODE) <= len(CODE) / 10


def test_the_readme_is_short_and_has_its_marks():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 150
    assert readme.count("<!-- XNER: GENERATED RESULTS START -->") == 1
    assert "WEASEL" not in readme
    assert "WEASEL: AUTO-GENERATED DOCS START" in (ROOT / "PROJECT.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "block", [b for b in CODE if b.kind == "bash"], ids=lambda b: f"{named(b.page)}:{b.line}"
)
def test_commands_are_those_that_there_are(block: Block):
    for words in block.commands:
        if words[:4] == ["python", "-m", "spacy", "xner"]:
            check_verb(words[4:])
        else:
            check_tool(words)


def check_verb(words: list[str]) -> None:
    """Compare a command with the options of its verb."""
    words = words[: words.index(">")] if ">" in words else words
    name = next(" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in VERBS)
    verb, rest = VERBS[name], words[len(name.split()) :]
    options = {option_name: option for option in verb.options for option_name in option.names}
    positional = []
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            positional.append(word)
            continue
        flag, equals, _ = word.partition("=")
        if flag in options:
            if not (options[flag].flag or equals):
                rest.pop(0)
        else:
            assert verb.takes_settings, f"{name} has no option {flag}"
            assert "." in flag, f"{name} has no option {flag}"
            if not equals:
                rest.pop(0)
    arguments = [option for option in verb.options if option.is_argument]
    needed = sum(option.default == "needed" for option in arguments)
    most = 99 if any(option.multiple for option in arguments) else len(arguments)
    assert needed <= len(positional) <= most, f"{name}: {positional}"
    for option in verb.options:
        if option.default == "needed" and not option.is_argument:
            assert any(word.partition("=")[0] in option.names for word in words), option.names


def check_tool(words: list[str]) -> None:
    """Compare a command of the checkout with the Makefile, the projects or the extras."""
    assert words[0] in TOOLS, words
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif words[0] == "weasel":
        places = words[2:] if words[1] == "assets" else words[3:]
        folder = places[0] if places and not places[0].startswith("-") else "."
        project = yaml.safe_load((ROOT / folder / "project.yml").read_text(encoding="utf-8"))
        if words[1] == "assets":
            assert project["assets"]
            return
        assert words[1] == "run"
        assert words[2] in {*project["workflows"], *(command["name"] for command in project["commands"])}
        assert {word[7:] for word in words if word.startswith("--vars.")} <= set(project["vars"])
    else:
        setup = configparser.ConfigParser()
        setup.read(ROOT / "setup.cfg", encoding="utf-8")
        for extras in re.findall(r"\[([\w,]+)\]", " ".join(words)):
            assert set(extras.split(",")) <= set(setup["options.extras_require"])


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, checkpoint, toy_corpus) -> Path:
    """A folder as a user of the pages has it; every page gets a copy."""
    return make_workspace(tmp_path_factory.mktemp("docs") / "work", checkpoint, toy_corpus)


def make_workspace(folder: Path, checkpoint: Path, corpus: Path) -> Path:
    """Lay out labels, texts, a dictionary, trained pipelines and an encoder by the names of the pages."""
    folder.mkdir()
    tiny.write_tagged(folder / "data" / "mine")
    for path in corpus.glob("*.spacy"):
        target = folder / "corpus" / "mine" / path.name.replace("-toy-", "-mine-")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    mine = folder / "corpus" / "mine"
    encoder = make_encoder(checkpoint, folder / "multilingual-e5-small")
    paths = [f"--paths.corpus={corpus}", f"--paths.encoder={encoder}"]
    invoke(xner, "train", "transformer", folder / "training" / "english", *paths, *TINY_TRAINING)
    shutil.copytree(folder / "training" / "english", folder / "training" / "mine")
    write_doubtful(mine / "en-mine-dev.spacy")
    write_doubtful(folder / "corpus" / "few" / "en-few-train.spacy")
    routed = tiny.make_routed(checkpoint)
    routed.to_disk(folder / "xx_xner")
    routed.to_disk(folder / "training" / "xner")
    lines = "".join(f"{first} {second}\n" for first in tiny.TEXTS for second in tiny.TEXTS)
    for name in (
        "europarl.en",
        "europarl.es",
        "texts.txt",
        "plain/es.txt",
        "plain/en.txt",
        "plain/fi.txt",
        "shards/a.txt",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(lines, encoding="utf-8")
    srsly.write_jsonl(folder / "texts.jsonl", [{"text": text} for text in tiny.TEXTS])
    words = ["won", "the", "race", "in", "bought", "rained", "all", "day"]
    (folder / "en-fi.txt").write_text("".join(f"{word}\t{word[::-1]}\n" for word in words), encoding="utf-8")
    return folder


def write_doubtful(path: Path) -> None:
    """Write labelled sentences of which a third lost their entities: some predictions are wrong there."""
    nlp = tiny.blank()
    docs = []
    for n in range(24):
        text, entities, _ = tiny.SENTENCES[n % 2]
        doc = nlp.make_doc(text)
        doc.ents = [doc.char_span(a, b, label) for a, b, label in entities] if n % 3 else []
        docs.append(doc)
    write_docs(docs, path)


def make_encoder(checkpoint: Path, folder: Path) -> Path:
    """The tiny transformer with as many layers as multilingual-e5-small has."""
    shutil.copytree(checkpoint, folder)
    config = AutoConfig.from_pretrained(folder)
    config.num_hidden_layers = N_LAYERS
    torch.manual_seed(0)
    XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


# The tiny encoder knows the letters of the tiny sentences alone.
@pytest.mark.filterwarnings("ignore:.*XNER-W141")
@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNING, ids=named)
def test_a_page_runs(page: Path, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    work = tmp_path / "work"
    shutil.copytree(workspace, work)
    monkeypatch.chdir(work)
    register_attributes()
    namespace: dict[str, Any] = {"__name__": "page"}
    printed = ""
    for block in blocks_of(page):
        if block.reason:
            continue
        if block.kind == "python":
            printed = run_python(block, namespace)
        elif block.kind == "bash":
            lines = filter(str.strip, block.code.splitlines())
            printed = "".join(
                run_verb(words[4:], line)
                for line, words in zip(lines, block.commands, strict=True)
                if words[0] == "python"
            )
        elif block.mark == "output":
            assert printed.split() == block.code.split()
        elif block.mark == "output of the demo":
            assert len(printed.splitlines()) == len(block.code.splitlines())
        elif block.kind == "ini":
            check_config(block.code, work)
        elif block.kind == "json":
            srsly.json_loads(block.code)
            (work / "mine.json").write_text(block.code, encoding="utf-8")


def run_python(block: Block, namespace: dict[str, Any]) -> str:
    """Run a block of Python. RETURNS: What it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        # Compiled under the page's name, so that an error names the line of the block.
        exec(compile("\n" * block.line + block.code, str(block.page), "exec"), namespace)
    return printed.getvalue()


def run_verb(words: list[str], line: str) -> str:
    """Run a command of a page in this process. RETURNS: What it prints, as one line without colours."""
    target = None
    if ">" in words:
        words, target = words[: words.index(">")], words[words.index(">") + 1]
    if words[0] == "train":
        words = [*words, *(TINY_TRAINING if words[1] != "bilstm" else [])]
    if target:
        assert words[0] == "config", line
        Path(target).write_text(config_path(words[1]).read_text(encoding="utf-8"), encoding="utf-8")
    return re.sub(r"\x1b\[[\d;]*m", "", invoke(xner, *words))


def check_config(code: str, work: Path) -> None:
    """A part of a config is merged into the training config, whose names and values are then checked.

    The file that the page wrote before, if any, is what the reader changes; it gets the part as well.
    """
    names = [line[1:-1].split(".") for line in code.splitlines() if line.startswith("[")]
    # A config has no section without those around it.
    around = {
        ".".join(name[:n]): None for name in names for n in range(1, len(name)) if name[:n] not in names
    }
    part = Config().from_str("".join(f"[{name}]\n" for name in around) + code, interpolate=False)
    config = Config().from_disk(config_path("transformer"), interpolate=False).merge(part)
    config["paths"]["corpus"] = "corpus/mine"
    nlp = load_model_from_config(config.interpolate(), auto_fill=True, validate=True)
    assert nlp.pipe_names == ["ner"]
    for path in work.glob("own.cfg"):
        Config().from_disk(path, interpolate=False).merge(part).to_disk(path)


def test_the_output_of_the_first_example_fits_its_texts():
    [example] = [block for block in blocks_of(ROOT / "README.md") if block.kind == "python"]
    [printed] = [block for block in blocks_of(ROOT / "README.md") if block.kind == "text"]
    texts = ast.literal_eval(re.search(r"texts = (\[.*?\n\])", example.code, re.DOTALL)[1])
    for text, line in zip(texts, printed.code.splitlines(), strict=True):
        language, _, entities = line.partition(" ")
        assert re.fullmatch(r"[a-z]{2}|None", language)
        for entity, label, score in ast.literal_eval(entities):
            assert entity in text
            assert label in ("PER", "LOC", "ORG")
            assert 0 < score <= 1
    # The sentences are of the sample's test part, and of no other.
    sample = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "assets" / "sample").glob("*.tsv"))
    lines = [line.split("\t") for line in re.sub(r"\[([^]]*)\]\(\w+:\d+\)", r"\1", sample).splitlines()]
    for text in texts:
        assert {name.partition("-")[0] for name, sentence in lines if sentence == text} == {"test"}


def find_demo() -> Path | None:
    """The folder in which `make demo` has run: XNER_DEMO, or this checkout."""
    folder = Path(os.environ.get("XNER_DEMO", ROOT))
    return folder if (folder / "training" / "xner" / "config.cfg").exists() else None


@pytest.mark.slow
@pytest.mark.skipif(
    find_demo() is None, reason="no pipelines of `make demo`; set XNER_DEMO to their checkout"
)
@pytest.mark.parametrize("page", OF_THE_DEMO, ids=named)
def test_examples_run_on_the_pipelines_of_the_demo(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Pipelines trained with other processors or threads find other entities, and have other scores.

    What the page shows is compared with what is printed where XNER_DEMO names the demo that the page shows.
    """
    pipeline = (find_demo() / "training" / "xner").resolve()
    for name in ("xx_xner", "training/xner"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(pipeline, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    register_attributes()
    blocks = [block for block in blocks_of(page) if block.kind == "python" or block.mark]
    last = max(n for n, block in enumerate(blocks) if block.mark == "output of the demo")
    namespace: dict[str, Any] = {"__name__": "page"}
    printed = ""
    for block in blocks[: last + 1]:
        if block.kind == "python":
            printed = run_python(block, namespace)
        elif block.mark == "output of the demo":
            assert printed.strip()
            if "XNER_DEMO" in os.environ:
                assert printed.split() == block.code.split()


def test_every_block_of_text_is_an_output_or_says_that_it_is_none():
    marks = [
        (named(block.page), block.line, block.mark)
        for block in BLOCKS
        if block.kind == "text" and not is_generated(block)
    ]
    assert [place for place in marks if not place[2]] == []
    assert len([mark for *_, mark in marks if mark.startswith("output")]) >= 6


def is_generated(block: Block) -> bool:
    """True for a block between the marks of a generated table."""
    before = block.page.read_text(encoding="utf-8").splitlines()[: block.line]
    marks = [line for line in before if re.match(r"<!-- /?table\b", line)]
    return bool(marks) and not marks[-1].startswith("<!-- /")


@pytest.mark.parametrize(
    "page",
    [*PAGES, *(ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "PROJECT", "THIRD_PARTY"))],
    ids=named,
)
def test_links_lead_somewhere(page: Path):
    for link in LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(title) for title in titles}, link


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def test_the_site_has_every_page():
    content = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    pages = set(flatten(content["nav"]))
    assert {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")} <= pages
    assert pages <= set(places().values())


def flatten(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for value in nav.values() if isinstance(nav, dict) else nav:
            yield from flatten(value)


def test_links_out_of_the_docs_follow_their_pages():
    where = places()
    text = "[a](../papers/li2021/README.md#x) [b](../setup.cfg) [c](https://x.org) [d](#e)"
    followed = "[a](papers/li2021.md#x) b [c](https://x.org) [d](#e)"
    assert follow_links(text, "docs/results.md", where) == followed
    assert follow_links("![f](images/routes.svg)", "docs/routes.md", where) == "![f](images/routes.svg)"
    assert (
        follow_links("[a](../../docs/results.md)", "papers/li2021/README.md", where) == "[a](../results.md)"
    )


def test_pages_of_reference_are_as_the_code():
    for name, content in render_pages(ROOT).items():
        path = ROOT / "docs" / "reference" / name
        assert path.read_text(encoding="utf-8") == content, "run `python scripts reference`"


def test_every_setting_has_a_meaning():
    for name in ("components.md", "architectures.md", "training.md", "verbs.md"):
        lines = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8").splitlines()
        assert [line for line in lines if re.search(r"\|\s*\|$", line)] == []


def test_a_setting_is_described_where_its_docstring_sends_to():
    texts = {
        "build_a": "Build a.\n\nrate: Steps\n    a second.",
        "build_b": "Build b.\n\nrate: See `x.build_a`; or not.",
    }
    assert describe_setting("rate", texts["build_b"], texts) == "Steps a second. Or not."
    assert describe_setting("rate", "Build c; see `build_b`.", texts) == "Steps a second. Or not."
    assert describe_setting("size", "Build c; see `build_b`.", texts) == ""
    # Where a setting names its place, no other place of the docstring is looked at.
    texts["build_z"] = "Build z.\n\nrate: Another one."
    assert (
        describe_setting("rate", "Build e; see `build_z`.\n\nrate: See `build_a`.", texts)
        == "Steps a second."
    )
    parts = split_docstring("Build d; see `build_a`.\n\nMore.\n\nrate: R.\nSOURCE: A 2020,\n    page 1")
    assert (parts.prose, parts.source) == (["Build d.", "", "More.", ""], "A 2020, page 1")


def test_a_message_is_cut_into_cause_and_cure():
    assert split_message("Expected a, got b (c. 2). Convert it. Or not.") == (
        "Expected a, got b (c. 2).", "Convert it. Or not.",
    )  # fmt: skip
    assert split_message("Expected a.") == ("Expected a.", "")


def test_a_verb_is_read_with_its_options():
    verb: Verb = VERBS["vectors map"]
    assert any(option.is_argument for option in verb.options)
    [flag] = [option for option in VERBS["export"].options if "--int8" in option.names]
    assert (flag.names, flag.flag, flag.default) == (("--int8", "--no-int8"), True, "`true`")
    with pytest.raises(AssertionError, match="no option --nothing"):
        check_verb(["evaluate", "a", "b", "c", "--nothing", "1"])
    with pytest.raises(AssertionError, match="evaluate"):
        check_verb(["evaluate", "a", "b"])
