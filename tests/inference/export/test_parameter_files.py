"""Parameter files of Paddle's exports, which must hold exactly the tensors that they describe."""

from __future__ import annotations

import struct

import pytest
from paddle.base.proto import framework_pb2 as pb

from ppsr.errors import DataError
from ppsr.inference.export.graph_check import check_parameters


def saved_tensor() -> bytes:
    """A one, as Paddle saves tensors: versions, level of detail, description, values."""
    description = pb.VarType.TensorDesc(data_type=pb.VarType.FP32, dims=[1]).SerializeToString()
    return struct.pack("<IQIi", 0, 0, 0, len(description)) + description + struct.pack("<f", 1.0)


@pytest.mark.parametrize(
    "content",
    [
        saved_tensor()[:-1],
        saved_tensor() + b"\0",
        saved_tensor().replace(bytes(8), struct.pack("<Q", 2**62), 1),  # levels, which Paddle reads for hours
        saved_tensor().replace(b"\x10\x01", b"\x10\x7f"),
        saved_tensor().replace(b"\x10\x01", b"\x12\x00"),
        struct.pack("<IQIi", 0, 0, 0, 2**31 - 1),
    ],
)
def test_parameters_that_are_not_what_the_file_holds_are_refused(content, tmp_path):
    path = tmp_path / "net.pdiparams"
    path.write_bytes(saved_tensor() * 3)
    check_parameters(path)
    path.write_bytes(content)
    with pytest.raises(DataError, match="does not hold the parameters"):
        check_parameters(path)
