"""ccxt's parts for one exchange, imported without the other hundred.

``import ccxt.pro`` runs three package files that import every exchange: seconds and over 100 MB. Here the packages
stand unexecuted while the few modules that are needed are imported below them.

Invariants: a package that was imported before is left as it is; one that was not runs its own file, whole and once,
when somebody asks it for a name that it does not have yet. So it does not matter who imports ccxt, what of it, or
when: every name is there and every class exists once.
"""

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any, Final

_PACKAGES: Final = ("ccxt", "ccxt.async_support", "ccxt.pro")
_ASKED_OF_A_PACKAGE: Final = frozenset({"__all__", "__version__"})


class _UnrunPackage(ModuleType):
    """A package whose file has not run: submodules can be imported, and the first name that is missing runs it."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a package holds anything
        """Run the package's file and give ``name``; AttributeError where it has none either."""
        if name.startswith("__") and name not in _ASKED_OF_A_PACKAGE:
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment]  # from here on it is a package like any other
        spec = self.__spec__
        if spec is None or spec.loader is None:
            raise AttributeError(name)
        spec.loader.exec_module(self)
        return getattr(self, name)


def _stand_in(package: str) -> None:
    """Put ``package`` into the import system without running its file; ModuleNotFoundError where it is missing."""
    if package in sys.modules:
        return
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(package, name=package)
    module = _UnrunPackage(package)
    module.__spec__ = spec
    module.__path__ = list(spec.submodule_search_locations or ())
    module.__file__ = spec.origin
    module.__loader__ = spec.loader
    module.__package__ = package
    sys.modules[package] = module
    parent, _, child = package.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


def _lend(package: str, name: str, value: object) -> None:
    """Give an unrun package one name that the modules below it ask it for."""
    module = sys.modules[package]
    if isinstance(module, _UnrunPackage):
        setattr(module, name, value)


def _load() -> tuple[Any, Any]:
    """Import the exchange and the websocket client."""
    for package in _PACKAGES:
        _stand_in(package)
    base = importlib.import_module("ccxt.base.exchange")
    errors = importlib.import_module("ccxt.base.errors")
    _lend("ccxt", "Exchange", base.Exchange)
    for name, value in vars(errors).items():
        if isinstance(value, type):
            _lend("ccxt", name, value)
    # The packages bind the class to the name that importing the submodule has bound to the module.
    for package in _PACKAGES[1:]:
        for name in ("binance", "binanceusdm"):
            module = importlib.import_module(f"{package}.{name}")
            _lend(package, name, getattr(module, name))
    client = importlib.import_module("ccxt.async_support.base.ws.client")
    return sys.modules["ccxt.pro.binanceusdm"].binanceusdm, client.Client


BinanceUsdm, SocketClient = _load()
"""``ccxt.pro.binanceusdm`` and the class of its websocket connections."""
