"""The verbs of `python -m spacy xner`: one file each, from options to a library function.

spaCy imports this module at every `python -m spacy`. The files of the verbs therefore import nothing heavy
before a verb runs.
"""

from spacy.cli._util import app as spacy_app

from spacy_xner.cli import (  # noqa: F401
    annotate,
    assemble,
    calibrate,
    cluster,
    compare,
    config,
    convert,
    distill,
    evaluate,
    export,
    extend,
    package,
    report,
    separate,
    serve,
    silver,
    train,
    transfer,
    translate,
    trim,
    triples,
    vectors,
)
from spacy_xner.cli.app import xner

spacy_app.add_typer(xner, name="xner")
