"""A tokenizer for text in any language: spaCy's, with CJK characters and elided articles apart."""

from collections.abc import Callable, Iterable
from pathlib import Path

import spacy
import srsly
from spacy.language import Language
from spacy.tokenizer import Tokenizer
from spacy.util import compile_infix_regex, compile_prefix_regex, registry

from spacy_xner.errors import Errors, XnerError, named_damage
from spacy_xner.storage import checksum, read_part

# Han with its extensions, Hiragana and Katakana. Their scripts put no space between words, so that one
# character is the largest unit whose boundaries never cut across an entity. WikiAnn does the same.
_CJK = "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
_CJK += "\U00020000-\U0003ffff"
# Marks that lengthen or join are kept apart as well: WikiAnn writes them as tokens.
_CJK_PUNCTUATION = "\u3001-\u3002\u3005-\u3007\u300c-\u300f\u30fb-\u30fe"
_SPLIT = rf"(?<=[{_CJK}{_CJK_PUNCTUATION}])|(?=[{_CJK}{_CJK_PUNCTUATION}])"

# French and Italian write a short word and the next one together: the article is no part of a name.
_ELISION = (
    r"(?:[cdjlmnstCDJLMNST]|[Qq]u|[Jj]usqu|[Ll]orsqu|[Pp]uisqu"
    r"|[Uu]n|[Gg]l|[Qq]uell|[Aa]ll|[Dd]all|[Dd]ell|[Nn]ell|[Ss]ull|[Cc]oll)['\u2019](?=[^\W\d_])"
)


class GuardedTokenizer(Tokenizer):
    """spaCy's tokenizer, whose rules are saved with a checksum: other tokens are other entities."""

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Save the rules."""
        stored = bytes(super().to_bytes(exclude=tuple(exclude)))
        return bytes(srsly.msgpack_dumps({**srsly.msgpack_loads(stored), "checksum": checksum(stored)}))

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "GuardedTokenizer":
        """Load the rules. RAISES: As `from_bytes`; XNER340 for what is no file."""
        with named_damage("tokenizer"):
            return self.from_bytes(read_part(Path(path)), exclude=exclude)

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> "GuardedTokenizer":
        """Load the rules; older ones have no checksum.

        RAISES: XNER302 for what cannot be read, XNER345 for others than were saved.
        """
        with named_damage("tokenizer"):
            message = srsly.msgpack_loads(bytes_data)
            expected = message.pop("checksum", None)
            stored = bytes(srsly.msgpack_dumps(message))
            if expected not in (None, checksum(stored)):
                raise XnerError(Errors.XNER345)
            super().from_bytes(stored, exclude=tuple(exclude))
        return self


def create_multilingual_tokenizer() -> Callable[[Language], Tokenizer]:
    """Create spaCy's tokenizer that also cuts CJK characters and elided articles off."""

    def build(nlp: Language) -> Tokenizer:
        usual = registry.tokenizers.get("spacy.Tokenizer.v1")()(nlp)
        infixes = [*(nlp.Defaults.infixes or []), _SPLIT]
        prefixes = [*(nlp.Defaults.prefixes or []), _ELISION]
        return GuardedTokenizer(
            nlp.vocab,
            rules=usual.rules,
            prefix_search=compile_prefix_regex(prefixes).search,
            suffix_search=usual.suffix_search,
            infix_finditer=compile_infix_regex(infixes).finditer,
            token_match=usual.token_match,
            url_match=usual.url_match,
        )

    return build


def blank_pipeline() -> Language:
    """A pipeline without components, with the tokenizer of all languages."""
    nlp = spacy.blank("xx")
    nlp.tokenizer = create_multilingual_tokenizer()(nlp)
    return nlp
