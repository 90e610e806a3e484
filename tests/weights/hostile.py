"""Hostile weight files, opcode by opcode: what must never be executed, and ways to damage good files."""

import io
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from ppsr.weights.torch_writer import dump_torch

_GLOBALS = """
os.system os.popen os.execv os.execve os.spawnl os.spawnv os.posix_spawn os.fork os.kill os.remove
os.unlink os.rmdir os.rename os.putenv os.open os.symlink posix.system posix.open posix.execv
posix.fork posix.unlink nt.system subprocess.Popen subprocess.call subprocess.run
subprocess.check_output subprocess.check_call subprocess.getoutput builtins.exec builtins.compile
builtins.__import__ builtins.open builtins.getattr builtins.setattr builtins.delattr
builtins.globals builtins.locals builtins.vars builtins.input builtins.breakpoint builtins.type
builtins.object builtins.map builtins.filter builtins.print builtins.memoryview builtins.bytearray
builtins.super builtins.eval __builtin__.eval __builtin__.execfile __builtin__.file
__builtin__.apply importlib.import_module importlib.__import__ runpy.run_path runpy.run_module
runpy._run_code code.interact code.InteractiveInterpreter pdb.run pdb.Pdb bdb.Bdb timeit.timeit
timeit.main profile.run cProfile.run trace.Trace pickle.loads pickle.load pickle.Unpickler
_pickle.loads marshal.loads shelve.open types.CodeType types.FunctionType functools.partial
functools.reduce operator.attrgetter operator.methodcaller operator.itemgetter itertools.starmap
shutil.rmtree shutil.copyfile shutil.move tempfile.mktemp pathlib.Path io.open io.FileIO _io.open
_io.FileIO codecs.open socket.socket socket.create_connection urllib.request.urlopen
http.client.HTTPConnection webbrowser.open smtplib.SMTP ctypes.CDLL ctypes.cdll ctypes.pythonapi
multiprocessing.Process threading.Thread asyncio.run signal.raise_signal sys.exit sys.settrace
sys.setprofile sys.modules gc.get_objects inspect.getattr_static pty.spawn platform.popen numpy.load
numpy.fromfile numpy.memmap numpy.core.multiarray.fromfile numpy.testing.runstring
numpy.lib.npyio.load numpy._core.multiarray.fromstring numpy.ndarray.tofile torch.load
torch.jit.load torch.hub.load torch.serialization.load torch.storage._load_from_bytes
torch._utils._rebuild_qtensor torch.nn.modules.container.Sequential paddle.load
paddle.utils.run_check collections.Counter collections.OrderedDict.__init__ collections.namedtuple
copyreg._reconstructor _codecs.decode zipimport.zipimporter pkgutil.get_loader site.main
linecache.getlines distutils.spawn.spawn
"""
DANGEROUS = _GLOBALS.split()

WATCHED = (
    *("os.", "subprocess.", "exec", "compile", "import", "socket.", "shutil.", "ctypes."),
    *("marshal.", "pty."),
)


