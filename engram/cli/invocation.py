"""What all commands have in common: their settings file, log options, and the way errors are told."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import typer
from rich.markup import escape
from typer.models import ParameterInfo

from engram.cli.errors import reported_errors
from engram.logs import configure_logging
from schemas.settings import Loaded, Settings, load_with_origins
from schemas.settings.connections import LogSection

S = TypeVar("S", bound=Settings)
PANEL = "Settings"

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", envvar="ENGRAM_CONFIG", help="TOML file of settings.", rich_help_panel=PANEL),
]
LevelOption = Annotated[
    Literal["debug", "info", "warning", "error"] | None,
    typer.Option("--log-level", help="Least severity written to standard error.", rich_help_panel=PANEL),
]
FormatOption = Annotated[
    Literal["text", "json"] | None,
    typer.Option("--log-format", help="Text for people, JSON for collectors.", rich_help_panel=PANEL),
]
COMMON = {"config": ConfigOption, "log_level": LevelOption, "log_format": FormatOption}


@dataclass(frozen=True, slots=True)
class Invocation:
    """The common options of one call of a command. Commands that share more have a class of it, see ``command``."""

    config: Path | None
    log_level: str | None
    log_format: str | None

    def load(self, kind: type[S], overrides: Mapping[str, object] | None = None) -> Loaded[S]:
        """Settings and origins, and logging set up as they say. ``overrides``: see ``load_settings``.

        Raises:
            SettingsError: see ``load_settings``.
        """
        flags = {"log.level": self.log_level, "log.format": self.log_format}
        loaded = load_with_origins(kind, self.config, {**flags, **(overrides or {})})
        configure_logging(loaded.settings.log)
        return loaded

    def settings(self, kind: type[S], overrides: Mapping[str, object] | None = None) -> S:
        """As ``load``, without the origins."""
        return self.load(kind, overrides).settings


def command(
    app: typer.Typer, name: str, extra: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as command ``name``. Its first parameter gets the ``Invocation``; help is its docstring.

    If that is a class of ``Invocation`` with fields of its own, these are options too.

    Args:
        app: where.
        name: what people type.
        extra: the extra of the package that brings what the command needs, if it needs one.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        first, *own = inspect.signature(function, eval_str=True).parameters.values()
        kind: type[Invocation] = first.annotation
        shared = _shared(kind)

        @functools.wraps(function)
        def run(**given: Any) -> None:
            invocation = kind(*(given.pop(option) for option in (*COMMON, *shared)))
            with reported_errors(extra):
                configure_logging(_early_log(invocation))
                function(invocation, **given)

        _offer(run, [*shared.values(), *own])
        app.command(name, help=escape(_unwrapped(function.__doc__ or "")))(run)
        return function

    return register


def _unwrapped(text: str) -> str:
    """Paragraphs without the source's line breaks, which a terminal of another width must not inherit."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text).split("\n\n"))


def _early_log(invocation: Invocation) -> LogSection:
    """Log options of the command line alone, for faults before the settings are read."""
    given = {"level": invocation.log_level, "format": invocation.log_format}
    return LogSection.model_validate({key: value for key, value in given.items() if value is not None})


def _shared(kind: type[Invocation]) -> dict[str, inspect.Parameter]:
    """The options that a class of ``Invocation`` adds, by name."""
    parameters = inspect.signature(kind, eval_str=True).parameters
    return {name: parameter for name, parameter in parameters.items() if name not in COMMON}


def _offer(run: Callable[..., None], given: Sequence[inspect.Parameter]) -> None:
    """Give ``run`` these parameters, and the common options."""
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=_literal(parameter.annotation))
        for parameter in given
    ]
    common = [
        inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_literal(annotation))
        for option, annotation in COMMON.items()
    ]
    run.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *common)}


def _literal(annotation: Any) -> Any:
    """With a help text that is shown as it is written: ``[cameras.NAME]`` is a table of the settings, no markup."""
    if get_origin(annotation) is not Annotated:
        return annotation
    of, *told = get_args(annotation)
    shown = [copy(one) for one in told]
    for one in shown:
        if isinstance(one, ParameterInfo) and one.help:
            one.help = escape(one.help)
    hints = (of, *shown)
    return Annotated[hints]
