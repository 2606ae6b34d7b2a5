"""From an exception to the one line that a person should read."""

from schemas.errors import EngramError

EXTRA_OF = {
    "torch": "worker",
    "redis": "coordinator",
    "safetensors": "coordinator",
    "fastapi": "console",
    "uvicorn": "console",
    "jinja2": "console",
    "matplotlib": "demo",
    "sklearn": "train",
    "tqdm": "train",
    "tensorboard": "train",
    "openvino": "openvino",
    "onnxruntime": "onnx",
    "nncf": "export",
    "onnxscript": "export",
}
"""Which extra brings a library that the base install lacks."""


def one_line(error: Exception, extra: str | None = None) -> str:
    """What a person should read: what is wrong and what to do."""
    if isinstance(error, ModuleNotFoundError):
        root = (error.name or "").partition(".")[0]
        if root in EXTRA_OF:
            brings = extra or EXTRA_OF[root]
            return f"this command needs {root}, which is not installed; run: pip install 'engram[{brings}]'"
    if isinstance(error, EngramError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        where = f" '{error.filename}'" if error.filename else ""
        return f"this machine refuses{where}: {error.strerror} (--log-level debug shows where)"
    return f"{type(error).__name__}: {error} (unexpected; --log-level debug shows where)"
