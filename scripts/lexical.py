"""Zero-shot runs of the BiLSTM-CRF, each of its parts switched off in turn.

SOURCE: Huang et al. 2019, Tables 2 to 5; Bari et al. 2020, Tables 2 to 4.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from spacy.vocab import Vocab

from spacy_xner.corpus.names import find_files
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import fingerprint
from spacy_xner.objectives.augmented import LengthRange, admitted_share
from spacy_xner.routes.settings import augment, mean_length, read_sentences, text_steps
from spacy_xner.runs import choose
from spacy_xner.training import steps_per_epoch

from scripts.overrides import LENGTH, Trained, schedule
from scripts.runner import Run, Settings
from scripts.variants import VARIANTS, Variant

# Settings that are variables of configs/bilstm.cfg by the same name.
_SAME_NAME = (
    "limit", "max_length", "dev_limit", "batch_size", "optimizer", "decay", "floor", "clip_norm",
    "hidden", "lower", "scheme", "unknown_rate", "vector_dropout", "use_averages",
)  # fmt: skip
# What the characters' weights begin as, and how they come to be as loud as vectors.
STARTS = {
    "paper": ("uniform", "none"),
    "torch": ("torch", "none"),
    "scaled": ("torch", "scale"),
    "normalised": ("torch", "normalise"),
}
# Learning rates that suit a mean over tokens.
RATES = {"adam": 0.002, "sgd": 0.3}


class Lexical(Trained):
    """Train a variant, and score every epoch on dev and test sets of both languages."""

    kind = "lexical"
    config = "bilstm"
    needs = ("corpus", "vectors")
    required = ("target",)
    # source: Corpus of labels and tests.
    # splits: Sets of both languages that every evaluation scores: settings are chosen on "dev" alone.
    # learn_rate: 0 takes that of RATES.
    # per_sentence: `learn_rate` and `clip` are for sums over a sentence, as in the papers; they are converted
    #     by the mean length of the training sentences.
    # decay, floor: How fast the learning rate falls, and its lowest value.
    # clip, clip_norm: Limits of each number, and of the norm, of a gradient; 0 for none.
    # start: One of STARTS.
    # patience: Evaluations without a better score on the source's dev set after which a run ends; 0 for none.
    # refresh_every: Batches until the model is its own newer teacher (cross-augmented).
    # bases: Variants of which the one with the best score on the source's dev set is gone on from.
    # again_rate: Factor of the learning rate then.
    # mean: Learn the mean of the three losses, rather than their sum.
    # min_length, max_quantile: Lengths of text are drawn from this one (0 for the shortest) to this quantile.
    # eval_every: Steps between two evaluations, in the place of parts of equal length; 0 for these.
    # max_length: Longer training sentences are left out; 0 takes all. Unit: tokens.
    # kept: The variant whose pipeline of the first seed goes to `paths.keep`.
    defaults = LENGTH | {
        "target": "", "variant": "full", "language": "en", "source": "wikiann", "seed": 0, "limit": 2000,
        "dev_limit": 300, "test_limit": 500, "splits": ["dev", "test"], "epochs": 20, "optimizer": "adam",
        "learn_rate": 0.0, "per_sentence": False, "decay": 0.05, "floor": 0.0, "clip": 0.0, "clip_norm": 0.3,
        "start": "scaled", "unknown_rate": 0.0, "vector_dropout": 0.0, "patience": 0, "hidden": 100,
        "characters": 100, "lower": False, "scheme": "BIOES", "use_averages": True, "refresh_every": 60,
        "bases": ["cross-shared"], "again_rate": 0.1, "mean": True, "min_length": 0, "max_quantile": 1.0,
        "eval_every": 0, "max_length": 0, "kept": "",
    }  # fmt: skip

    def expand(self, settings: Settings) -> Iterable[Settings]:
        """Refuse unknown variants, and folders that lack vectors. RAISES: XNER808, XNER814."""
        for setting, known in (("variant", VARIANTS), ("start", STARTS), ("optimizer", RATES)):
            if (choice := settings[setting]) not in known:
                raise XnerError(Errors.XNER808.format(setting=setting, known=", ".join(known), found=choice))
        vectors = self._vectors(Run({}, settings))
        if not vectors.is_dir():
            raise XnerError(Errors.XNER814.format(missing=vectors, verb="vectors merge"))
        yield settings

    def _vectors(self, run: Run) -> Path:
        """The merged pipeline whose vectors a run reads."""
        name = VARIANTS[run["variant"]].vectors.format(source=run["language"], target=run["target"])
        return self.paths["vectors"] / name

    def _labels(self, run: Run) -> tuple[str, list[str]]:
        """The language and the corpora that a run has labels of."""
        variant, source = VARIANTS[run["variant"]], run["source"]
        sources = [source, f"{source}.{run['target']}"] if variant.translated else [source]
        if variant.shuffled:
            sources = [f"{name}.shuffled" for name in sources]
        return (run["target"] if variant.supervised else run["language"]), sources

    def inputs(self, run: Run) -> dict[str, Any]:
        """Vectors and labels: new ones by the same names make another run."""
        language, sources = self._labels(run)
        labels = find_files(self.paths["corpus"], "train", [language], sources)[language]
        files = [self._vectors(run) / "vocab" / "vectors", *labels]
        return {"made_of": {path.stem: fingerprint(path) for path in files}}

    def place(self, run: Run) -> Path | None:
        """Keep the pipeline of one variant with the first seed, by target."""
        first = self.axes.get("seed", [run["seed"]])[0]
        keeps = "keep" in self.paths and run["variant"] == run["kept"] and run["seed"] == first
        return self.paths["keep"] / run["target"] if keeps else None

    def train(self, run: Run, work: Path) -> dict[str, Any]:
        """Train one variant, and describe each of its evaluations."""
        variant, source, target = VARIANTS[run["variant"]], run["source"], run["target"]
        language, sources = self._labels(run)
        n_sentences = self.count(run, [language], sources)
        per_pass = steps_per_epoch(n_sentences, run["batch_size"])
        both = list(dict.fromkeys((language, target)))
        overrides = {
            **self._overrides(run, variant, both, sources),
            **self._rates(run, language, sources),
            **_length(run, per_pass),
        }
        base = Base("", 0.0, 0)
        if variant.again:
            base = self._best_base(run, overrides, work)
            overrides |= _shape(run, VARIANTS[base.variant])
            overrides |= {"paths.weights": str(work / "base" / "model-best")}
            overrides["vars.learn_rate"] *= run["again_rate"]
        described: dict[str, Any] = {"base": base.variant} if base.variant else {}
        if variant.augmented:
            texts = text_steps(per_pass, self.count(run, [target], [source]), run["batch_size"])
            lengths = LengthRange(run["min_length"], 0, run["max_quantile"])
            described["admitted"] = round(self._admitted(run, lengths), 4)
            overrides |= augment(
                language, target, refresh_every=min(texts, run["refresh_every"]), mean=run["mean"],
                min_length=lengths.minimum, max_quantile=lengths.quantile,
            )  # fmt: skip

        fitted = self.fit(run, overrides, work)
        if self.place(run) is not None:
            # The source's dev set cannot see what is learnt of the target, and would keep the teacher.
            which = "model-last" if variant.augmented else "model-best"
            (fitted.folder / which).rename(work / "kept")
        return {
            "languages": [language],
            "targets": [target],
            "sentences": n_sentences,
            "parameters": fitted.curve[-1]["parameters"],
            "steps": base.steps + fitted.steps,
            "seconds": base.seconds + fitted.seconds,
            **described,
            "curve": [_describe(line, both) for line in fitted.curve],
        }

    def _overrides(self, run: Run, variant: Variant, both: list[str], sources: list[str]) -> Settings:
        return {
            "paths.corpus": str(self.paths["corpus"]),
            "paths.vectors": str(self._vectors(run)),
            "vars.languages": both[:1],
            "corpora.train.sources": sources,
            "corpora.dev.sources": [run["source"]],
            **{f"vars.{key}": run[key] for key in _SAME_NAME},
            "vars.character_width": run["characters"],
            "vars.character_hidden": run["characters"],
            **_shape(run, variant),
            "vars.initialisation": STARTS[run["start"]][0],
            "vars.balance": STARTS[run["start"]][1],
            # A corpus a language, so that scores by length are the language's own.
            "training.logger.watch": {
                f"{split} {lang}": self.reader(run, split, [lang], [run["source"]])
                for split, lang in product(run["splits"], both)
            },
        }

    def _best_base(self, run: Run, overrides: Settings, work: Path) -> "Base":
        """Train the bases, and leave the best one in `base` of the work folder."""
        bases: list[Base] = []
        seconds = 0.0
        for name in run["bases"]:
            fitted = self.fit(run, overrides | _shape(run, VARIANTS[name]), work, f"base-{len(bases)}")
            seconds += fitted.seconds
            bases.append(Base(name, max(line["score"] for line in fitted.curve), fitted.steps))
        best = choose([base.score for base in bases])
        (work / f"base-{best}").rename(work / "base")
        return bases[best]._replace(seconds=seconds)

    def _admitted(self, run: Run, lengths: LengthRange) -> float:
        """The share of the target's text that a drawn length admits."""
        paths = find_files(self.paths["corpus"], "train", [run["target"]], [run["source"]])[run["target"]]
        return admitted_share(Counter(map(len, read_sentences(paths, Vocab(), run["limit"]))), lengths)

    def _rates(self, run: Run, language: str, sources: list[str]) -> Settings:
        """Learning rate, and limit of a gradient's numbers, for a mean over tokens."""
        length = 1.0
        if run["per_sentence"]:
            length = mean_length(self.paths["corpus"], [language], run["limit"], sources)
        rate = run["learn_rate"] or RATES[run["optimizer"]]
        return {"vars.learn_rate": rate * length, "vars.clip": run["clip"] / length}


