"""ncnn's .param and .bin: read into named weights where the graph is a known network's, and written."""

from ppsr.weights.ncnn.reader import NcnnWeights, read_ncnn
from ppsr.weights.ncnn.writer import write_ncnn

__all__ = ["NcnnWeights", "read_ncnn", "write_ncnn"]
