"""The factory `bilstm_crf_ner`: the entity tagger with this encoder and a CRF."""

from spacy.language import Language
from thinc.api import Config

from spacy_xner.tagger.component import ASSIGNS, DEFAULT_CONFIG, SCORE_WEIGHTS, make_entity_tagger

MODEL = Config().from_str(
    """
[model]
@architectures = "spacy_xner.EntityTagger.v1"

[model.tok2vec]
@architectures = "spacy_xner.BiLSTMEncoder.v1"

[model.head]
@architectures = "spacy_xner.CrfHead.v1"
"""
)["model"]

make_bilstm_tagger = Language.factory(
    "bilstm_crf_ner",
    func=make_entity_tagger,
    assigns=ASSIGNS,
    default_config={**DEFAULT_CONFIG, "scheme": "BIOES", "model": MODEL},
    default_score_weights=SCORE_WEIGHTS,
)
