"""Functions of the user's own, named as module:function."""

import importlib
import importlib.util
import os
import sys
import traceback
from types import ModuleType
from typing import Any

from mfal.errors import MfalError

__all__ = ["import_reference", "make"]


def import_reference(reference: str, what: str) -> Any:
    """The function behind module:function; `what` says in errors what it was to make.

    Modules of the working folder count, if no other has the name. Where a package has a module of
    the function's name, the function in that module is meant.

    Raises:
      MfalError: where it leads nowhere.
    """
    module, separator, name = reference.partition(":")
    remedy = "give an importable module:function"
    if not separator:
        raise MfalError(f"{what} {reference!r}", remedy)
    try:
        found = _import(module)
        try:
            found = getattr(found, name)
        except AttributeError:
            within = f"{module}.{name}"
            if not hasattr(found, "__path__") or importlib.util.find_spec(within) is None:
                raise
            found = importlib.import_module(within)
        own = isinstance(found, ModuleType) and found.__name__ == f"{module}.{name}"
        return getattr(found, name) if own else found
    except (ImportError, AttributeError) as error:
        raise MfalError(f"{what} {reference!r}: {error}", remedy) from error
    except Exception as error:  # it is the user's program
        raise MfalError(f"{what} {reference!r}: {_describe(error)}", "mend the module") from error


def make(reference: str, what: str, *arguments: Any) -> Any:
    """What the function behind module:function returns.

    Raises:
      MfalError: where it leads nowhere, or the function fails.
    """
    function = import_reference(reference, what)
    if not callable(function):
        raise MfalError(f"{what} {reference!r} is no function", "give a module:function")
    try:
        return function(*arguments)
    except MfalError:
        raise
    except Exception as error:  # it is the user's program
        raise MfalError(f"{what} {reference!r}: {_describe(error)}", "mend the function") from error


def _describe(error: Exception) -> str:
    """Kind, message and place of an error in a program that isn't ours."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})"


def _import(module: str) -> Any:
    """The module; one that is nowhere else is looked for in the working folder.

    An installed command's own path leaves that folder out, and it is where users keep theirs. It
    comes last and only where it has the module, so that no file in it stands in for another.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        here = os.getcwd()
        if error.name != module.partition(".")[0] or {"", here} & set(sys.path):
            raise
        sys.path.append(here)
        importlib.invalidate_caches()
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as again:
            if again.name == error.name:
                sys.path.remove(here)
            raise
