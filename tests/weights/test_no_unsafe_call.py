"""No call in the package that could execute what a file or an option says."""

import ast
from pathlib import Path

import pytest

import ppsr

PACKAGE = Path(ppsr.__file__).parent
CALLS = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {
    *("pickle.load", "pickle.loads", "paddle.load", "torch.load", "marshal.loads", "joblib.load"),
    *("os.system", "os.popen", "yaml.full_load", "yaml.unsafe_load", "numpy.fromregex"),
}
MODULES = ("pickle", "marshal", "shelve", "dill", "joblib")
REVIEWED = {"weights/unpickle.py"}  # a subclass of Unpickler with a table of its own


def dotted(node: ast.AST) -> str:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def findings(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module in MODULES:
            found.append(f"from {node.module} import")
        if isinstance(node, ast.Attribute) and dotted(node).endswith("pickle.Unpickler"):
            found.append("Unpickler")
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        words = {word.arg: ast.unparse(word.value) for word in node.keywords}
        safe_yaml = "Safe" in " ".join([*map(ast.unparse, node.args), *words.values()])
        if (
            name in CALLS | ATTRIBUTES
            or (
                name.endswith((".extractall", ".extract")) and name != "extractor.extract"
            )  # ncnn's, no archive
            or (name in ("yaml.load", "yaml.load_all") and not safe_yaml)
            or words.get("shell") == "True"
            or words.get("allow_pickle") == "True"
        ):
            found.append(name)
    return found


@pytest.mark.slow
def test_package_has_no_unsafe_call() -> None:
    bad = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        found = [call for call in findings(path.read_text()) if name not in REVIEWED or call != "Unpickler"]
        if found:
            bad[name] = found
    assert not bad


def test_search_finds_each_kind() -> None:
    for call in (
        *(
            "eval('1')",
            "exec('1')",
            "pickle.loads(b'')",
            "paddle.load('x')",
            "torch.load('x')",
            "os.system('x')",
        ),
        *(
            "yaml.load(x)",
            "yaml.load(x, Loader=yaml.FullLoader)",
            "run('x', shell=True)",
            "z.extractall('x')",
        ),
        *("np.load(x, allow_pickle=True)", "from pickle import loads", "pickle.Unpickler(x)"),
    ):
        assert findings(call), call
    assert not findings("yaml.load(x, Loader=yaml.SafeLoader); net.eval(); pickle.dumps(x); np.load(x)")
