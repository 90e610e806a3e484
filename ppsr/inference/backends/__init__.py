"""Runtimes for exported networks: Paddle Inference, ONNX Runtime, OpenVINO, TensorRT, ncnn."""
