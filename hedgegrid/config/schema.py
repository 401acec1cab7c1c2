"""The whole of an account's settings, `AccountConfig`, and the sections that are neither grid, risk nor sim.

Invariants between sections are the rules of `AccountConfig`: modes and environments that contradict each other are
refused, real orders need keys and a protected API, and every account has at least one grid, each on an instrument
of its own and all settled in one currency.
"""

# ruff: noqa: RUF009  # the declaring functions of `fields` return attrs fields, not values

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Literal

import attrs

from hedgegrid.config.fields import (
    Problem,
    Section,
    choice,
    count,
    number,
    optional_text,
    required,
    secret,
    section,
    switch,
    table,
    text,
)
from hedgegrid.config.grid import GridConfig
from hedgegrid.config.risk import RiskConfig
from hedgegrid.config.secrets import SecretRef
from hedgegrid.config.sim import SimConfig
from hedgegrid.config.values import (
    Endpoint,
    Pattern,
    is_loopback,
    key_text,
    listen_fault,
    nearest,
    settle_of,
    split_listen,
)
from hedgegrid.ops.alert_events import EVENTS

Mode = Literal["sim", "paper", "testnet", "live"]
OnStart = Literal["resume", "halt", "flatten"]
OnStop = Literal["cancel_entries", "keep", "flatten"]
VenueName = Literal["binanceusdm"]
Environment = Literal["testnet", "production"]
MarginMode = Literal["cross", "isolated"]
OrderChannel = Literal["rest", "websocket"]
StopTrigger = Literal["mark", "last"]
CountdownStripsStops = Literal["unknown", "no", "yes"]
ArmCountdown = Literal["when_safe", "always", "never"]
Synchronous = Literal["full", "normal"]
AlertLevel = Literal["on", "silent", "off"]

_DAY_MS = 86_400_000
_WEEK_S = 604_800
_PATH = Pattern(expression=r".*\S.*", expected="the path of a file")
ACCOUNT_NAME = Pattern(expression=r"[a-z0-9-]{1,16}", expected="1 to 16 of the characters a-z, 0-9 and -")
_REAL_ORDERS = ("testnet", "live")


@attrs.frozen(kw_only=True)
class AccountSection(Section):
    """Which account this is and how it starts and stops."""

    name: str = text("name of the account; lock, journal and metrics carry it", default="demo", check=ACCOUNT_NAME)
    mode: Mode = choice("exchange in the process, paper fills, practice orders or real ones", default="sim")
    wallet_quote: Decimal = number(
        "wallet at the start, sim and paper only", unit="quote", default=10_000, open_low=True
    )
    on_start: OnStart = choice("what a start does with what it finds", default="resume")
    on_stop: OnStop = choice("what a clean stop does with what rests", default="cancel_entries")
    adopt_foreign: bool = switch("cancel orders that are not ours, and give positions our exits", default=False)


@attrs.frozen(kw_only=True)
class VenueConfig(Section):
    """The exchange and how it is spoken to."""

    name: VenueName = choice("the exchange", default="binanceusdm")
    environment: Environment = choice("its practice or its real environment", default="testnet")
    api_key: SecretRef | None = secret("API key")
    api_secret: SecretRef | None = secret("API secret")
    margin_mode: MarginMode = choice("margin shared by all positions, or each its own", default="cross")
    leverage: int = count("initial leverage set at the exchange", unit="multiple", default=5, low=1, high=125)
    order_channel: OrderChannel = choice("how orders are sent", default="rest")
    amend: bool = switch("amend in one step where the venue can", default=False)
    recv_window_ms: int = count(
        "validity of a request; also fences late arrivals", unit="ms", default=2_000, low=1, high=60_000
    )
    stop_trigger: StopTrigger = choice("the price that triggers stops", default="mark")
    countdown_strips_stops: CountdownStripsStops = choice(
        "whether the dead-man's switch also cancels stops", default="unknown"
    )
    arm_countdown: ArmCountdown = choice("when the dead-man's switch is armed", default="when_safe")
    rest_url: str | None = optional_text(
        "overrides every REST endpoint", unit="url", check=Endpoint(secure="https", plain="http")
    )
    ws_url: str | None = optional_text(
        "overrides every stream endpoint", unit="url", check=Endpoint(secure="wss", plain="ws")
    )
    ws_api_url: str | None = optional_text(
        "overrides the websocket order endpoint", unit="url", check=Endpoint(secure="wss", plain="ws")
    )


