"""One file of weights for several ONNX graphs: the same weights are stored once, whichever graphs use them."""

from pathlib import Path

import numpy as np

MIN_BYTES = 1024  # smaller tensors stay in the graph
ALIGNMENT = 64  # bytes; the runtime reads whole vectors


class WeightFile:
    """Collects the large tensors of graphs, which then refer to them as ONNX external data."""

    def __init__(self, name: str) -> None:
        """name: of the file, next to the graphs."""
        self.name, self.data, self.offsets = name, bytearray(), {}

    def move_weights(self, model) -> None:
        """Moves the large tensors of `model`, an onnx.ModelProto, to this file."""
        from onnx import TensorProto, numpy_helper

        for tensor in model.graph.initializer:
            values = np.ascontiguousarray(numpy_helper.to_array(tensor))
            if values.nbytes < MIN_BYTES:
                continue
            content = values.tobytes()
            if content not in self.offsets:
                self.data += bytes(-len(self.data) % ALIGNMENT)
                self.offsets[content] = len(self.data)
                self.data += content
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            place = {"location": self.name, "offset": self.offsets[content], "length": len(content)}
            del tensor.external_data[:]
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))

    def save(self, folder: Path) -> None:
        (folder / self.name).write_bytes(self.data)
