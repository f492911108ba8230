"""Token vectors without the mean of their language: an encoder around any other.

SOURCE: Libovický et al. 2020, https://arxiv.org/abs/2004.05160: the mean of a language's vectors says which
language it is; what is left is more alike between languages.
DIFFERS: The encoder may be trained meanwhile: the means of its texts can be computed anew as it moves.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, Literal

import numpy
import torch
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d

from spacy_xner.attributes import register_attributes
from spacy_xner.errors import Errors, XnerError
from spacy_xner.shim import TorchShim
from spacy_xner.tagger.model import Encoder
from spacy_xner.types import Count, Size

# A language without a mean loses the mean of all languages' means, that of its own documents in the batch, or
# nothing.
Unseen = Literal["all", "batch", "none"]
# Documents that are read at once.
N_BATCH = 32


class LanguageMeans(torch.nn.Module):
    """The mean vector of every language. It has no weights that are trained.

    cfg: `languages`, in the order of the rows, and `width`.
    RAISES: XNER357 for other settings.
    """

    means: torch.Tensor

    def __init__(self, cfg: dict[str, Any]) -> None:
        super().__init__()
        languages, width = cfg.get("languages"), cfg.get("width")
        names = languages if isinstance(languages, list) else []
        is_list = bool(names) and all(isinstance(name, str) for name in names)
        if not is_list or len(set(names)) < len(names) or not isinstance(width, int) or width < 1:
            raise XnerError(Errors.XNER357.format(found=cfg))
        self.place_of = {name: i for i, name in enumerate(names)}
        self.register_buffer("means", torch.zeros(len(self.place_of), width))
        # The means are computed of these texts, which are not stored.
        self.texts: dict[str, list[Doc]] = {}
        self.n_updates = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "texts": {}}


def build_language_means(
    tok2vec: Encoder,
    n_texts: Size = 100,
    refresh: Count = 0,
    unseen: Unseen = "all",
    language: str | None = None,
) -> Encoder:
    """Build an encoder that takes the mean of a document's language off its token vectors.

    The means are computed at initialization, of the first documents of every language that the examples have,
    those without labels among them, and are stored with the model. Gradients pass to the inner encoder as if
    the means were constant. A token without a vector stays without one.

    Export and trimming change the inner encoder, and the means stay those that are stored.

    tok2vec: The inner encoder, such as `spacy_xner.TransformerEncoder.v1`. Objectives that look into a
        transformer refuse this one around it (XNER308), and so does the distillation (XNER650).
    n_texts: Documents of each language.
    refresh: Updates of a training between which the means are computed anew; 0 leaves those of the
        initialization. A mean over weights (`averaging`) keeps the last means.
    unseen: The offset where `doc._.language` is not set or has no mean: "all" is the mean of all
        languages, "batch" that of the language's own documents in the batch, "none" is nothing.
    language: The language of all documents, whatever `doc._.language` says.
    """
    register_attributes()
    return Model(
        "language_means",
        forward_means,
        init=init_means,
        layers=[tok2vec],
        shims=[TorchShim(LanguageMeans)],
        dims={"nO": None},
        attrs={"n_texts": n_texts, "refresh": refresh, "unseen": unseen, "language": language},
    )


def forward_means(
    model: Encoder, docs: list[Doc], is_train: bool
) -> tuple[list[Floats2d], Callable[[list[Floats2d]], list[Doc]]]:
    """Compute centred token vectors. Shape: (n_tokens, width) a document."""
    network: Any = model.shims[0].network
    if is_train and model.attrs["refresh"] and network.texts:
        network.n_updates += 1
        if network.n_updates % model.attrs["refresh"] == 0:
            compute_means(model)
    vectors, backprop = model.layers[0](docs, is_train)
    offsets = _offsets(model, network, docs, vectors)
    centred = [
        rows if offset is None else rows - rows.any(axis=1, keepdims=True) * offset
        for rows, offset in zip(vectors, offsets, strict=True)
    ]
    return centred, backprop


def _offsets(model: Encoder, network: Any, docs: list[Doc], vectors: list[Floats2d]) -> list[Any]:
    """Find the offset of each document's vectors. Shape: (width,) each, or None."""
    means = model.ops.asarray2f(network.means.cpu().numpy())
    languages = [_language_of(model, doc) for doc in docs]
    unseen = model.attrs["unseen"]
    measured: dict[str | None, Any] = {}
    if unseen == "batch":
        rows_of = defaultdict(list)
        for language, rows in zip(languages, vectors, strict=True):
            rows_of[language].append(rows[rows.any(axis=1)])
        joined = {language: model.ops.xp.concatenate(rows) for language, rows in rows_of.items()}
        measured = {language: rows.mean(axis=0) for language, rows in joined.items() if len(rows)}
    elif unseen == "all":
        measured = dict.fromkeys(languages, means.mean(axis=0))
    places = [network.place_of.get(language) for language in languages]
    return [
        measured.get(language) if place is None else means[place]
        for language, place in zip(languages, places, strict=True)
    ]


def _language_of(model: Encoder, doc: Doc) -> str | None:
    language = model.attrs["language"] or doc._.language
    return language if isinstance(language, str) else None


def init_means(model: Encoder, X: list[Doc] | None = None, Y: Any = None) -> None:
    """Initialize the inner encoder, and compute the means of the documents' languages.

    RAISES: XNER356 if no document has a language and any token.
    """
    inner = model.layers[0]
    inner.initialize(X=X)
    texts: dict[str, list[Doc]] = defaultdict(list)
    for doc in X or []:
        language = _language_of(model, doc)
        if language and len(doc) and len(texts[language]) < model.attrs["n_texts"]:
            texts[language].append(doc.copy())
    width = inner.maybe_get_dim("nO")
    if width is None and X:
        width = inner.predict(X[:1])[0].shape[1]
    languages = sorted(language for language in texts if texts[language])
    if not languages:
        raise XnerError(Errors.XNER356.format(n=len(X or [])))
    shim: TorchShim = model.shims[0]
    shim.start({"languages": languages, "width": int(width)})
    network: Any = shim.network
    network.texts = dict(texts)
    model.set_dim("nO", width, force=True)
    compute_means(model)


@torch.no_grad()
def compute_means(model: Encoder) -> None:
    """Compute the means of the texts that the model was initialized with."""
    network: Any = model.shims[0].network
    for language, place in network.place_of.items():
        texts = network.texts.get(language, [])
        total, n = numpy.zeros(network.means.shape[1]), 0
        for start in range(0, len(texts), N_BATCH):
            for rows in model.layers[0].predict(texts[start : start + N_BATCH]):
                array = model.ops.to_numpy(rows)
                total += array.sum(axis=0)
                n += int(array.any(axis=1).sum())
        if n:
            network.means[place] = torch.from_numpy(total / n).to(network.means)
