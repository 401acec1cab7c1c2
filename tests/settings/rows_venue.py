"""Rows of [venue]: what the exchange is asked, how, and where."""

import re
import socket
from decimal import Decimal
from pathlib import Path

import attrs
import pytest

from tests.live.evidence import Sent, query
from tests.live.trading_bot import TradingBot
from tests.settings.table import ABSENT, Changes, row
from tests.settings.wire import AtStandin, Wired, holding
from tools.standin.weights import RateLimits

LADDERS = AtStandin(name="both ladders rest")
HOLDING = AtStandin(name="a LONG lot is held", drive=holding)
PLACES = ("POST /fapi/v1/order", "POST /fapi/v1/batchOrders", "POST /fapi/v1/algoOrder")


async def trading(bot: TradingBot) -> None:
    """Drive a life until an entry rests somewhere, as the journal has it."""
    await bot.until(lambda: query(bot.journal, f"{ENTRIES} AND state = 'working'") != [])


async def throttled(bot: TradingBot) -> None:
    """Drive a life until its ladders rest, and then at half their quantity by the operator's word."""
    await bot.ladders()
    bot.life.house.operator.throttle(500_000)
    await bot.until(lambda: [each["origQty"] for each in bot.entries()] == ["0.005"] * 4)


async def trying(bot: TradingBot) -> None:
    """Drive a life until the journal has all four entries, whatever became of them, and through two bars more."""
    await bot.until(lambda: len(query(bot.journal, ENTRIES)) >= 4)
    await bot.decided()


ENTRIES = "SELECT client_id FROM orders WHERE purpose = 0"


@attrs.frozen(kw_only=True)
class WithoutAddress(AtStandin):
    """A life that would go to the exchange itself: it is told that there is no such host, and which it asked for."""

    async def play(self, changes: Changes, folder: Path) -> Wired:
        """Begin it; it ends at once."""
        hosts: list[str] = []

        def unknown(host: str, *_: object, **__: object) -> None:
            hosts.append(host)
            raise socket.gaierror("no such host")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", unknown)
            wired = await AtStandin.play(self, changes, folder)
        wired.seen = hosts[0]
        return wired


WATCHING = WithoutAddress(
    name="prices of the exchange itself",
    changes={
        "account.mode": "paper",
        "venue.rest_url": ABSENT,
        "venue.ws_url": ABSENT,
        "venue.ws_api_url": ABSENT,
    },
    # A start waits for an exchange that cannot be found, for as long as it may.
    options={"allow_production_data": True, "duration_s": 0.2},
    together="",
)
EITHER = AtStandin(name="it trades somewhere", drive=trading)
TOKEN = {"file": "{folder}/key"}
REAL = AtStandin(
    name="the real market",
    changes={"venue.environment": "production", "ops.read_token": TOKEN, "ops.control_token": TOKEN},
)
THROTTLED = AtStandin(name="the operator halves what rests", drive=throttled)
NARROW = AtStandin(
    name="the exchange takes ten orders in ten seconds",
    drive=trying,
    changes={"risk.max_orders_per_minute": 10},
    standin={"limits": RateLimits(orders_ten_seconds=10)},
)


def tapped(wired: Wired) -> set[str]:
    """What came to the stand-in by the other address: the first words of the paths that began a connection."""
    assert not wired.refused, wired.refused
    return wired.tapped - {"sapi"}


def code(wired: Wired) -> str:
    """The exchange's code, or the words, in which a start is refused; "" where it is not."""
    # The folder's own name may hold what looks like a code.
    words = wired.refused.removeprefix(f"file {wired.folder}/")
    found = re.search(r"-[12]0[0-9]{2}", words)
    return found[0] if found else words


def one(wired: Wired, request: str, parameter: str) -> set[str]:
    """The values of a parameter over all requests of a name."""
    return {params[parameter] for params in wired.params(request) if parameter in params}


def entries(wired: Wired) -> list[Sent]:
    """The entries that were sent."""
    return [order for order in wired.sent() if order.adds]


def countdowns(wired: Wired) -> list[str]:
    """What the dead-man's switch was set to, in ms, each run of equal values once."""
    told = [params["countdownTime"] for params in wired.params("POST /fapi/v1/countdownCancelAll")]
    return [ms for number, ms in enumerate(told) if number == 0 or told[number - 1] != ms]


