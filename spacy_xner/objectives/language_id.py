"""The objective LI: identify the language of unlabelled text (paper 3)."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from spacy.tokens import Doc

from spacy_xner.errors import Errors, XnerError
from spacy_xner.objectives.base import Batch, EncoderObjective
from spacy_xner.objectives.network import LanguageHead, Masked
from spacy_xner.tagger.component import EntityTagger
from spacy_xner.types import Count, Weight
from spacy_xner.types import Window as WindowSize


def create_language_id(
    weight: Weight = 1.0,
    window: WindowSize = 64,
    overlap: Count = 8,
    languages: Literal["unlabelled", "all"] = "unlabelled",
) -> "LanguageId":
    """Create the objective LI: identify the language of text.

    weight: Factor of this loss in the sum.
    window, overlap: Wordpieces of the parts that longer texts are cut into, so that nothing is lost.
    languages: "unlabelled" tells the languages without labels apart, as Moon et al. do; "all" those with
        labels too, whose text is read as well. One language without labels leaves nothing else to tell apart.
    """
    return LanguageId(weight, window, overlap, reads_labelled=languages == "all")


class LanguageId(EncoderObjective):
    """The objective LI."""

    def __init__(self, weight: float, window: int, overlap: int, *, reads_labelled: bool) -> None:
        super().__init__(weight, window, overlap)
        self.reads_labelled = reads_labelled

    def start(self, tagger: EntityTagger, languages: Iterable[str | None], name: str) -> None:
        """Build the head. RAISES: XNER308, XNER311 for fewer than two languages."""
        languages = sorted(language for language in languages if language)
        if len(languages) < 2:
            raise XnerError(Errors.XNER311.format(name=name, languages=", ".join(languages) or "none"))
        super().start(tagger, languages, name)

    def _build_head(self, cfg: dict[str, Any]) -> torch.nn.Module:
        return LanguageHead(self._network.width, max(1, len(self.languages)))

    def update(self, docs: list[Doc], tagger: EntityTagger) -> float:
        for doc in docs:
            if doc._.language not in self.languages:
                raise XnerError(
                    Errors.XNER309.format(
                        language=doc._.language, known=", ".join(self.languages), text=doc.text[:40]
                    )
                )
        return super().update(docs, tagger)

    def _loss(
        self, batch: Batch, docs: list[Doc], tagger: EntityTagger
    ) -> tuple[Masked | None, Callable[[torch.Tensor], torch.Tensor]]:
        index = {language: i for i, language in enumerate(self.languages)}
        gold = torch.tensor([index[docs[w.doc]._.language] for w in batch.windows], device=batch.ids.device)
        return None, lambda hidden: self._head.network(hidden, gold)
