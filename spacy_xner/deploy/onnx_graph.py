"""The layers of a BERT-like encoder as an ONNX graph, written node by node.

A trace of the network would depend on the versions of torch and transformers; a graph of our own depends on
neither, and its matrix products can be in whole numbers with a scale for each token. With one scale for all
tokens of a batch, which onnxruntime's own quantiser writes, what is found in a text would depend on the texts
beside it, and the few tokens with large numbers would take the precision of all others.

Some columns of hidden states are ten times as large as the others, whatever the text, and the scale of a
token has to reach them. They are made smaller and the weights that meet them larger, to the same product.

SOURCE: Xiao et al. 2023, "SmoothQuant", https://proceedings.mlr.press/v202/xiao23c.html, strength 0.5.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy
from numpy.typing import NDArray
from torch import nn

from spacy_xner.errors import Errors, XnerError
from spacy_xner.transformer.exported import HIDDEN, MASK, OUTPUT

Floats = NDArray[numpy.float32]
MICROSOFT = "com.microsoft"
OPSET, IR_VERSION = 17, 8
# Tokens are rounded to whole numbers of a byte around this one.
ZERO = 128


class GraphSettings(NamedTuple):
    """How the layers are written.

    int8: Products of whole numbers.
    reduced_range: Weights of seven bits. Processors without VNNI add two products of a token's and a
        weight's byte in 16 bits, which two of eight bits overflow.
    n_float_layers: So many of the last layers multiply in float32: slower, larger, nearer to the original.
    """

    int8: bool
    reduced_range: bool = False
    n_float_layers: int = 0


class Peaks(NamedTuple):
    """The largest number, without its sign, of each column that a layer's matrix products read.

    queries: Peaks of the products of queries, keys and values. Shape: (n_columns,), as the others.
    attended: Peaks of the product behind attention.
    inner: Peaks of the first product of the feed-forward network.
    outer: Peaks of its second product.
    """

    queries: Floats
    attended: Floats
    inner: Floats
    outer: Floats


class LayerShape(NamedTuple):
    """Sizes that all layers of an encoder have alike.

    eps: The number that layer normalisation adds to the variance.
    """

    width: int
    n_heads: int
    eps: float


def write_layers(
    layers: list[nn.Module], peaks: Sequence[Peaks | None], shape: LayerShape, settings: GraphSettings
) -> bytes:
    """Write layers as one graph: hidden states and mask in, hidden states out.

    peaks: Ranges of each layer on some texts; None for a layer that multiplies in float32.
    RETURNS: The graph; empty for no layers.
    RAISES: XNER160 without the package onnx.
    """
    if not layers:
        return b""
    writer = _Writer(shape, settings)
    hidden = writer.add("Reshape", [HIDDEN, writer.constant("flat_shape", [-1, shape.width])])
    writer.cube = writer.add("Shape", [HIDDEN])
    for layer, its_peaks in zip(layers, peaks, strict=True):
        hidden = writer.add_layer(layer, its_peaks, hidden)
    writer.add("Reshape", [hidden, writer.cube], output=OUTPUT)
    return writer.finish()


def import_onnx() -> Any:
    """Import the package that writes graphs. RAISES: XNER160."""
    try:
        import onnx
    except ImportError as error:
        raise XnerError(Errors.XNER160.format(package="onnx")) from error
    return onnx


class _Writer:
    """Collects nodes and constants. Hidden states are flat: (n_windows * longest, width)."""

    def __init__(self, shape: LayerShape, settings: GraphSettings) -> None:
        self._onnx = import_onnx()
        self._shape = shape
        self._settings = settings
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self.cube = ""

    def add(
        self, kind: str, inputs: list[str], *, output: str = "", domain: str = "", **attributes: Any
    ) -> str:
        """Add a node with one output. RETURNS: The name of the output."""
        output = output or f"t{len(self._nodes)}"
        node = self._onnx.helper.make_node(kind, inputs, [output], domain=domain, **attributes)
        self._nodes.append(node)
        return output

    def constant(self, name: str, value: Any, dtype: str = "int64") -> str:
        """Add a constant, or find the one of this name."""
        if name not in self._constants:
            array = numpy.ascontiguousarray(value, dtype=dtype).reshape(numpy.shape(value))
            self._constants[name] = self._onnx.numpy_helper.from_array(array, name)
        return name

    def weights(self, value: Any, dtype: str = "float32") -> str:
        """Add a constant without a name of its own."""
        return self.constant(f"w{len(self._constants)}", value, dtype)

    def add_layer(self, layer: Any, peaks: Peaks | None, hidden: str) -> str:
        """Add attention and the feed-forward network, each with its residual and normalisation."""
        queries, attended_peaks, inner_peaks, outer_peaks = peaks or (None, None, None, None)
        attention, inner, outer = layer.attention, layer.intermediate.dense, layer.output
        attended = self._attend(attention.self, queries, hidden)
        [product] = self._multiply(attended, attended_peaks, [attention.output.dense])
        hidden = self._normalise(product, attention.output, hidden)
        [product] = self._multiply(hidden, inner_peaks, [inner])
        inputs = [product, self.weights(_numbers(inner.bias))]
        activated = self.add("BiasGelu", inputs, domain=MICROSOFT)
        [product] = self._multiply(activated, outer_peaks, [outer.dense])
        return self._normalise(product, outer, hidden)

    def _attend(self, attention: Any, peaks: Floats | None, hidden: str) -> str:
        projections = [attention.query, attention.key, attention.value]
        products = self._multiply(hidden, peaks, projections)
        queries, keys, values = (self.add("Reshape", [product, self.cube]) for product in products)
        bias = self.weights(numpy.concatenate([_numbers(projection.bias) for projection in projections]))
        attended = self.add(
            "MultiHeadAttention", [queries, keys, values, bias, MASK],
            domain=MICROSOFT, num_heads=self._shape.n_heads,
        )  # fmt: skip
        return self.add("Reshape", [attended, self.constant("flat_shape", [-1, self._shape.width])])

    def _normalise(self, product: str, output: Any, hidden: str) -> str:
        """Add the bias and the layer's input to the product, and normalise."""
        norm = output.LayerNorm
        parts = [_numbers(norm.weight), _numbers(norm.bias), _numbers(output.dense.bias)]
        inputs = [product, hidden, *(self.weights(part) for part in parts)]
        return self.add("SkipLayerNormalization", inputs, domain=MICROSOFT, epsilon=self._shape.eps)

    def _multiply(self, tokens: str, peaks: Floats | None, denses: list[nn.Linear]) -> list[str]:
        """Multiply by the weights of linear layers that read the same numbers, without their biases."""
        matrices = [_numbers(dense.weight).T for dense in denses]
        if peaks is None or not self._settings.int8:
            return [self.add("MatMul", [tokens, self.weights(matrix)]) for matrix in matrices]
        factors = smoothing(peaks, matrices)
        rounded, scale = self._round(self.add("Mul", [tokens, self.weights(1 / factors)]))
        one, zero = self.constant("one", 1.0, "float32"), self.constant("zero", ZERO, "uint8")
        products = []
        for matrix in matrices:
            scales, weights = round_columns(
                matrix * factors[:, None], 63 if self._settings.reduced_range else 127
            )
            inputs = [rounded, self.weights(weights, "int8"), one, self.weights(scales), zero]
            product = self.add("MatMulIntegerToFloat", inputs, domain=MICROSOFT)
            products.append(self.add("Mul", [product, scale]))
        return products

    def _round(self, tokens: str) -> tuple[str, str]:
        """Round every token's numbers to a byte by a scale of its own: its largest number becomes 127.

        RETURNS: Bytes, shape (n_tokens, n_columns), and scales, shape (n_tokens, 1).
        """
        largest = self.add("ReduceMax", [self.add("Abs", [tokens])], axes=[1], keepdims=1)
        # A token may be zeros alone, as padding is.
        smallest = self.constant("smallest", 1e-9, "float32")
        step = self.constant("step", 1 / 127, "float32")
        scale = self.add("Mul", [self.add("Max", [largest, smallest]), step])
        flat = self.add("Reshape", [scale, self.constant("one_axis", [-1])])
        zeros = self.add("Expand", [self.constant("zero", ZERO, "uint8"), self.add("Shape", [flat])])
        return self.add("QuantizeLinear", [tokens, flat, zeros], axis=0), scale

    def finish(self) -> bytes:
        """Write the graph. Equal layers give equal bytes."""
        helper, floats = self._onnx.helper, self._onnx.TensorProto.FLOAT
        cube = ["windows", "longest", self._shape.width]
        inputs = [
            helper.make_tensor_value_info(HIDDEN, floats, cube),
            helper.make_tensor_value_info(MASK, self._onnx.TensorProto.INT32, cube[:2]),
        ]
        outputs = [helper.make_tensor_value_info(OUTPUT, floats, cube)]
        constants = list(self._constants.values())
        graph = helper.make_graph(self._nodes, "layers", inputs, outputs, constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="spacy_xner"
        )
        return bytes(model.SerializeToString(deterministic=True))


def smoothing(peaks: Floats, matrices: list[Floats]) -> Floats:
    """Factors by which columns of tokens are divided and rows of weights multiplied.

    Afterwards the largest numbers of both are alike, column by column. Shape: (n_columns,).
    """
    weights = numpy.max([numpy.abs(matrix).max(axis=1) for matrix in matrices], axis=0)
    return numpy.sqrt(numpy.maximum(peaks, 1e-4) / numpy.maximum(weights, 1e-4)).astype("float32")


def round_columns(weights: Floats, largest: int) -> tuple[Floats, NDArray[numpy.int8]]:
    """Round the columns of a matrix to whole numbers, each by a scale of its own.

    RETURNS: Scales, shape (n_columns,), and numbers from -largest to largest.
    """
    scales = numpy.maximum(numpy.abs(weights).max(axis=0), 1e-12).astype("float32") / largest
    return scales, numpy.rint(weights / scales).astype("int8")


def _numbers(parameter: Any) -> Floats:
    return parameter.detach().float().cpu().numpy()