@attrs.frozen(kw_only=True)
class WatchdogConfig(Section):
    """How long silence may last before trading pauses."""

    feed_stale_ms: int = count("silence of a feed that pauses", unit="ms", default=5_000, low=1, high=_DAY_MS)
    heartbeat_ms: int = count("time between heartbeats", unit="ms", default=1_000, low=1, high=60_000)
    heartbeat_missed: int = count("missed heartbeats that pause", unit="heartbeats", default=3, low=1, high=1_000)
    resume_after_ms: int = count(
        "how long a cause must be gone before its pause ends", unit="ms", default=10_000, high=_DAY_MS
    )
    max_clock_skew_ms: int = count("clock skew that pauses", unit="ms", default=500, low=1, high=60_000)
    max_loop_lag_ms: int = count("lag of the event loop that pauses", unit="ms", default=250, low=1, high=60_000)
    exchange_countdown_s: int = count(
        "the exchange cancels after this silence, where armed", unit="s", default=120, low=1, high=86_400
    )
    quote_silence_ms: int = count(
        "longest silence of best bid and ask while their socket answers", unit="ms", default=30_000, low=1, high=_DAY_MS
    )
    unknown_pause_ms: int = count(
        "age of an unknown outcome that pauses", unit="ms", default=10_000, low=1, high=_DAY_MS
    )
    account_poll_ms: int = count(
        "time between reads of a quiet account", unit="ms", default=20_000, low=1, high=_DAY_MS
    )


def _backoff_range(supervisor: "SupervisorConfig") -> Iterator[Problem]:
    """The backoff grows from its least to its largest."""
    if supervisor.backoff_min_ms > supervisor.backoff_max_ms:
        yield Problem(path="backoff_min_ms", message="must not be above backoff_max_ms")


@attrs.frozen(kw_only=True)
class SupervisorConfig(Section):
    """How failed actors are restarted and when that is given up."""

    RULES = (_backoff_range,)

    max_restarts: int = count("restarts in the period; one more gives up", unit="restarts", default=3, high=1_000)
    period_s: int = count("period in which restarts are counted", unit="s", default=300, low=1, high=_WEEK_S)
    backoff_min_ms: int = count("wait before the first restart", unit="ms", default=200, low=1, high=_DAY_MS)
    backoff_max_ms: int = count("longest wait before a restart", unit="ms", default=30_000, low=1, high=_DAY_MS)
    stable_s: int = count("uptime that resets the backoff", unit="s", default=600, low=1, high=_WEEK_S)
    crash_boots_max: int = count(
        "crashed boots in a row; one more starts paused", unit="boots", default=3, low=1, high=1_000
    )
    shutdown_timeout_ms: int = count("time an actor has to stop", unit="ms", default=5_000, low=1, high=_DAY_MS)


@attrs.frozen(kw_only=True)
class JournalConfig(Section):
    """The durable record."""

    path: str = text(
        'file of the journal; the loader\'s default is "state/NAME.db"', default="state/demo.db", check=_PATH
    )
    record_quotes: bool = switch("keep the market tape too; backtest --from-journal needs it", default=False)
    synchronous: Synchronous = choice("flush to disk at each commit; normal in sim and paper only", default="full")


def _whole_tls(ops: "OpsConfig") -> Iterator[Problem]:
    """A certificate and its key come together."""
    if (ops.tls_cert is None) != (ops.tls_key is None):
        missing = "tls_cert" if ops.tls_cert is None else "tls_key"
        yield Problem(path=missing, message="tls_cert and tls_key are given together or not at all")


def _protected(ops: "OpsConfig") -> Iterator[Problem]:
    """What other machines can reach is encrypted and asks for a token."""
    needed = {"tls_cert": ops.tls_cert, "tls_key": ops.tls_key, "control_token": ops.control_token}
    missing = [name for name, value in needed.items() if value is None]
    if missing and not is_loopback(split_listen(ops.listen)[0]):
        yield Problem(path="listen", message=f"an address other than loopback needs {', '.join(missing)} too")


@attrs.frozen(kw_only=True)
class OpsConfig(Section):
    """Metrics, HTTP interface and dashboard."""

    RULES = (_whole_tls, _protected)

    listen: str = text("host:port to listen on, port 0 = any free one", default="127.0.0.1:8080", check=listen_fault)
    read_token: SecretRef | None = secret("token that reading asks for; absent = none")
    control_token: SecretRef | None = secret("token that control asks for; absent = no control over HTTP")
    tls_cert: str | None = optional_text("certificate, PEM; needed for any address but loopback", check=_PATH)
    tls_key: str | None = optional_text("its private key, PEM", check=_PATH)


def _event_names(events: Mapping[str, str]) -> str | None:
    """Why a table's keys are not all names of events."""
    unknown = next((key for key in events if key not in EVENTS), None)
    if unknown is None:
        return None
    near = nearest(unknown, EVENTS, likeness=0.0)
    return f"no event is named {key_text(unknown)}; the nearest valid name is {near}"


