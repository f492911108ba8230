"""The factories of the components: names, default configs and scores.

spaCy imports this module whenever a `Language` is made, also for pipelines without any of these components.
It therefore imports a component only when one is made.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from spacy.language import Language
from thinc.api import Config, Model

from spacy_xner.types import Level, Scheme, Share

if TYPE_CHECKING:
    from spacy_xner.projector.component import EntityProjector
    from spacy_xner.router.component import ClusterRouter
    from spacy_xner.router.identifier import LanguageIdentifier
    from spacy_xner.router.library import LibraryIdentifier
    from spacy_xner.tagger.component import EntityTagger

DEFAULTS = Config().from_str(
    """
[tagger]
scheme = "IOB2"
clusters = ["*"]
spans_key = "xner"
confidence = true
threshold = 0.0
overwrite = false
objectives = {}
scorer = {"@scorers":"spacy_xner.entity_scorer.v1"}

[tagger.model]
@architectures = "spacy_xner.EntityTagger.v1"

[tagger.model.tok2vec]
@architectures = "spacy_xner.TransformerEncoder.v1"
name = "multilingual-e5-small"

[tagger.model.head]
@architectures = "spacy_xner.SoftmaxHead.v1"
class_weights = {}
decode = "viterbi"

[tagger.model.head.loss]
@misc = "spacy_xner.cross_entropy.v1"

[bilstm]
@architectures = "spacy_xner.EntityTagger.v1"

[bilstm.tok2vec]
@architectures = "spacy_xner.BiLSTMEncoder.v1"

[bilstm.head]
@architectures = "spacy_xner.CrfHead.v1"

[identifier]
level = "doc"
min_probability = 0.5
scorer = {"@scorers":"spacy_xner.language_scorer.v1"}

[identifier.model]
@architectures = "spacy_xner.LanguageClassifier.v1"

[identifier.model.sent2vec]
@architectures = "spacy_xner.SentenceEncoder.v1"
name = "multilingual-e5-small"

[library]
languages = []
level = "doc"
min_probability = 0.5
scorer = {"@scorers":"spacy_xner.language_scorer.v1"}

[library.detector]
@misc = "spacy_xner.py3langid_detector.v1"

[router]
threshold = 0.5
fallback = null
fallback_threshold = 0.5

[projector]
suppressed = []
min_probability = 0.0
back_projection = false
keep_incomplete = false
spans_key = "xner"
scorer = {"@scorers":"spacy_xner.entity_scorer.v1"}

[projector.model]
@architectures = "spacy_xner.SimilarityAligner.v1"
method = "span"

