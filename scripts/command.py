"""The verbs of `python scripts`: options, a function, and coded errors as text."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.verbs import add_verb

ROOT = Path(__file__).resolve().parent.parent
app = typer.Typer(no_args_is_help=True, add_completion=False, help="Reproduce the papers and their tables.")
Corpus = Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-{split}.spacy files.")]
Source = Annotated[str, typer.Option(help="Comma-separated corpora, as in the file names; empty for all.")]


def _split(option: str) -> list[str]:
    return [name for name in option.split(",") if name]


@add_verb(app, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def experiment(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(exists=True, help="Config of experiments.")],
    out: Annotated[Path, typer.Argument(help="Folder for the result files, a folder an experiment.")],
    only: Annotated[str, typer.Option(help="Comma-separated experiments of the config.")] = "",
    restart: Annotated[bool, typer.Option(help="Forget finished runs and kept pipelines first.")] = False,
) -> None:
    """Run the experiments of a config; finished runs are left as they are.

    Further options override the config: --vars.limit 100, --paths.corpus FOLDER, --machine.gpu 0. Start the
    command several times to share the runs among processes; with OMP_NUM_THREADS=1, two of them on two cores
    do a third more than one on both.
    """
    from spacy.cli._util import parse_config_overrides

    from scripts.experiment import run_config

    overrides = parse_config_overrides(list(context.args))
    run_config(config, out, overrides, only=_split(only), restart=restart)


@add_verb(app)
def tables(
    pages: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Markdown pages, or folders with a README.md; all pages of the checkout by default."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option(help="Change nothing; fail if a table is not as the results.")
    ] = False,
) -> None:
    """Write the generated tables of Markdown pages, and the figures of the papers, anew from result files."""
    from scripts.pages import check as check_pages
    from scripts.pages import find_pages, refresh

    chosen = [path / "README.md" if path.is_dir() else path for path in pages or find_pages(ROOT)]
    if check:
        check_pages(chosen)
        msg.good(f"{len(chosen)} pages are as the results")
    else:
        for page in chosen:
            msg.good(f"{page}: {'renewed' if refresh(page) else 'as it was'}")


@add_verb(app)
def assets(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders of a project.yml; this one by default.")
    ] = None,
) -> None:
    """Record the checksums of downloaded assets, and compare them ever after.

    Assets without a checksum in project.yml are recorded in checksums.json beside it when first seen.
    """
    from scripts.assets import check_assets

    for folder in folders or [Path()]:
        for name, state in check_assets(folder).items():
            msg.good(f"{folder / name}: {state}")


@add_verb(app)
def report(
    out: Annotated[Path, typer.Argument(help="HTML file to write.")],
    results: Annotated[Path, typer.Argument(help="Folder of results of experiments.")],
    metrics: Annotated[Path, typer.Option(help="Folder of `spacy xner evaluate`'s JSON files.")] = Path(
        "metrics"
    ),
    training: Annotated[Path, typer.Option(help="Folder of trained pipelines.")] = Path("training"),
    packages: Annotated[
        Path | None, typer.Option(help="Folder of wheels; with it the commands to type next are printed.")
    ] = None,
) -> None:
    """Write the page of `spacy xner report` with the tables and figures of experiments at its end."""
    from spacy_xner.report.page import collect_report, write_report

    from scripts.following import next_commands
    from scripts.sections import experiment_sections

    sections = [section.html() for section in experiment_sections(results)]
    write_report(out, collect_report(metrics, training), sections)
    msg.good(f"Wrote {out}: {len(sections)} experiments")
    if packages is not None:
        # Not by wasabi, which breaks long lines.
        print("\nNext:", *next_commands(training, packages, out), sep="\n")


@add_verb(app)
def figures(
    folder: Annotated[Path, typer.Argument(help="Folder of result files of one experiment.")],
    out: Annotated[Path, typer.Argument(help="Folder for SVG files.")],
) -> None:
    """Draw the figures of an experiment."""
    from spacy_xner.files import write_text

    from scripts.figures import figures_of

    for number, (title, figure) in enumerate(figures_of(folder).items(), start=1):
        write_text(out / f"{folder.name}-{number}.svg", figure)
        msg.good(f"{out / f'{folder.name}-{number}.svg'}: {title}")


@add_verb(app)
def unpack(
    archive: Annotated[Path, typer.Argument(exists=True, help="WikiAnn's panx_dataset.zip.")],
    out: Annotated[Path, typer.Argument(help="Folder for {language}/{split}.tsv.")],
    languages: Annotated[str, typer.Option(help="Comma-separated languages.")],
) -> None:
    """Unpack WikiAnn's archive."""
    from scripts.unpack import unpack as unpack_archive

    unpack_archive(archive, out, _split(languages))