@attrs.frozen(kw_only=True)
class AlertsConfig(Section):
    """Who is told what."""

    urls: SecretRef | None = secret("apprise URLs, one a line; absent = no alerts")
    default: AlertLevel = choice("what an event does that is not listed", default="on")
    events: Mapping[str, AlertLevel] = table(
        "what single events do instead", unit="name", default={}, check=_event_names
    )


def _environment(config: "AccountConfig") -> Iterator[Problem]:
    """Practice orders go to the practice environment, real ones to the real one."""
    wanted = {"testnet": "testnet", "live": "production"}.get(config.account.mode, config.venue.environment)
    if config.venue.environment != wanted:
        yield Problem(
            path="venue.environment",
            message=f'must be "{wanted}" in {config.account.mode} mode, got "{config.venue.environment}"',
        )


def _keys(config: "AccountConfig") -> Iterator[Problem]:
    """Real orders are signed."""
    if config.account.mode in _REAL_ORDERS:
        for name in ("api_key", "api_secret"):
            if getattr(config.venue, name) is None:
                yield Problem(path=f"venue.{name}", message=f"is required in {config.account.mode} mode")


def _live_tokens(config: "AccountConfig") -> Iterator[Problem]:
    """The interface of a live account is protected on loopback too."""
    if config.account.mode == "live":
        for name in ("read_token", "control_token"):
            if getattr(config.ops, name) is None:
                yield Problem(path=f"ops.{name}", message="is required in live mode")


def _durable(config: "AccountConfig") -> Iterator[Problem]:
    """Intents of real orders survive a power cut."""
    if config.account.mode in _REAL_ORDERS and config.journal.synchronous != "full":
        yield Problem(path="journal.synchronous", message=f'must be "full" in {config.account.mode} mode')


def _own_instruments(config: "AccountConfig") -> Iterator[Problem]:
    """No two grids trade the same legs."""
    seen: dict[str, int] = {}
    for index, grid in enumerate(config.grid):
        first = seen.setdefault(grid.instrument, index)
        if first != index:
            yield Problem(path=f"grid[{index}].instrument", message=f"{grid.instrument} is grid[{first}]'s already")


def _one_currency(config: "AccountConfig") -> Iterator[Problem]:
    """One wallet: everything settles in one currency."""
    currencies = sorted({settle_of(grid.instrument) for grid in config.grid})
    if len(currencies) > 1:
        yield Problem(path="grid", message=f"all instruments must settle in one currency, got {', '.join(currencies)}")


def _one_timeframe(config: "AccountConfig") -> Iterator[Problem]:
    """One replay has one timeframe (section 15.9)."""
    timeframes = dict.fromkeys(grid.timeframe for grid in config.grid)
    if config.sim.market == "recorded" and len(timeframes) > 1:
        yield Problem(
            path="grid", message=f"recorded bars need one timeframe for all grids, got {', '.join(timeframes)}"
        )


def _start_prices(config: "AccountConfig") -> Iterator[Problem]:
    """The invented market starts somewhere."""
    if config.account.mode != "sim" or config.sim.market != "synthetic":
        return
    missing = [grid.instrument for grid in config.grid if grid.instrument not in config.sim.synthetic.prices]
    if missing:
        yield Problem(path="sim.synthetic.prices", message=f"a start price is missing for {', '.join(missing)}")


def _some_grid(grids: tuple[GridConfig, ...]) -> str | None:
    """Why there is nothing to trade."""
    return None if grids else "at least one [[grid]] is required"


@attrs.frozen(kw_only=True)
class AccountConfig(Section):
    """Everything one account is run by. Frozen; a change is a new object."""

    RULES = (
        _environment,
        _keys,
        _live_tokens,
        _durable,
        _own_instruments,
        _one_currency,
        _one_timeframe,
        _start_prices,
    )

    account: AccountSection = section(AccountSection, "which account this is and how it starts and stops")
    venue: VenueConfig = section(VenueConfig, "the exchange")
    sim: SimConfig = section(SimConfig, "the exchange in the process; also the fills of paper and backtest")
    grid: tuple[GridConfig, ...] = required("one table for each instrument", unit="rows", check=_some_grid)
    risk: RiskConfig = section(
        RiskConfig, "limits of the gate and session controls; all of it is required in live mode"
    )
    watchdog: WatchdogConfig = section(WatchdogConfig, "how long silence may last")
    supervisor: SupervisorConfig = section(SupervisorConfig, "restarts of failed actors")
    journal: JournalConfig = section(JournalConfig, "the durable record")
    ops: OpsConfig = section(OpsConfig, "metrics and HTTP interface")
    alerts: AlertsConfig = section(AlertsConfig, "who is told what")
