"""What is taken for weights and is something else is named, with what to do."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ppsr.errors import WeightError
from ppsr.inference.network import load_network
from ppsr.registry import build_generator
from ppsr.weights import read_weight_file, write_state
from ppsr.weights.opcodes import CorruptFile
from tests.command import run_ppsr

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 67040989\n"
STATE = {"conv.weight": np.ones((4, 4), "f4")}


def _tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("net.pth"))
    return stream.getvalue()


def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("nets/net.pth", "numbers")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("net.pth", LFS, "Git LFS pointer"),
        ("net.safetensors", LFS, "git lfs pull"),
        ("net.bin", LFS, "Git LFS pointer"),
        ("net.pth", b"\xef\xbb\xbf\n<!DOCTYPE html><title>Virus scan</title>", "a web page; the download"),
        ("net.safetensors", b"<html>404</html>", "a web page"),
        ("net.pdparams", b'{"message": "Not Found"}', "a JSON text"),
        ("net.pdiparams", bytes(50), "an exported network of Paddle without the .info.json"),
        (
            "net.json",
            b'{"metadata": {}, "weight_map": {"a": "net-1.bin"}}',
            "weights in several files (net-1.bin, ...)",
        ),
        ("net.json", b'{"base_code":{"magic":"pir"}}', "an exported network of Paddle"),
        ("net.onnx", b"\x08\x08\x12\x07pytorch" + bytes(50), "an ONNX graph"),
        ("net.h5", b"\x89HDF\r\n\x1a\n" + bytes(50), "an HDF5 file"),
        ("net.pth.gz", b"\x1f\x8b" + bytes(50), "a gzip archive; unpack it"),
        ("net.pth.tar", _tar(), "a tar archive; unpack it"),
        ("net.zip", _zip(), "an archive of other files (nets/net.pth); unpack it"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # the bytes hold times
)
def test_other_files_are_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightError) as refused:
        read_weight_file(tmp_path / name)
    assert said in str(refused.value) and name in str(refused.value)


def test_weights_in_several_files_are_read_by_their_index(tmp_path: Path) -> None:
    names = ["m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"]
    state = {"a.weight": np.ones((2, 3), "f4"), "b.weight": np.zeros((3, 2), "f4")}
    index, second = tmp_path / "m.safetensors.index.json", tmp_path / names[1]

    def state_index(*files: str) -> None:
        index.write_text(json.dumps({"weight_map": dict(zip([*state, "c"], files, strict=False))}))

    state_index(*names)
    save_file({"a.weight": state["a.weight"]}, tmp_path / names[0])
    with pytest.raises(WeightError, match=f"{names[1]}: No such file"):
        read_weight_file(index)
    save_file({"b.weight": state["b.weight"]}, second)
    for path in (index, tmp_path):
        found = read_weight_file(path)
        assert found.layout == "torch"
        assert {key: value.tolist() for key, value in found.nets[""].items()} == {
            key: value.tolist() for key, value in state.items()
        }
    with pytest.raises(WeightError, match=rf"one file of several; give their index .*{index.name}"):
        read_weight_file(second)
    state_index(*names, names[1])
    with pytest.raises(CorruptFile, match="names 'c', which its files lack"):
        read_weight_file(index)
    state_index(*names, f"../{tmp_path.name}/{names[0]}")
    with pytest.raises(WeightError, match="only \\.safetensors beside it"):
        read_weight_file(index)


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
@pytest.mark.parametrize("share", [0.1, 0.9])
def test_a_truncated_download_is_named_with_its_size(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    write_state(path, STATE, layout="torch")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightError, match=r"is truncated.* [\d,]+ .*download it\s+again"):
        read_weight_file(path)


def test_a_type_that_is_not_read_is_named_with_its_key(tmp_path: Path) -> None:
    header = json.dumps({"conv.weight": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}).encode()
    (tmp_path / "net.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(2))
    with pytest.raises(WeightError, match=r"'conv\.weight' is of type F8_E4M3; save it as F32"):
        read_weight_file(tmp_path / "net.safetensors")


@pytest.mark.parametrize(("shape", "offsets"), [([1], [0]), ([2], [0, 4])])
def test_wrong_offsets_are_damage(tmp_path: Path, shape: list, offsets: list) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}).encode()
    (tmp_path / "net.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(CorruptFile, match=r"net\.safetensors is truncated or damaged: its \d+ bytes"):
        read_weight_file(tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("RealESRGAN_x4plus.pth", "directory; published weights of this name: --load realesrgan-x4plus"),
        ("https://example.org/net.pth", "is an address: download the file"),
        ("https:/example.org/net.pth", "is an address"),
        ("none.pth", "none.pth: No such file or directory"),
    ],
)
def test_a_name_that_is_no_file_is_answered(tmp_path: Path, monkeypatch, name: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightError) as refused:
        read_weight_file(name)
    assert said in str(refused.value)


def test_networks_of_other_names_in_one_file_are_listed(tmp_path: Path) -> None:
    state = {key: value.numpy() for key, value in build_generator("ESPCN", scale=2).state_dict().items()}
    path = tmp_path / "gan.pth"
    write_state(path, {"gen": state, "disc": STATE})
    with pytest.raises(WeightError, match=r"\['disc', 'gen'\].*ppsr convert .*gan\.pth OUT --key NAME"):
        load_network(load=path)
    done = run_ppsr("models", "identify", path)
    assert done.exit_code == 0
    assert 'gen: {"name": "ESPCN"' in done.output and "disc: unknown network  (1 tensors" in done.output
