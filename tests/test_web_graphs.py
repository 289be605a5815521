"""The graphs of the web page, in native ONNX Runtime: rewritten for float16 and with Winograd convolutions."""

import numpy as np
import onnxruntime
import pytest
import torch
from dream.data.start_states import load_start_states
from dream.inference.torch_backend import TorchBackend
from dream.web import check, site
from dream.web.graphs import OPSET, pack_rgba, trace_graphs
from dream.web.half import half_graph
from dream.web.variants import VARIANTS
from dream.web.winograd import winograd_convs
from onnx import TensorProto, helper, numpy_helper
from pretrained import PRETRAINED
from small import CPU, save_small_world_model

# Operators that stay on the GPU (all nodes but two, with the WebGPU provider of ONNX Runtime 1.27). Others may not:
# Min, Round, IsNaN and QuantizeLinear do not, each of which costs a copy to the CPU and back in every frame.
GPU_OPS = {
    "Add", "Cast", "Clip", "Concat", "Conv", "DepthToSpace", "Div", "Expand", "Floor", "Gather", "Gemm", "GridSample",
    "InstanceNormalization", "Less", "MatMul", "Mul", "Pad", "Pow", "ReduceMean", "ReduceSum", "Reshape", "Resize",
    "Sigmoid", "Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip


def run(model, feeds: dict, outputs: list[str] | None = None) -> list[np.ndarray]:
    """The outputs of an onnx.ModelProto."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(outputs, feeds)


def float_values(model) -> set[str]:
    """Names of the outputs of nodes that are computed in float32: those without the suffix of `half_graph`."""
    return {name for node in model.graph.node for name in node.output if not name.endswith(".f16")}


@pytest.fixture(scope="module")
def graphs():
    """The graphs of the pretrained model."""
    backend = TorchBackend(PRETRAINED / "decoder.pt", PRETRAINED / "model.pt", None, CPU)
    return trace_graphs(backend.unet, backend.decoder, backend.steps)


# -- WebGPU ----------------------------------------------------------------------------------------------------------


def test_webgpu_has_all_operators(graphs):
    for model in graphs.values():
        for variant in (model, half_graph(model)):
            assert {node.op_type for node in variant.graph.node} <= GPU_OPS


def test_colours_are_packed_as_a_canvas_wants_them():
    levels = np.random.default_rng(0).integers(256, size=(3, 7, 5), dtype=np.uint8)
    values = torch.from_numpy(levels / np.float32(255))[None]
    values[0, :, 0, 0] = torch.tensor([-0.5, 1.5, 0.4999 / 255])  # clamped and rounded
    rgba = pack_rgba(values).numpy()
    assert rgba.dtype == np.int32
    levels[:, 0, 0] = 0, 255, 0
    expected = np.concatenate([levels.transpose(1, 2, 0), np.full((7, 5, 1), 255, np.uint8)], axis=2)
    assert np.array_equal(rgba.view(np.uint8).reshape(7, 5, 4), expected)


# -- float16 ---------------------------------------------------------------------------------------------------------


def test_what_needs_float32_stays_in_it(graphs):
    """Positions, latents and colours; products, norms and activations do not."""
    model = half_graph(graphs["frame"])
    kinds = {kind: [node.output[0] in float_values(model) for node in model.graph.node if node.op_type == kind]
             for kind in GPU_OPS}  # fmt: skip
    for kind in ("GridSample", "Tanh", "Sqrt", "Where", "Clip", "Floor", "ReduceMean", "Pow"):
        assert all(kinds[kind]), kind
    for kind in ("Gemm", "InstanceNormalization", "Softmax", "Sigmoid", "MatMul"):
        assert not any(kinds[kind]), kind
    assert sum(kinds["Conv"]) == 1  # of constants: the position features, which are computed once
    assert len(kinds["Cast"]) < 20
    for values, others in ((model.graph.input, graphs["frame"].graph.input),
                           (model.graph.output, graphs["frame"].graph.output)):  # fmt: skip
        assert [value.SerializeToString() for value in values] == [
            value.SerializeToString() for value in others
        ]


def test_frames_in_float16_are_those_of_pytorch(graphs, tmp_path):
    """The CPU has no float16 for most operators: it rounds what one node gives to the next, and computes in float32."""
    backend = TorchBackend(PRETRAINED / "decoder.pt", PRETRAINED / "model.pt", None, CPU)
    states = load_start_states(PRETRAINED / "initial_sequence.npz", backend)
    site.write_graphs(backend, tmp_path)
    noise = np.random.default_rng(1).standard_normal(backend.latent_shape, dtype=np.float32)
    expected = check.moving_frame(backend, states, noise) / 255
    for variant in VARIANTS:
        error = check.moving_web_frame(states, noise, tmp_path, variant) - expected
        assert -10 * np.log10(np.mean(error**2)) >= check.MIN_PSNR_DB, variant


def test_float16_is_left_out_if_it_generates_other_frames(monkeypatch, tmp_path, capsys):
    """As of a model whose numbers are too large for it; the page then uses float32."""
    paths = save_small_world_model(tmp_path)
    backend = TorchBackend(paths["decoder_path"], paths["model_path"], None, CPU)
    states = load_start_states(paths["trajectory_path"], backend)
    (tmp_path / "model").mkdir()
    site.write_graphs(backend, tmp_path / "model")
    names = {"decode.webgpu16.onnx", "frame.webgpu16.onnx"}
    check.check_graphs(backend, states, tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} >= names
    assert capsys.readouterr().out == ""
    web_frame = check.moving_web_frame
    broken = lambda *args: web_frame(*args) * (np.nan if args[-1] == "webgpu16" else 1)  # noqa: E731
    monkeypatch.setattr(check, "moving_web_frame", broken)
    check.check_graphs(backend, states, tmp_path / "model")
    assert capsys.readouterr().out == "float16 left out: PSNR nan dB\n"
    left = {path.name for path in (tmp_path / "model").iterdir()}
    assert not left & names and {"frame.webgpu32.onnx", "frame.wasm.onnx"} <= left


def small_graph(nodes: list, weights: dict[str, np.ndarray], shape: tuple[int, ...]):
    """An onnx.ModelProto from x (shape) to y."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    initializers = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    graph = helper.make_graph(nodes, "small", [x], [y], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def test_weights_that_are_too_large_for_float16_stay_in_float32():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("MatMul", ["z", "v"], ["y"])]
    weights = {"w": np.full((4, 4), 1e5, np.float32), "v": np.full((4, 4), 1e-3, np.float32)}
    model = half_graph(small_graph(nodes, weights, (4, 4)))
    assert "z" in float_values(model) and "y.f16" in {
        name for node in model.graph.node for name in node.output
    }
    x = np.eye(4, dtype=np.float32) / 100
    assert np.allclose(
        run(model, {"x": x})[0], run(small_graph(nodes, weights, (4, 4)), {"x": x})[0], rtol=1e-3
    )


@pytest.mark.parametrize("op, value, is_half", [
    ("Div", 1e-12, False), ("Div", 1e-5, False), ("Div", 0.5, True),
    ("Add", 1e-12, False), ("Add", 1e-5, False), ("Add", 0.5, True), ("Add", 0.0, True),
])  # fmt: skip
def test_constants_that_float16_would_change_stay_in_float32(op, value, is_half):
    """An epsilon that becomes 0 gives numbers that are no numbers; small ones may be 0 on a GPU."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node(op, ["z", "c"], ["y"])]
    weights = {"w": np.eye(4, dtype=np.float32), "c": np.full(1, value, np.float32)}
    model = half_graph(small_graph(nodes, weights, (4, 4)))
    assert ("y" not in {node.output[0] for node in model.graph.node if node.op_type == op}) == is_half
    assert np.isfinite(run(model, {"x": np.eye(4, dtype=np.float32)})[0]).all()


def test_weights_that_are_small_next_to_others_do_not_matter_but_divisors_do():
    weights = {
        "w": np.eye(4, dtype=np.float32) + np.float32(1e-12),
        "c": np.array([1, 1, 1, 1e-6], np.float32),
    }
    for op, is_half in (("Add", True), ("Div", False)):
        nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node(op, ["z", "c"], ["y"])]
        model = half_graph(small_graph(nodes, weights, (4, 4)))
        assert "z.f16" in {node.output[0] for node in model.graph.node}
        assert ("y" not in {node.output[0] for node in model.graph.node if node.op_type == op}) == is_half


def test_a_value_that_both_types_need_is_there_in_both():
    """y = sqrt(x w) + x w, where the root is computed in float32."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Sqrt", ["z"], ["root"]),
        helper.make_node("Add", ["root", "z"], ["y"]),
    ]
    weights = {"w": np.eye(4, dtype=np.float32) + 1}
    model = half_graph(small_graph(nodes, weights, (4, 4)))
    x = np.random.default_rng(0).random((4, 4), dtype=np.float32)
    assert np.allclose(
        run(model, {"x": x})[0], run(small_graph(nodes, weights, (4, 4)), {"x": x})[0], rtol=1e-2
    )
    assert {"root", "y"} <= float_values(model)


