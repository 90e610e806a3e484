"""Files that are taken for weights and are something else, by their first bytes, with what to do."""

from __future__ import annotations

HEAD = 512  # bytes that are looked at

_AGAIN = "the download gave it instead of the file; download the file again"
_TEXTS = {  # after white space, in lower case
    b"version https://git-lfs": "a Git LFS pointer; get the file that it stands for: git lfs pull",
    b"<!doctype html": f"a web page; {_AGAIN}",
    b"<html": f"a web page; {_AGAIN}",
    b"<?xml": f"an XML text; {_AGAIN}",
    b"{": f"a JSON text; {_AGAIN}",
}
_UNPACK = "unpack it and give the file in it"
_BINARIES = {
    b"\x1f\x8b": f"a gzip archive; {_UNPACK}",
    b"BZh": f"a bzip2 archive; {_UNPACK}",
    b"\xfd7zXZ": f"an xz archive; {_UNPACK}",
    b"7z\xbc\xaf": f"a 7z archive; {_UNPACK}",
    b"Rar!": f"a RAR archive; {_UNPACK}",
    b"\x89HDF": "an HDF5 file, as Keras writes; only networks of PyTorch, Paddle and ncnn are read",
    b"GGUF": "a GGUF file; only networks of PyTorch, Paddle and ncnn are read",
}
PADDLE_GRAPH = (
    "an exported network of Paddle without the .info.json that `ppsr export` writes; give the weights, or "
    "export them again"
)
_ONNX = "an ONNX graph that ppsr has not exported; give the weights from which it was made"


def foreign_kind(start: bytes, *, numbers: bool = False) -> str | None:
    """What a file is, from its first `HEAD` bytes; None if it is none of these.

    Args:
        numbers: whether the file may begin with any numbers, so that only texts are recognised.
    """
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"{") and b'"base_code"' in text:
        return PADDLE_GRAPH
    for head, kind in _TEXTS.items():
        if text.startswith(head) and b"\0" not in start:
            return kind
    if numbers:
        return None
    if start[257:262] == b"ustar":
        return f"a tar archive; {_UNPACK}"
    if start[:1] == b"\x08" and start[2:3] in (b"\x12", b"\x1a", b"\x3a"):  # version, then producer or graph
        return _ONNX
    return next((kind for head, kind in _BINARIES.items() if start.startswith(head)), None)
