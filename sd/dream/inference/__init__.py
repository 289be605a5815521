"""The world model as an environment (WorldModelEnv), the backends that compute it, and its ONNX export."""