@add_verb(app)
def lengths(
    pipelines: Annotated[Path, typer.Argument(help="Folder of pipelines, one a language.")],
    corpus: Corpus,
    out: Annotated[Path, typer.Option(help="JSON file for figures: {results}/figures/lengths.json.")],
    source: Source = "",
    limit: Annotated[int, typer.Option(help="Sentences a language; 0 takes all.")] = 0,
) -> None:
    """Count rightly tagged words by sentence length (Bari et al. 2020, Figure 2)."""
    from scripts.spaces import count_lengths

    count_lengths(pipelines, corpus, out, _split(source), limit)


@add_verb(app)
def words(
    pipeline: Annotated[Path, typer.Argument(help="Trained pipeline with mapped vectors.")],
    corpus: Corpus,
    languages: Annotated[str, typer.Option(help="The two languages, comma-separated.")],
    out: Annotated[Path, typer.Option(help="JSON file for figures: {results}/figures/words-{lang}.json.")],
    before: Annotated[
        Path | None, typer.Option(help="Merged pipeline with the vectors before they were mapped.")
    ] = None,
    source: Source = "",
    n_words: Annotated[int, typer.Option(help="Entity words a language.")] = 500,
    seed: Annotated[int, typer.Option(help="Random seed of the picture.")] = 0,
) -> None:
    """Place entity words of two languages in the plane (Bari et al. 2020, Figure 3)."""
    from scripts.spaces import place_words

    names = _split(languages)
    place_words(pipeline, corpus, out, names, _split(source), before=before, n_words=n_words, seed=seed)


@add_verb(app)
def reference(
    out: Annotated[Path, typer.Argument(help="Folder for the pages.")] = ROOT / "docs" / "reference",
    check: Annotated[bool, typer.Option(help="Change nothing; fail if a page is not as the code.")] = False,
) -> None:
    """Write the pages of reference anew: components, architectures, settings of training, verbs, errors."""
    from spacy_xner.files import write_text

    from scripts.reference import render_pages

    pages = {out / name: content for name, content in render_pages(ROOT).items()}
    if not check:
        for path, content in pages.items():
            write_text(path, content)
        msg.good(f"{len(pages)} pages in {out}")
        return
    stale = [
        str(path)
        for path, content in pages.items()
        if not path.exists() or path.read_text(encoding="utf-8") != content
    ]
    if stale:
        msg.fail(f"{', '.join(stale)}: not as the code. Run `python scripts reference`.", exits=1)
    msg.good(f"{len(pages)} pages are as the code")


@add_verb(app)
def picture(
    pipeline: Annotated[Path, typer.Argument(exists=True, help="Pipeline that finds the entities.")],
    corpus: Annotated[Path, typer.Argument(exists=True, help="The converted sample: corpus/sample.")],
    out: Annotated[Path, typer.Argument(help="SVG file to write.")],
    languages: Annotated[str, typer.Option(help="Comma-separated languages, a line each.")] = (
        "en,de,es,sw,ru,hi,zh,ar"
    ),
    longest: Annotated[int, typer.Option(help="Characters of the longest sentence.")] = 90,
) -> None:
    """Draw test sentences of the sample with the entities that a pipeline finds, and their probabilities."""
    import spacy

    from spacy_xner.files import write_text

    from scripts.picture import choose_sentences, draw

    sentences = choose_sentences(corpus, spacy.load(pipeline), _split(languages), longest)
    write_text(out, draw(sentences, "Entities and their probabilities in sentences of the bundled sample"))
    msg.good(f"{out}: {len(sentences)} sentences")


@add_verb(app)
def gallery(
    out: Annotated[Path, typer.Argument(help="Folder for the pictures.")] = ROOT / "docs" / "images",
    demo: Annotated[
        Path | None, typer.Option(exists=True, help="Checkout in which `make demo` has run.")
    ] = None,
    text: Annotated[str, typer.Option(help="Text for the page of the service; empty: no browser starts.")] = (
        "Albert Einstein left Berlin in 1932. Intel and IBM are working on a smaller chip."
    ),
) -> None:
    """Draw the pictures of the pages from result files, and with --demo those of its pipelines and pages."""
    from scripts.gallery import draw_gallery
    from scripts.screens import take_screens

    paths = draw_gallery(out, demo)
    if demo is not None and text:
        paths += take_screens(out, demo, text)
    for path in paths:
        msg.good(f"{path}: {path.stat().st_size / 1000:.0f} kB")


@add_verb(app)
def notebook(
    folder: Annotated[
        Path, typer.Argument(help="Checkout, or a folder with assets/sample, to run in.")
    ] = ROOT,
) -> None:
    """Run the notebook of the documentation, about two minutes, and store what its cells print."""
    from scripts.notebook import NOTEBOOK, run_notebook, store

    store(run_notebook(NOTEBOOK, folder), NOTEBOOK)
    msg.good(f"{NOTEBOOK} with the outputs of this run")
