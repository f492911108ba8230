"""A tokenizer for text in any language: spaCy's, with every CJK character a token of its own."""

from collections.abc import Callable

from spacy.language import Language
from spacy.tokenizer import Tokenizer
from spacy.util import compile_infix_regex, registry

# Han with its extensions, Hiragana and Katakana. Their scripts put no space between words, so that one
# character is the largest unit whose boundaries never cut across an entity. WikiAnn does the same.
_CJK = "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
_CJK += "\U00020000-\U0003ffff"
# Marks that lengthen or join are kept apart as well: WikiAnn writes them as tokens.
_CJK_PUNCTUATION = "\u3001-\u3002\u3005-\u3007\u300c-\u300f\u30fb-\u30fe"
_SPLIT = rf"(?<=[{_CJK}{_CJK_PUNCTUATION}])|(?=[{_CJK}{_CJK_PUNCTUATION}])"


def create_multilingual_tokenizer() -> Callable[[Language], Tokenizer]:
    """Create spaCy's tokenizer with zero-width splits around CJK characters."""

    def build(nlp: Language) -> Tokenizer:
        tokenizer = registry.tokenizers.get("spacy.Tokenizer.v1")()(nlp)
        infixes = [*(nlp.Defaults.infixes or []), _SPLIT]
        tokenizer.infix_finditer = compile_infix_regex(infixes).finditer
        return tokenizer

    return build
