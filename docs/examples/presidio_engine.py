"""Presidio with one multilingual pipeline: it is loaded once, and results have its probabilities.

Presidio's spaCy engine loads a pipeline for every language, and gives every entity a score of 0.85.

    pip install presidio-analyzer
    python docs/examples/presidio_engine.py xx_xner de "Maria Santos wohnt in Lissabon."
"""

import sys
from typing import Any

import spacy
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
from presidio_analyzer.predefined_recognizers import SpacyRecognizer
from spacy.tokens import Doc

NAMES = {"PER": "PERSON", "LOC": "LOCATION", "ORG": "ORGANIZATION"}


class XnerNlpEngine(SpacyNlpEngine):
    """One pipeline for all languages.

    pipeline: Folder or installed package.
    languages: The languages in which Presidio may ask.
    """

    def __init__(self, pipeline: str, languages: list[str]) -> None:
        configuration = NerModelConfiguration(
            model_to_presidio_entity_mapping=NAMES, labels_to_ignore=["MISC"], low_score_entity_names=[]
        )
        models = [{"lang_code": language, "model_name": pipeline} for language in languages]
        super().__init__(models, configuration)
        self.pipeline, self.languages = pipeline, languages

    def load(self) -> None:
        """Load the pipeline, which serves every language."""
        self.nlp = dict.fromkeys(self.languages, spacy.load(self.pipeline))

    def process_text(self, text: str, language: str) -> Any:
        """Annotate a text whose language is known."""
        doc = self.nlp[language].make_doc(text)
        doc._.language = language
        return self._doc_to_nlp_artifact(self.nlp[language](doc), language)

    def _get_scores_for_entities(self, doc: Doc) -> list[float]:
        # Entities of earlier components, such as an `entity_ruler`, may have no probability.
        return [1.0 if ent._.score is None else ent._.score for ent in doc.ents]


def make_analyzer(pipeline: str, languages: list[str]) -> AnalyzerEngine:
    """Build Presidio's analyzer with its predefined recognizers and the pipeline."""
    engine = XnerNlpEngine(pipeline, languages)
    engine.load()
    registry = RecognizerRegistry(supported_languages=languages)
    registry.load_predefined_recognizers(languages=languages, nlp_engine=engine)
    registry.remove_recognizer("SpacyRecognizer")
    for language in languages:
        registry.add_recognizer(
            SpacyRecognizer(supported_language=language, supported_entities=[*NAMES.values()])
        )
    return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=languages)


if __name__ == "__main__":
    analyzer = make_analyzer(sys.argv[1], [sys.argv[2]])
    for result in analyzer.analyze(sys.argv[3], language=sys.argv[2]):
        print(result.entity_type, sys.argv[3][result.start : result.end], round(result.score, 2))
