"""Rewrites an ONNX graph for float16, of which a GPU reads half as many bytes, and often computes faster.

Products of matrices, convolutions, norms and softmax are computed in float16, and so is what lies between them. All
else stays in float32: positions in a frame, of which float16 does not have enough (at 200 pixels its step is 1/8),
latents, which are fed back from frame to frame, and the 8-bit colours. Inputs and outputs of the graph are unchanged.
"""

import numpy as np

HALF_OPS = {"Conv", "Gemm", "InstanceNormalization", "MatMul", "Softmax"}
# Operators that are in float16 if what they read is; their other inputs may be constants.
SAME_TYPE_OPS = {
    "Add", "Concat", "DepthToSpace", "Div", "Expand", "Mul", "Pad", "Reshape", "Resize", "Sigmoid", "Slice", "Split",
    "Squeeze", "Sub", "Transpose", "Unsqueeze",
}  # fmt: skip
FLOAT32_INPUTS = {"Resize": {1, 2}}  # inputs that are in float32 whatever the type of the others


def half_graph(model):
    """Returns a copy of the onnx.ModelProto `model`, of float32, that computes in float16 what can be."""
    import onnx

    model = onnx.shape_inference.infer_shapes(model)
    converter = Converter(model.graph)
    for node in list(model.graph.node):
        converter.add(node)
    for output in model.graph.output:
        converter.to_float(output.name)
    used = {name for node in converter.nodes for name in node.input}
    weights = [each for each in model.graph.initializer if each.name in used]
    for field, values in (("node", converter.nodes), ("initializer", weights)):
        model.graph.ClearField(field)
        getattr(model.graph, field).extend(values)
    model.graph.ClearField("value_info")
    return model


class Converter:
    """Collects the new nodes. A tensor that is computed in float16 has the suffix of `half_name`."""

    def __init__(self, graph) -> None:
        from onnx import TensorProto

        self.graph, self.nodes = graph, []
        self.constants = {each.name: each for each in graph.initializer}
        floats = {
            value.name
            for value in (*graph.input, *graph.value_info, *graph.output)
            if value.type.tensor_type.elem_type == TensorProto.FLOAT
        }
        self.floats = floats | {
            name for name, each in self.constants.items() if each.data_type == TensorProto.FLOAT
        }
        self.float16: set[str] = set()  # tensors, by their old names, that are there in float16
        self.float16_only: set[str] = set()  # of these, those that are not there in float32
        self.constant_results: set[str] = set()  # tensors that depend on no input of the graph

    @staticmethod
    def half_name(name: str) -> str:
        return f"{name}.f16"

    def add(self, node) -> None:
        """Adds a node, after the casts that it needs. node: an onnx.NodeProto; it is changed."""
        inputs = self.float_inputs(node)
        # The runtime computes these once, when it loads the graph, on the CPU, where it has no float16 for some.
        if all(name in self.constants or name in self.constant_results or not name for name in node.input):
            self.constant_results.update(node.output)
            self.nodes.append(node)
            return
        if not self.is_half(node, inputs):
            for name in node.input:
                self.to_float(name)
            self.nodes.append(node)
            return
        for i in inputs:
            node.input[i] = self.to_half(node.input[i])
        for i, name in enumerate(node.output):
            node.output[i] = self.half_name(name)
            self.float16.add(name)
            self.float16_only.add(name)
        self.nodes.append(node)

    def float_inputs(self, node) -> list[int]:
        """Numbers of the inputs of a node that have the type of its output, if that is a float."""
        if not set(node.output) <= self.floats:
            return []
        fixed = FLOAT32_INPUTS.get(node.op_type, ())
        return [i for i, name in enumerate(node.input) if name in self.floats and i not in fixed]

    def is_half(self, node, inputs: list[int]) -> bool:
        """Whether a node is to be computed in float16. inputs: of `float_inputs`."""
        names = [node.input[i] for i in inputs]
        constants = [name for name in names if name in self.constants]
        divisor = node.input[1] if node.op_type == "Div" else None
        if not names or not all(self.fits(name, name == divisor) for name in constants):
            return False
        if node.op_type in HALF_OPS:
            return True
        others = set(names) - set(constants) - self.constant_results
        return node.op_type in SAME_TYPE_OPS and bool(others) and others <= self.float16_only

    def fits(self, name: str, is_divisor: bool) -> bool:
        """Whether a constant keeps its value in float16: none of its numbers is too large, the largest is a normal one,
        because GPUs may take all below for 0, and rounding changes none by more than a thousandth of the largest. So
        weights may become 0 next to larger ones, but an epsilon may not; nor may any number of a divisor."""
        from onnx import numpy_helper

        values = np.abs(numpy_helper.to_array(self.constants[name]))
        largest, limits = values.max(initial=0), np.finfo(np.float16)
        if largest == 0:
            return True
        if not limits.smallest_normal <= largest < limits.max:
            return False
        if is_divisor and values.min(initial=np.inf, where=values != 0) < limits.smallest_normal:
            return False
        return bool(np.abs(values - values.astype(np.float16)).max() <= 1e-3 * largest)

    def to_half(self, name: str) -> str:
        """The name of a tensor in float16, which is made once."""
        from onnx import TensorProto, helper, numpy_helper

        half = self.half_name(name)
        if name in self.float16:
            return half
        self.float16.add(name)
        if name in self.constants:
            values = numpy_helper.to_array(self.constants[name]).astype(np.float16)
            self.graph.initializer.append(numpy_helper.from_array(values, half))
        else:
            self.nodes.append(helper.make_node("Cast", [name], [half], name=half, to=TensorProto.FLOAT16))
        return half

    def to_float(self, name: str) -> None:
        """Makes a tensor that is there in float16 alone in float32 too."""
        from onnx import TensorProto, helper

        if name in self.float16_only:
            self.float16_only.remove(name)
            self.nodes.append(
                helper.make_node(
                    "Cast", [self.half_name(name)], [name], name=f"{name}.f32", to=TensorProto.FLOAT
                )
            )
