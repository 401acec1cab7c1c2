"""The spare import of ccxt: only what is used, and nobody else notices."""

import subprocess
import sys

import pytest

LEAN = "from hedgegrid.venues.ccxtpro.lean_ccxt import BinanceUsdm, SocketClient"


def run(*lines: str) -> str:
    """Run lines in a fresh interpreter and give what they print; warnings are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_one_exchange_is_imported_and_not_the_other_hundred() -> None:
    """Protects memory and start: the whole of ccxt costs seconds and over 100 MB."""
    told = run(
        "import sys",
        LEAN,
        "BinanceUsdm({})",
        "print(sorted(m for m in sys.modules if m.count('.') == 2 and m.startswith('ccxt.pro.')))",
        "print('ccxt.kraken' in sys.modules or 'ccxt.async_support.kraken' in sys.modules)",
    )
    assert told.splitlines() == ["['ccxt.pro.binance', 'ccxt.pro.binanceusdm']", "False"]


@pytest.mark.parametrize("first", ["", "import ccxt.async_support"])
def test_the_whole_of_ccxt_works_beside_it(first: str) -> None:
    """Protects `data download` and users' own code: before or after, every name is there and each class once."""
    told = run(
        first,
        LEAN,
        "import ccxt, ccxt.pro, ccxt.async_support",
        "assert ccxt.pro.binanceusdm is BinanceUsdm",
        "assert issubclass(BinanceUsdm, ccxt.async_support.binance)",
        "assert ccxt.kraken().id == ccxt.pro.kraken({}).id == ccxt.async_support.kraken({}).id == 'kraken'",
        "assert ccxt.binanceusdm({}).id == 'binanceusdm'",
        "import ccxt.base.errors",
        "from ccxt.base.errors import NetworkError",
        "assert ccxt.NetworkError is NetworkError",
        "from ccxt import *",
        "print(ccxt.__version__ == ccxt.pro.__version__, bitget.__name__)",
    )
    assert told == "True bitget"


def test_a_name_that_ccxt_lacks_is_missing_as_ever() -> None:
    """Protects against an endless search: a wrong name is an AttributeError, and a probe of Python's runs nothing."""
    told = run(
        "import sys",
        LEAN,
        "import ccxt",
        "print(hasattr(ccxt, '__wrapped__'), 'ccxt.kraken' in sys.modules)",
        "print(hasattr(ccxt, 'no_such_exchange'))",
    )
    assert told.splitlines() == ["False False", "False"]
