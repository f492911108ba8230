"""A page of spacy-streamlit: entities with their probabilities, the language, and a slider for the threshold.

pip install spacy-streamlit
streamlit run docs/examples/streamlit_app.py -- xx_xner
"""

import sys

import spacy_streamlit
import streamlit as st
from spacy.language import Language
from spacy.tokens import Doc

TEXT = "Maria Santos won the race in Lisbon."


def surer(doc: Doc, threshold: float) -> Doc:
    """Copy a document without the entities below a probability."""
    copy = doc.copy()
    copy.ents = [
        span
        for span, ent in zip(copy.ents, doc.ents, strict=True)
        if ent._.score is None or ent._.score >= threshold
    ]
    return copy


def table(doc: Doc) -> list[dict[str, object]]:
    """The entities as rows; spacy-streamlit's own table has no attributes of users."""
    return [
        {"text": ent.text, "label": ent.label_, "probability": ent._.score, "start": ent.start_char}
        for ent in doc.ents
    ]


def labels_of(nlp: Language) -> list[str]:
    """The labels of all taggers of a pipeline."""
    taggers = [name for name in nlp.pipe_names if nlp.get_pipe_meta(name).factory.endswith("_ner")]
    return sorted({label for name in taggers for label in nlp.pipe_labels[name]})


def main(pipeline: str) -> None:
    """Draw the page."""
    nlp = spacy_streamlit.load_model(pipeline)
    text = st.text_area("Text", TEXT)
    threshold = st.slider("Least probability", 0.0, 1.0, 0.0, 0.05)
    doc = surer(nlp(text), threshold)
    spacy_streamlit.visualize_ner(doc, labels=labels_of(nlp), show_table=False, title="")
    st.caption(f"Language: {doc._.language or 'unknown'}; cluster: {doc._.cluster or 'none'}")
    st.dataframe(table(doc))


if __name__ == "__main__":
    main(sys.argv[1])