class Base(NamedTuple):
    """A variant that another one goes on from, its best score on the source's dev set, and its training."""

    variant: str
    score: float
    steps: int
    seconds: float = 0.0


def _shape(run: Run, variant: Variant) -> Settings:
    """Overrides for the parts of the network."""
    return {
        "vars.romanise": variant.romanise,
        "vars.vectors_by_language": variant.apart,
        "vars.use_vectors": variant.use_vectors,
        "vars.use_characters": variant.use_characters,
        "vars.tie": variant.tied,
        "vars.dense": run["hidden"] if variant.dense else 0,
    }


def _length(run: Run, per_pass: int) -> Settings:
    """Overrides for steps, evaluations, and the patience in steps. per_pass: Steps of a pass."""
    total = run["steps"] or run["epochs"] * per_pass
    n_scored = max(1, total // run["eval_every"]) if run["eval_every"] else run["epochs"]
    overrides = schedule(run, per_pass, n_scored=n_scored)
    return {**overrides, "vars.patience": run["patience"] * overrides["vars.eval_frequency"]}


def _describe(line: dict[str, Any], languages: list[str]) -> dict[str, Any]:
    """The part of an evaluation that the tables read."""
    watch = line["watch"]
    described: dict[str, dict[str, Any]] = {lang: {} for lang in languages}
    for name, scores in watch.items():
        split, _, lang = name.partition(" ")
        described[lang][split] = scores["ents_f"]
        if split == "test":
            described[lang]["lengths"] = {n: s["f"] for n, s in scores["ents_per_length"].items()}
    losses = {name: loss for name, loss in line["losses"].items() if name != "ner"}
    evaluation = {"step": line["step"], "source_dev": line["score"], "languages": described}
    return {**evaluation, "losses": losses} if losses else evaluation
