"""``python -m benchmarks [NAME…]``: the figures of the README."""

from importlib import import_module

import typer

NAMES = (
    "plumbing",
    "edge",
    "bank",
    "bank_limits",
    "verdicts",
    "networks",
    "backends",
    "pipeline",
    "detection",
    "live_score",
    "scaling",
)


app = typer.Typer(add_completion=False)


@app.command()
def main(names: list[str] = typer.Argument(None, help=f"which of {', '.join(NAMES)}; all when none is named")) -> None:  # noqa: B008
    """Run benchmarks; each starts what it needs and prints one table. Ratios are to the first row."""
    unknown = sorted(set(names or ()) - set(NAMES))
    if unknown:
        raise typer.BadParameter(f"a benchmark must be one of {', '.join(NAMES)}, got {', '.join(unknown)}")
    for name in names or NAMES:
        import_module(f"benchmarks.{name}").run()


if __name__ == "__main__":
    app()