[projector.model.tok2vec]
@architectures = "spacy_xner.TransformerEncoder.v1"
name = "multilingual-e5-small"
n_layers = 6
n_frozen_layers = 6
pooling = "mean"
"""
)
IDENTIFIER_SCORE_WEIGHTS = {"language_acc": 1.0, "language_macro_f": 0.0, "language_per_type": None}
TAGGER_ASSIGNS = ["doc.ents", "token.ent_iob", "token.ent_type", "doc.spans"]
TAGGER_SCORE_WEIGHTS = {
    "ents_f": 1.0,
    "ents_p": 0.0,
    "ents_r": 0.0,
    "ents_f_macro": 0.0,
    "ents_per_type": None,
    "ents_per_language": None,
    "ents_per_language_type": None,
    "ents_per_length": None,
    "ents_per_corpus": None,
    "ents_per_corpus_language": None,
    "ents_ece": None,
    "ents_brier": None,
}


@Language.factory(
    "bilstm_crf_ner",
    assigns=TAGGER_ASSIGNS,
    default_config={**DEFAULTS["tagger"], "scheme": "BIOES", "model": DEFAULTS["bilstm"]},
    default_score_weights=TAGGER_SCORE_WEIGHTS,
)
@Language.factory(
    "transformer_ner",
    assigns=TAGGER_ASSIGNS,
    default_config=DEFAULTS["tagger"],
    default_score_weights=TAGGER_SCORE_WEIGHTS,
)
def make_entity_tagger(
    nlp: Language,
    name: str,
    model: Model,
    scheme: Scheme,
    clusters: list[str],
    spans_key: str,
    confidence: bool,
    threshold: float,
    overwrite: bool,
    objectives: dict[str, Any],
    scorer: Callable | None,
) -> "EntityTagger":
    """Make an entity tagger; see `EntityTagger` for the settings."""
    from spacy_xner.tagger.component import EntityTagger
    from spacy_xner.tagger.standing import EarlierPipes

    return EntityTagger(
        nlp.vocab,
        model,
        name,
        scheme=scheme,
        clusters=clusters,
        spans_key=spans_key,
        confidence=confidence,
        threshold=threshold,
        overwrite=overwrite,
        objectives=objectives,
        scorer=scorer,
        earlier=EarlierPipes(nlp),
    )


@Language.factory(
    "language_identifier",
    assigns=["doc._.language", "doc._.language_scores", "doc.spans"],
    default_config=DEFAULTS["identifier"],
    default_score_weights=IDENTIFIER_SCORE_WEIGHTS,
)
def make_language_identifier(
    nlp: Language, name: str, model: Model, level: Level, min_probability: Share, scorer: Callable | None
) -> "LanguageIdentifier":
    """Make a language identifier; see `LanguageIdentifier` for the settings."""
    from spacy_xner.router.identifier import LanguageIdentifier

    return LanguageIdentifier(
        nlp.vocab, model, name, level=level, min_probability=min_probability, scorer=scorer
    )


@Language.factory(
    "library_language_identifier",
    assigns=["doc._.language", "doc._.language_scores", "doc.spans"],
    default_config=DEFAULTS["library"],
    default_score_weights=IDENTIFIER_SCORE_WEIGHTS,
)
def make_library_identifier(
    nlp: Language,
    name: str,
    detector: Callable[[list[str]], Any],
    languages: list[str],
    level: Level,
    min_probability: Share,
    scorer: Callable | None,
) -> "LibraryIdentifier":
    """Make an identifier that asks a library; see `LibraryIdentifier` for the settings."""
    from spacy_xner.router.library import LibraryIdentifier

    return LibraryIdentifier(
        name, detector, languages, level=level, min_probability=min_probability, scorer=scorer
    )


@Language.factory(
    "cluster_router",
    requires=["doc._.language"],
    assigns=["doc._.cluster", "doc._.cluster_score", "doc.spans"],
    default_config=DEFAULTS["router"],
)
def make_cluster_router(
    nlp: Language,
    name: str,
    threshold: Share,
    fallback: str | None,
    fallback_threshold: Share,
) -> "ClusterRouter":
    """Make a router; see `ClusterRouter` for the settings."""
    from spacy_xner.router.component import ClusterRouter

    return ClusterRouter(
        nlp.vocab,
        name,
        threshold=threshold,
        fallback=fallback,
        fallback_threshold=fallback_threshold,
        nlp=nlp,
    )


@Language.factory(
    "entity_projector",
    requires=["doc._.source"],
    assigns=["doc.ents", "doc._.projection", "doc.spans"],
    default_config=DEFAULTS["projector"],
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0},
)
def make_entity_projector(
    nlp: Language,
    name: str,
    model: Model,
    suppressed: list[str],
    min_probability: Share,
    back_projection: bool,
    keep_incomplete: bool,
    spans_key: str,
    scorer: Callable | None,
) -> "EntityProjector":
    """Make a projector; see `EntityProjector` for the settings."""
    from spacy_xner.projector.component import EntityProjector

    return EntityProjector(
        nlp.vocab,
        model,
        name,
        suppressed=suppressed,
        min_probability=min_probability,
        back_projection=back_projection,
        keep_incomplete=keep_incomplete,
        spans_key=spans_key,
        scorer=scorer,
    )
