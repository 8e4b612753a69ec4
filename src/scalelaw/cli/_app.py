"""The application: which verbs there are, and what becomes of an error."""

from __future__ import annotations

import contextlib
import importlib
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .._store.address import masked
from ..errors import InputError, ScalelawError, near

__all__ = ["PANELS", "build", "execute"]

# Help panel -> verb -> the module that holds it. A verb is the function of its own name; `import_` is the verb `import`.
PANELS: Mapping[str, Mapping[str, str]] = {
    "Train and collect": {
        "demo": "demo",
        "coordinates": "coordinates",
        "run": "run",
        "import": "import_",
        "export": "export",
        "handover": "handover",
        "trials": "trials",
        **dict.fromkeys(("tag", "exclude", "include"), "notes"),
    },
    "Analyse": {
        "fit": "fit",
        "optimum": "optimum",
        "forecast": "forecast",
        "score": "score",
        "check": "check",
        "watch": "watch",
        "drift": "drift",
        "compare": "compare",
        "backtest": "backtest",
        "allocate": "allocate",
        "sensitivity": "sensitivity",
        "plan": "plan",
    },
    "Show": {"plot": "plot", "report": "report"},
    "Look up": {
        "doctor": "doctor",
        **dict.fromkeys(("laws", "tasks", "models", "optimisers", "trainers"), "listings"),
        **dict.fromkeys(("importers", "engines", "figures", "diagnostics"), "listings"),
    },
}
VERBS = tuple(verb for panel in PANELS.values() for verb in panel)


class Group(TyperGroup):
    """Lists the verbs in the order of a study, not of the alphabet."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  (the signature is typer's)
        return [name for name in VERBS if name in self.commands]

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  (the signature is typer's)
        """The verbs by panel, each with its whole first sentence."""
        for panel, verbs in PANELS.items():
            with formatter.section(panel):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(200)) for name in verbs])


def build() -> typer.Typer:
    """The application with every verb."""
    app = typer.Typer(
        name="scalelaw",
        cls=Group,
        add_completion=False,
        no_args_is_help=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback(invoke_without_command=True)(root)
    for panel, verbs in PANELS.items():
        for verb, module in verbs.items():
            home = importlib.import_module(f".{module}", __package__)
            app.command(verb, rich_help_panel=panel)(getattr(home, f"{verb}_" if verb == "import" else verb))
    return app


def root(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")] = False,
) -> None:
    """What your next, larger network should reach, how to set it, and whether a run that misses is unlucky or mistuned.

    Start with `scalelaw demo`. DATA is a store (study.db), a CSV, Parquet or JSONL file, or a folder an importer knows.
    """
    del debug
    if version:
        from .. import __version__

        typer.echo(f"scalelaw {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def execute(argv: Sequence[str]) -> int:
    """Run the command line `argv` and return its exit code; every error is one line on stderr."""
    debug = "--debug" in argv
    if not debug:
        warnings.simplefilter("ignore")
    command = typer.main.get_command(build())
    try:
        with command.make_context("scalelaw", [word for word in argv if word != "--debug"]) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as stop:
        return stop.exit_code
    except (BrokenPipeError, SystemExit):  # rich ends the program itself where the pipe is closed
        return _hang_up()
    except (KeyboardInterrupt, typer.Abort):
        return _tell(130, f"interrupted; nothing finished is lost. To go on, run again: scalelaw {shlex.join(argv)}")
    except Exception as error:
        if debug:
            traceback.print_exc()
        _silence()
        return _report(error, argv)
    return 0


def _report(error: Exception, argv: Sequence[str]) -> int:
    """Tell the error in one line; the exit code that goes with it."""
    if isinstance(error, InputError):
        return _tell(2, str(error))
    if isinstance(error, typer.TyperException):
        return _tell(2, _usage(error, argv))
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return _tell(2, f"{place}{error.strerror.lower()}. Choose another path, or mend the permissions or the disk.")
    if isinstance(error, ScalelawError):
        return _tell(1, f"{error} Run the command again with --debug for the traceback")
    return _tell(1, f"this is a bug in scalelaw: {type(error).__name__}: {error}. The traceback: the same command with --debug")


def _usage(error: typer.TyperException, argv: Sequence[str]) -> str:
    """A usage error in one line, ending with the nearest right word or the page that lists them."""
    message = error.format_message().rstrip(".")
    verb = next((word for word in argv if word in VERBS), "")
    if message.startswith("No such command") and "Did you mean" not in message:
        wrong = next((word for word in argv if not word.startswith("-")), "")
        close = near(wrong, VERBS)
        if close:
            message += f". Did you mean {close!r}?"
    end = "" if message.endswith("?") else "."
    return f"{message}{end} See: scalelaw {f'{verb} ' if verb else ''}--help"


def _tell(code: int, message: str) -> int:
    with contextlib.suppress(OSError):
        print(f"scalelaw: {masked(' '.join(message.split()))}", file=sys.stderr)
    return code


def _hang_up() -> int:
    """The reader of our output has gone: end without a word."""
    _silence()
    return 141


def _silence() -> None:
    """Keep Python from writing at exit what could not be written now."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
