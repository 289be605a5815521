"""The variants of the page's graphs, of which a browser takes the fastest that works there."""

from dream.web.half import half_graph
from dream.web.winograd import winograd_convs


def copy_model(model):
    """A copy of an onnx.ModelProto."""
    copy = type(model)()
    copy.CopyFrom(model)
    return copy


# What makes a variant's graphs of the traced ones, by its name, which the files have too: frame.wasm.onnx. The page has
# a list of the same names (sd/web/backend.js).
VARIANTS = {
    "webgpu32": copy_model,
    "webgpu16": half_graph,  # for a GPU that has float16
    "wasm": winograd_convs,
}
FLOAT16 = "webgpu16"  # the one that a page may lack


def graph_file(name: str, variant: str) -> str:
    """The file of the graph "frame" or "decode" of a variant."""
    return f"{name}.{variant}.onnx"