ROWS = (
    row(
        "venue.recv_window_ms",
        LADDERS,
        lambda wired: {
            params["recvWindow"] for each in wired.requests if "recvWindow" in (params := each.facts["params"])
        },
        "the validity of the signed requests in ms",
        (10_000, {"10000"}),
        (20_000, {"20000"}),
    ),
    row(
        "venue.leverage",
        LADDERS,
        lambda wired: one(wired, "POST /fapi/v1/leverage", "leverage"),
        "the leverage that is set at the exchange",
        (5, {"5"}),
        (7, {"7"}),
    ),
    row(
        "venue.margin_mode",
        LADDERS,
        lambda wired: "isolated" in wired.refused,
        "whether the start is refused, with a word on isolated margin",
        ("cross", False),
        ("isolated", True),
    ),
    row(
        "venue.order_channel",
        LADDERS,
        lambda wired: {each.facts["transport"] for each in wired.requests if each.name.startswith(PLACES)},
        "how orders come in",
        ("rest", {"rest"}),
        ("websocket", {"ws"}),
    ),
    row(
        "venue.amend",
        THROTTLED,
        lambda wired: (len(wired.params("PUT /fapi/v1/order")), len({order.client_id for order in entries(wired)})),
        "the amendments, and how many entries were sent in all",
        (True, (4, 4)),
        (False, (0, 8)),
    ),
    row(
        "venue.stop_trigger",
        HOLDING,
        lambda wired: one(wired, "POST /fapi/v1/algoOrder", "workingType"),
        "the price that triggers the stops",
        ("mark", {"MARK_PRICE"}),
        ("last", {"CONTRACT_PRICE"}),
    ),
    row(
        "venue.arm_countdown",
        HOLDING,
        countdowns,
        "what the dead-man's switch is set to as a lot is held",
        ("when_safe", ["120000", "0"]),
        ("always", ["120000"]),
        ("never", ["0"]),
    ),
    row(
        "venue.countdown_strips_stops",
        HOLDING,
        countdowns,
        "what the dead-man's switch is set to as a lot is held",
        ("unknown", ["120000", "0"]),
        ("no", ["120000"]),
        ("yes", ["120000", "0"]),
        alike={"unknown": "what is not known counts as yes"},
    ),
    row(
        "watchdog.exchange_countdown_s",
        LADDERS,
        countdowns,
        "what the dead-man's switch is set to in ms",
        (120, ["120000"]),
        (60, ["60000"]),
    ),
    row(
        "venue.rest_url",
        LADDERS,
        tapped,
        "what comes by the other address",
        ("http://{standin}", set()),
        ("http://{tap}", {"fapi"}),
    ),
    row(
        "venue.ws_url",
        LADDERS,
        tapped,
        "what comes by the other address",
        ("ws://{standin}", set()),
        ("ws://{tap}", {"private", "public", "market"}),
    ),
    row(
        "venue.ws_api_url",
        LADDERS,
        tapped,
        "what comes by the other address",
        ("ws://{standin}/ws-fapi/v1", set()),
        ("ws://{tap}/ws-fapi/v1", {"ws-fapi"}),
        given={"venue.order_channel": "websocket"},
    ),
    row(
        "venue.api_key",
        LADDERS,
        code,
        "why the exchange, or the start, refuses it",
        ({"file": "{folder}/key"}, ""),
        ({"env": "PATH"}, "-2015"),
        ({"env": "NO_SUCH_VARIABLE"}, "environment variable NO_SUCH_VARIABLE is not set"),
    ),
    row(
        "venue.api_secret",
        LADDERS,
        code,
        "why the exchange, or the start, refuses it",
        ({"file": "{folder}/secret"}, ""),
        ({"env": "PATH"}, "-1022"),
        ({"file": "{folder}/absent"}, "absent: No such file or directory"),
    ),
    row(
        "venue.name",
        LADDERS,
        lambda wired: wired.refused or wired.market.partition(" ")[0],
        "the exchange in the journal, or the refusal",
        ("binanceusdm", "binanceusdm"),
        ("elsewhere", 'venue.name: expected one of binanceusdm, got "elsewhere"'),
    ),
    row(
        "venue.environment",
        WATCHING,
        lambda wired: wired.seen,
        "the host that is asked for first",
        ("testnet", "demo-fapi.binance.com"),
        ("production", "fapi.binance.com"),
    ),
    row(
        "account.mode",
        EITHER,
        lambda wired: (wired.refused, wired.asked()),
        "the refusal, and what the exchange is asked",
        ("sim", ("", "nothing")),
        ("paper", ("", "prices")),
        ("testnet", ("", "orders")),
    ),
    row(
        "account.mode",
        REAL,
        lambda wired: wired.refused.partition(":")[0],
        "the refusal",
        ("paper", "paper on the real market"),
        ("live", 'mode = "live" trades real money'),
    ),
    row(
        "risk.cancel_budget_ratio",
        NARROW,
        lambda wired: sum(order.adds for order in wired.sent()),
        "the entries that ten orders in ten seconds leave room for",
        (Decimal("0.3"), 4),
        (Decimal("0.6"), 0),
    ),
)
