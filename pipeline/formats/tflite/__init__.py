"""TFLite: converted from a SavedModel, run in LiteRT."""

from pipeline.formats.tflite.graph import converted_ends as converted_ends
from pipeline.formats.tflite.graph import float_kernels as float_kernels
from pipeline.formats.tflite.graph import operators as operators
from pipeline.formats.tflite.predictor import TflitePredictor as TflitePredictor
from pipeline.formats.tflite.predictor import load as load
from pipeline.formats.tflite.read import batch as batch
from pipeline.formats.tflite.read import kernels as kernels
from pipeline.formats.tflite.read import signature as signature
from pipeline.formats.tflite.read import tensor_names as tensor_names
from pipeline.formats.tflite.read import unservable as unservable
from pipeline.formats.tflite.stripping import strip as strip
from pipeline.formats.tflite.write import Precision as Precision
from pipeline.formats.tflite.write import takes_keras as takes_keras
from pipeline.formats.tflite.write import write as write
