"""Values with limits, as they stand in the signatures of registered functions; names that modules share."""

from typing import Annotated, Literal

from pydantic import Field

# Folder of a pipeline with the parts that its components have alike.
SHARED_FOLDER = "xner_shared"

# Whole numbers.
Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
# Real numbers: `Weight` may be zero, `Positive` may not.
Weight = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
# Parts of a whole: `Share` may be nothing or all, `Rate` is more than nothing, `Discount` less than all.
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, le=1)]
Discount = Annotated[float, Field(ge=0, lt=1)]
# Layers from the lowest on; -1 stands for none, 0 for the embeddings alone.
Frozen = Annotated[int, Field(ge=-1)]
# Wordpieces in a window of an encoder, special ones among them.
Window = Annotated[int, Field(ge=8)]
# Schemes of tags; see `tags`.
Scheme = Literal["IOB1", "IOB2", "BIOES"]
# How a head with a softmax chooses tags; see `tagger.network.SoftmaxHead`.
Decoding = Literal["argmax", "viterbi"]
# The unit that the language identifier names a language for.
Level = Literal["doc", "sentence"]
# Numbers that networks compute with; see `precision`.
Precision = Literal["auto", "float32", "bfloat16", "float16"]
