"""The pictures of the README and of the pages, from result files and from a finished `make demo`."""

import re
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from spacy_xner.files import read_json, write_text
from spacy_xner.report.figures import draw_calibration, draw_sentences, to_svg

ROOT = Path(__file__).resolve().parent.parent
# Tables that the pictures are drawn of. A measurement with the code of this version comes before one of 0.1.
SPEED = ("benchmarks/results/inference.json", "benchmarks/results/0.1/inference.json")
FREEZING = "papers/moon2019/results/0.1/{}.json"
SEEN, UNSEEN = "#1864ab", "#e8590c"


def draw_gallery(out: Path, demo: Path | None = None) -> list[Path]:
    """Draw all pictures that need no browser.

    demo: Folder of a checkout in which `make demo` has run; its pictures are left as they are without one.
    RETURNS: The files written.
    """
    drawn = {"freezing": draw_freezing(ROOT), "speed": draw_speed(ROOT)}
    if demo is not None:
        drawn["calibration"] = draw_calibration(read_json(demo / "metrics" / "xner.json")["calibration"])
        drawn["sentences"] = draw_sentences(read_json(demo / "training" / "groupings" / "figure1.json"))
    paths = []
    for name, picture in drawn.items():
        paths.append(out / f"{name}.svg")
        write_text(paths[-1], compact(picture))
    return paths


def compact(picture: Markup) -> str:
    """Shorten the places of a picture to hundredths of a point, which nobody sees; scales stay."""

    def shorten(match: re.Match[str]) -> str:
        return re.sub(r"(?<=\d\.\d\d)\d+", "", match[0])

    return re.sub(r'\s(d|x|y)="[^"]*"', shorten, picture)


def draw_freezing(root: Path) -> Markup:
    """Draw F1 by the number of frozen layers, and F1 after every epoch with three and with none of them."""
    joint = read_table(root / FREEZING.format("joint"), "Test F1")
    # With all twelve frozen F1 is 1, which the text says; here it would flatten all others.
    runs = [row for row in joint if row["run"].startswith("joint-frozen") and number(row["mean seen"]) > 50]
    layers = [row["run"].removeprefix("joint-frozen") for row in runs]
    figure = Figure(figsize=(9, 3.4))
    left, right = figure.subplots(1, 2)
    for column, label, colour in (
        ("mean seen", "languages trained on", SEEN),
        ("mean unseen", "other languages", UNSEEN),
    ):
        values = [number(row[column]) for row in runs]
        left.plot(range(len(runs)), values, marker="o", color=colour, label=label)
    left.set_xticks(range(len(runs)), ["none" if layer == "-1" else layer for layer in layers])
    left.set(title="one tagger of de, en, es, fr", xlabel="frozen layers (0: embeddings)", ylabel="test F1")
    left.legend(fontsize=8)
    longer = read_table(root / FREEZING.format("longer"), "Mean test F1")
    for row, colour in zip(longer, (SEEN, UNSEEN), strict=True):
        epochs = [name for name in row if name.startswith("epoch")]
        label = "none frozen" if "-1" in row[""] else "3 frozen"
        right.plot(
            [int(name.split()[1]) for name in epochs], [number(row[name]) for name in epochs],
            marker="o", color=colour, label=label,
        )  # fmt: skip
    right.set(title="English to seven other languages", xlabel="epoch", ylabel="mean test F1")
    right.xaxis.get_major_locator().set_params(integer=True)
    right.legend(fontsize=8)
    return to_svg(figure)


def draw_speed(root: Path) -> Markup:
    """Draw words a second of this package and of others, a group of bars a length of text."""
    path = next(root / name for name in SPEED if (root / name).exists())
    rows = read_table(path, "Words a second")
    lengths = [name for name in rows[0] if name in ("sentences", "200 words", "2,000 words")]
    figure = Figure(figsize=(9, 3.4))
    axis = figure.subplots()
    height = 0.8 / len(rows)
    for n, row in enumerate(rows):
        values = [number(row[name]) for name in lengths]
        places = [place + n * height for place in range(len(lengths))]
        bars = axis.barh(places, values, height=0.9 * height, label=next(iter(row.values())).replace("`", ""))
        axis.bar_label(bars, [f"{value:,.0f}" for value in values], fontsize=7, padding=2)
    axis.set_yticks([place + 0.4 - height / 2 for place in range(len(lengths))], lengths)
    axis.invert_yaxis()
    origin = read_json(path)["origin"].partition(",")[0]
    axis.set(xlabel="words a second on the CPU", title=f"speed ({origin})")
    axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=len(rows))
    return to_svg(figure)


def read_table(path: Path, title: str) -> list[dict[str, str]]:
    """Read the table of a result file whose title begins so. RETURNS: A mapping from column to text a row."""
    table = next(table for table in read_json(path)["tables"] if table["title"].startswith(title))
    return [dict(zip(table["header"], row, strict=True)) for row in table["rows"]]


def number(text: str) -> float:
    """Read the first number of a cell such as `2,468 (**2.67x**)`."""
    [first, *_] = re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)
    return float(first.replace(",", ""))
