"""Load trained pipelines that a command is given, with errors that say what is missing."""

from pathlib import Path

import spacy
from spacy.language import Language

from spacy_xner.errors import Errors, XnerError


def load_pipeline(path: str | Path, component: str = "") -> Language:
    """Load a pipeline from its folder or by the name of its package.

    component: Name of a component that the pipeline must have.
    RAISES: XNER420 if there is no pipeline, XNER421 without the component.
    """
    try:
        nlp = spacy.load(path)
    except OSError as error:
        raise XnerError(Errors.XNER420.format(path=path, reason=error)) from error
    if component and component not in nlp.pipe_names:
        names = ", ".join(nlp.pipe_names) or "none"
        raise XnerError(Errors.XNER421.format(path=path, component=component, names=names))
    return nlp
