"""Map word vectors of two languages into one space without a dictionary, and say whether it worked.

SOURCE: Bari et al. 2020 (paper 5), equations 3 to 5.
"""

import numpy

from spacy_xner.errors import Errors, XnerError
from spacy_xner.vectors.judge import Unsupervised, choose_start
from spacy_xner.vectors.starts import MAP_SETTINGS, RANDOM, MapSettings, follow_starts
from spacy_xner.vectors.table import VectorTable

# No two languages share nearly all words; English and Spanish share 453 of 20,000 each, short ones aside.
MAX_SAME = 0.9


def map_without_dictionary(
    source: VectorTable, target: VectorTable, settings: MapSettings = MAP_SETTINGS
) -> Unsupervised:
    """Try several starts, refine each, and keep the one that the others agree with most.

    RAISES: XNER611 for tables of different widths, XNER616 for small ones, XNER617 for one table given twice,
        XNER618 for vectors that are not finite, XNER619 for unknown initialisers.
    """
    _check(source, target, settings.min_words)
    with_random = settings._replace(initialisers=(RANDOM, *settings.initialisers))
    starts, skipped = follow_starts(source, target, with_random)
    return choose_start(source, target, starts, skipped, settings)


def _check(source: VectorTable, target: VectorTable, min_words: int) -> None:
    sizes = len(source.words), len(target.words)
    if min(sizes) < min_words:
        raise XnerError(Errors.XNER616.format(limit=min_words, source=sizes[0], target=sizes[1]))
    widths = source.vectors.shape[1], target.vectors.shape[1]
    if widths[0] != widths[1]:
        raise XnerError(Errors.XNER611.format(source=widths[0], target=widths[1]))
    for side, table in (("source", source), ("target", target)):
        bad = numpy.flatnonzero(~numpy.isfinite(table.vectors).all(axis=1))
        if len(bad):
            raise XnerError(Errors.XNER618.format(n=len(bad), side=side, first=table.words[bad[0]]))
    share = len(set(source.words) & set(target.words)) / min(sizes)
    if share > MAX_SAME or numpy.array_equal(source.vectors, target.vectors):
        raise XnerError(Errors.XNER617.format(share=share))