# -- Winograd convolutions -------------------------------------------------------------------------------------------


def convolution(channels: int, outputs: int, height: int, width: int, bias: bool, seed: int):
    """An onnx.ModelProto of one 3x3 convolution with random weights."""
    rng = np.random.default_rng(seed)
    arrays = {"w": rng.normal(size=(outputs, channels, 3, 3)), "b": rng.normal(size=outputs)}
    names = ["w", "b"] if bias else ["w"]
    weights = [numpy_helper.from_array(arrays[name].astype(np.float32), name) for name in names]
    node = helper.make_node("Conv", ["x", *names], ["y"], pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, each, height, width])
        for name, each in (("x", channels), ("y", outputs))
    )
    graph = helper.make_graph([node], "convolution", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("height, width", [(28, 64), (14, 32), (7, 16), (9, 13), (5, 6), (1, 3)])
def test_winograd_convolutions_give_the_same_result(height, width, bias):
    model = convolution(32, 48, height, width, bias, seed=height)
    rewritten = winograd_convs(model)
    assert any(node.op_type == "DepthToSpace" for node in rewritten.graph.node)
    x = np.random.default_rng(1).normal(size=(1, 32, height, width)).astype(np.float32)
    (expected,), (got,) = (
        onnxruntime.InferenceSession(each.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"x": x}
        )
        for each in (model, rewritten)
    )
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() < 1e-5 * np.abs(expected).max()


def test_convolutions_of_few_channels_stay_as_they_are():
    assert [node.op_type for node in winograd_convs(convolution(4, 48, 8, 8, True, 0)).graph.node] == ["Conv"]
