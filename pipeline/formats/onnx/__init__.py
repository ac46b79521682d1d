"""ONNX: float from the Keras model, int8 from the .tflite or by ONNX Runtime's quantizer; run in ONNX Runtime."""

from pipeline.formats.onnx.external import files as files
from pipeline.formats.onnx.graph import kernels as kernels
from pipeline.formats.onnx.graph import operators as operators
from pipeline.formats.onnx.predictor import OnnxPredictor as OnnxPredictor
from pipeline.formats.onnx.predictor import load as load
from pipeline.formats.onnx.write import Precision as Precision
from pipeline.formats.onnx.write import write as write
from pipeline.formats.onnx.write import write_from_tflite as write_from_tflite
