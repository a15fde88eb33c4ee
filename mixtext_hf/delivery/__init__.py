"""Trained classifiers for elsewhere: as ONNX, and as the folder of a Space."""

from .onnx_export import ExportedModel, export_onnx
from .space import make_space


__all__ = ["ExportedModel", "export_onnx", "make_space"]
