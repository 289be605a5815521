"""Rewrites the 3x3 convolutions of an ONNX graph as Winograd convolutions: fewer multiplications, the same result.

Winograd's minimal filtering F(m x m, 3 x 3) (Lavin and Gray 2015, arXiv 1509.09308) cuts the picture into tiles of
m x m pixels and transforms each, with its border, to (m + 2)^2 values; in these a convolution is a product of matrices,
over the channels, for each of the (m + 2)^2 positions. With m = 4 that is a quarter of the multiplications. ONNX
Runtime has no such kernel for WebAssembly, so the transforms are written as nodes of the graph:

    tiles = Conv of each channel by itself, with kernel and stride of a tile and the border (m + 2)^2 fixed filters
    products = MatMul of the transformed weights ((m + 2)^2, O, C) and the tiles ((m + 2)^2, C, tiles)
    output = MatMul by the output transform (m^2, (m + 2)^2), then DepthToSpace to put the tiles together

The transform of the weights is in the graph too. The runtime computes it once, when it loads the graph, so that the
file holds the weights of the convolution as they are.
"""

import numpy as np

MIN_CHANNELS = 32  # of a convolution with fewer, the transforms take longer than they save
# F(m x m, 3 x 3) by m: input transform B^T, weight transform G, output transform A^T of one axis.
TRANSFORMS = {
    2: (
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
        [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
        [[1, 1, 1, 0], [0, 1, -1, -1]],
    ),
    4: (
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ],
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ],
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    ),
}


def winograd_convs(model):
    """Returns a copy of the onnx.ModelProto `model` whose 3x3 convolutions of stride 1, with at least MIN_CHANNELS
    channels in and out, are Winograd convolutions."""
    import onnx

    model = onnx.shape_inference.infer_shapes(model)
    graph = model.graph
    shapes = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    weights = {tensor.name: tensor for tensor in graph.initializer}
    builder, nodes = Builder(graph), []
    for node in graph.node:
        m = tile_size(node, weights, shapes)
        nodes += builder.convolution(node, m, shapes[node.output[0]], weights) if m else [node]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    return model


def tile_size(node, weights: dict, shapes: dict) -> int | None:
    """The m for a node; None if it stays as it is."""
    if node.op_type != "Conv" or node.input[1] not in weights or node.output[0] not in shapes:
        return None
    attributes = {each.name: list(each.ints) or each.i for each in node.attribute}
    O, C, *kernel = weights[node.input[1]].dims
    B, _, H, W = shapes[node.output[0]]
    fits = (
        kernel == [3, 3]
        and attributes.get("strides", [1, 1]) == attributes.get("dilations", [1, 1]) == [1, 1]
        and attributes.get("pads") == [1, 1, 1, 1]
        and attributes.get("group", 1) == B == 1
    )
    if not fits or min(O, C) < MIN_CHANNELS:
        return None
    return min(TRANSFORMS, key=lambda m: cost(m, O, C, H, W))


def cost(m: int, O: int, C: int, H: int, W: int) -> float:
    """Multiplications of a convolution, and values of transformed weights that must be read from memory."""
    tiles, n = -(-H // m) * -(-W // m), (m + 2) ** 2
    return tiles * n * (O * C + C * n + O * m * m) + WEIGHT_COST * n * O * C


WEIGHT_COST = 8  # a value read from memory takes as long as so many multiplications


class Builder:
    """Adds nodes and constants to a graph; constants and transformed weights that occur again are shared."""

    def __init__(self, graph) -> None:
        self.graph, self.names, self.count = graph, set(), 0

    def constant(self, name: str, values: np.ndarray) -> str:
        from onnx import numpy_helper

        if name not in self.names:
            self.names.add(name)
            self.graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def floats(self, name: str, values) -> str:
        return self.constant(f"winograd.{name}", np.asarray(values, np.float32))

    def shape(self, *sizes: int) -> str:
        return self.constant("winograd.shape." + ".".join(map(str, sizes)), np.array(sizes, np.int64))

    def convolution(self, conv, m: int, output_shape: tuple, weights: dict) -> list:
        """The nodes in place of `conv`, a Conv node. output_shape: (1, O, H, W)."""
        from onnx import helper

        nodes: list = []
        weight = weights[conv.input[1]]
        O, C = weight.dims[:2]
        _, _, H, W = output_shape
        rows, columns = -(-H // m), -(-W // m)
        tiles, n, prefix = rows * columns, (m + 2) ** 2, f"{conv.output[0]}.winograd"
        input_transform, weight_transform, output_transform = (np.array(each) for each in TRANSFORMS[m])

        def add(op: str, *inputs: str, output: str | None = None, **attributes) -> str:
            output = output or f"{prefix}.{len(nodes)}"
            nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
            return output

        transformed = f"{weight.name}.winograd.{m}"
        if transformed not in self.names:
            self.names.add(transformed)
            flat = add("Reshape", weight.name, self.shape(O * C, 9))
            kron = self.floats(f"weights.{m}", np.kron(weight_transform, weight_transform).T)
            flat = add("Transpose", add("MatMul", flat, kron), perm=[1, 0])
            add("Reshape", flat, self.shape(n, O, C), output=transformed)
        x = add("Reshape", conv.input[0], self.shape(C, 1, H, W))
        filters = np.einsum("ay,bx->abyx", input_transform, input_transform).reshape(n, 1, m + 2, m + 2)
        # zeros around the picture: one above and at the left, and as many as the last tiles need
        pads = [1, 1, rows * m + 1 - H, columns * m + 1 - W]
        x = add(
            "Conv", x, self.floats(f"input.{m}", filters), strides=[m, m], pads=pads
        )  # (C, n, rows, columns)
        x = add("Transpose", add("Reshape", x, self.shape(C, n, tiles)), perm=[1, 0, 2])
        x = add("Reshape", add("MatMul", transformed, x), self.shape(n, O * tiles))
        x = add("MatMul", self.floats(f"output.{m}", np.kron(output_transform, output_transform)), x)
        x = add("Reshape", x, self.shape(1, m * m * O, rows, columns))
        x = add("DepthToSpace", x, blocksize=m, mode="DCR")
        if (rows * m, columns * m) != (H, W):
            ends = self.constant(f"winograd.end.{H}.{W}", np.array([H, W], np.int64))
            begins, axes = (self.constant(f"winograd.{name}", np.array(values, np.int64))
                            for name, values in (("begin", [0, 0]), ("axes", [2, 3])))  # fmt: skip
            x = add("Slice", x, begins, ends, axes)
        if len(conv.input) > 2 and conv.input[2]:
            bias = add("Reshape", conv.input[2], self.shape(1, O, 1, 1))
            add("Add", x, bias, output=conv.output[0])
        else:
            nodes[-1].output[0] = conv.output[0]
        return nodes
