"""Networks as ONNX graphs: made with torch, run without it."""