class Watch:
    """Audit events of Python while it is on; a hook cannot be removed, so there is one."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.on = False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple) -> None:
        if not self.on:
            return
        writes = event == "open" and len(arguments) > 1 and set(str(arguments[1])) & set("wax+")
        if event.startswith(WATCHED) or writes:
            self.events.append(f"{event} {arguments!r:.80}")

    @contextmanager
    def watching(self) -> Iterator[list[str]]:
        self.events.clear()
        self.on = True
        try:
            yield self.events
        finally:
            self.on = False


def _text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _global(path: str) -> bytes:
    module, _, name = path.rpartition(".")
    return f"c{module}\n{name}\n".encode()


def _stack_global(path: str) -> bytes:
    module, _, name = path.rpartition(".")
    return _text(module) + _text(name) + b"\x93"


_ARGUMENTS = b"(" + _text("touch /tmp/ppsr-must-not-exist") + b"t"


def _wrap(body: bytes) -> bytes:
    """A dictionary with the payload under a harmless key."""
    return b"\x80\x04}" + _text("weight") + body + b"s."


def payloads() -> Iterator[tuple[str, bytes]]:
    """Named pickles: every dangerous global in every calling form, then tricks without globals."""
    for path in DANGEROUS:
        for form, reference in (("global", _global(path)), ("stack", _stack_global(path))):
            yield f"{path} {form} reduce", _wrap(reference + _ARGUMENTS + b"R")
            yield f"{path} {form} newobj", _wrap(reference + _ARGUMENTS + b"\x81")
        module, _, name = path.rpartition(".")
        yield f"{path} inst", _wrap(b"(" + _text("x") + f"i{module}\n{name}\n".encode())
        yield f"{path} obj", _wrap(b"(" + _global(path) + _text("x") + b"o")
    ordered, array = _global("collections.OrderedDict"), _global("numpy.core.multiarray._reconstruct")
    yield "build on a class", _wrap(ordered + b"}" + _text("__init__") + _text("x") + b"sb")
    yield "build on an instance", _wrap(ordered + b")R}" + _text("__class__") + _text("x") + b"sb")
    yield "build on a builder", _wrap(array + b"}" + _text("__call__") + _text("x") + b"sb")
    yield "slots of a builder", _wrap(array + b"N}" + _text("a") + _text("x") + b"s\x86b")
    yield "a type as value", _wrap(_global("numpy.dtype"))
    yield "array never filled", _wrap(array + b")R")
    yield "object array", _wrap(_global("numpy.dtype") + b"(" + _text("O8") + b"tR")
    yield "eval with an expression", _wrap(_global("builtins.eval") + b"(" + _text("1+1") + b"}tR")
    yield "memo bomb", b"\x80\x04Nr\xff\xff\xff\x7f."
    yield "memo text bomb", b"\x80\x04Np2147483647\n."
    yield "long4", b"\x80\x04\x8b\xff\xff\xff\x7f."
    yield "bytearray8", b"\x80\x05\x96" + b"\xff" * 7 + b"\x7f."
    yield "frame", b"\x80\x04\x95" + b"\xff" * 7 + b"\x7fN."
    yield "bytes8", b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f."
    yield "extension", _wrap(b"\x82\x01")
    yield "persistent text", _wrap(b"Pname\n")
    yield "next buffer", _wrap(b"\x97")
    yield "nesting", b"\x80\x04" + b"]" * 5000 + b"a" * 4999 + b"."
    yield "self reference", b"\x80\x04]\x94h\x00a."
    laughs = b"\x80\x04]\x94"
    for level in range(40):  # each list holds the one before it eight times
        laughs += b"]\x94(" + b"h" + bytes([level]) + (b"h" + bytes([level])) * 7 + b"e"
    yield "shared lists", laughs + b"."
    yield "no stop", b"\x80\x04}"
    yield "nothing", b""


def _zip(pickle_bytes: bytes, **more: bytes) -> bytes:
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w") as archive:
        archive.writestr("archive/data.pkl", pickle_bytes)
        for name, content in more.items():
            archive.writestr(f"archive/{name}", content)
    return result.getvalue()


def _legacy(pickle_bytes: bytes) -> bytes:
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, "protocol_version": 1001, "type_sizes": {}}]
    return b"".join(pickle.dumps(part, 2) for part in head) + pickle_bytes + pickle.dumps([], 2)


CONTAINERS: dict[str, Callable[[bytes], bytes]] = {"zip": _zip, "legacy": _legacy, "bare": bytes}


def _long(number: int) -> bytes:
    return b"\x8a\x09" + number.to_bytes(9, "little", signed=True)


def _tensor(storage: bytes, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """data.pkl of one tensor of a float storage of four elements."""
    place, *shape = (b"".join(map(_long, part)) for part in ((offset,), size, stride))
    reference = b"((" + _text("storage") + _global("torch.FloatStorage") + storage + _text("cpu") + b"K\x04tQ"
    numbers = place + b"(" + b"t(".join(shape) + b"t"
    return _wrap(_global("torch._utils._rebuild_tensor_v2") + reference + numbers + b"\x89}tR")


def archives() -> Iterator[tuple[str, bytes]]:
    """Zip containers with a wrong outside or impossible tensors."""
    data, good = {"data/0": bytes(16)}, _text("0")
    shapes = {
        "beyond the end": (0, (5,), (1,)),
        "offset": (4, (1,), (1,)),
        "stride": (0, (2,), (4,)),
        "expanded to terabytes": (0, (1 << 40,), (0,)),
        "negative stride": (3, (4,), (-1,)),
        "negative size": (0, (-1,), (1,)),
        "negative offset": (-1, (1,), (1,)),
        "overflow": (0, (1 << 62, 1 << 62), (1, 1)),
        "ranks differ": (0, (2, 2), (1,)),
    }
    for name, (offset, size, stride) in shapes.items():
        yield f"tensor {name}", _zip(_tensor(good, offset, size, stride), **data)
    yield "storage outside", _zip(_tensor(_text("../../../etc/passwd"), 0, (4,), (1,)), **data)
    yield "storage missing", _zip(_tensor(_text("7"), 0, (4,), (1,)), **data)
    yield "storage short", _zip(_tensor(good, 0, (4,), (1,)), **{"data/0": bytes(15)})
    yield "big endian", _zip(_tensor(good, 0, (4,), (1,)), byteorder=b"big", **data)
    yield "torchscript", _zip(_tensor(good, 0, (4,), (1,)), **{"constants.pkl": b"", **data})
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", _wrap(b"N"))
        archive.writestr("archive/data/0", bytes(50_000_000))
    yield "compressed", bomb.getvalue()
    many = b"\x80\x02}"
    one = _tensor(good, 0, (4,), (1,))[3:-2]
    for index in range(100):
        many += _text(str(index)) + one[one.index(b"c") :] + b"s"
    yield "many views of one storage", _zip(many + b".", **data)


def files() -> Iterator[tuple[str, str, bytes]]:
    """Every hostile file: name, suffix, contents."""
    for name, body in payloads():
        for container, build in CONTAINERS.items():
            yield f"{name} in {container}", ".pdparams" if container == "bare" else ".pth", build(body)
    for name, content in archives():
        yield name, ".pth", content
    one = b'"w":{"dtype":"F32","shape":[1],"data_offsets":[%d,%d]}'
    repeated = b"{" + one % (0, 4) + b"," + one % (0, 4) + b"}"
    for name, header in {
        "header too long": b"\xff" * 8,
        "gap": struct.pack("<Q", 62) + (b"{" + one % (4, 8) + b"}").ljust(62) + bytes(8),
        "repeated key": struct.pack("<Q", 120) + repeated.ljust(120) + bytes(4),
        "deep header": struct.pack("<Q", 40000) + b"[" * 40000,
    }.items():
        yield f"safetensors {name}", ".safetensors", header


def seeds() -> list[tuple[str, bytes]]:
    """Small good files of every container, to be damaged."""
    rng = np.random.default_rng(5)
    state = {"conv.weight": rng.standard_normal((2, 3)).astype("f4"), "conv.bias": np.arange(3, dtype="i8")}
    nested = {"generator": state, "discriminator": {"w": np.ones(2, "f4")}}
    return [
        (".pdparams", pickle.dumps(state, 4)),
        (".pdparams", pickle.dumps(nested, 2)),
        (".pth", dump_torch({"params": state})),
    ]


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """One to four damages: bits, bytes, cuts, repeats, insertions of opcodes or extreme numbers."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            break
        place, kind = int(rng.integers(len(data))), int(rng.integers(7))
        span = int(rng.integers(1, 24))
        if kind == 0:
            data[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[place] = int(rng.integers(256))
        elif kind == 2:
            del data[place : place + span]
        elif kind == 3:
            data[place:place] = data[place : place + span]
        elif kind == 4:
            data[place:place] = rng.bytes(span)
        elif kind == 5:
            extremes = (b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\xff\xff\xff\x7f")
            data[place : place + 4] = extremes[span % 3]
        else:
            del data[place:]
    return bytes(data)
