"""Prometheus metrics of one account, made from the view when they are asked for.

Invariants: nothing is counted or converted before a scrape; every gauge has a twin ``<name>_age_seconds`` with the same
labels, by the run's clock; a figure that is not known has no sample; no label carries an order id. Counters begin at
zero with the run.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import attrs
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from hedgegrid.model.order import Leg, Purpose
from hedgegrid.ops.readings import (
    RuntimeReading,
    average_entry,
    every_child,
    leg_notional,
    oldest,
    price,
    projected_funding,
    qty,
    quote,
    ratio,
    seconds,
)
from hedgegrid.ops.view import AccountView, InstrumentView
from hedgegrid.units import CASH_SCALE, NS_PER_S

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
"""What ``render`` writes: the text format that every Prometheus reads."""
MODES: Final = ("starting", "hydrating", "warming", "active", "reducing", "flattening", "halted")
"""Every value of ``hedgegrid_permission_state``'s label."""
LEGS: Final = tuple((leg, leg.name.lower()) for leg in Leg)
PURPOSES: Final = tuple((purpose, purpose.name.lower()) for purpose in Purpose)
PREFIX: Final = "hedgegrid_"


class _Gauge:
    """A gauge and its twin that tells the age."""

    def __init__(self, name: str, meaning: str, labels: Sequence[str], account: str, now_ns: int) -> None:
        names = ("account", *labels)
        self._account = account
        self._now_ns = now_ns
        self._value = GaugeMetricFamily(PREFIX + name, meaning, labels=names)
        self._age = GaugeMetricFamily(f"{PREFIX}{name}_age_seconds", f"Age of {PREFIX}{name}.", labels=names)

    def put(self, value: float | None, told_ns: int | None, *labels: str) -> "_Gauge":
        """Add a sample that was told at ``told_ns``; none where the figure is not known."""
        if value is not None and told_ns is not None:
            self._value.add_metric((self._account, *labels), value)
            self._age.add_metric((self._account, *labels), max(0, self._now_ns - told_ns) / NS_PER_S)
        return self

    def families(self) -> tuple[Metric, Metric]:
        return self._value, self._age


class AccountCollector(Collector):
    """Reads the view and the runtime at each scrape."""

    def __init__(
        self, view: AccountView, *, now_ns: Callable[[], int], read_runtime: Callable[[], RuntimeReading]
    ) -> None:
        """Collect from ``view``; ``now_ns`` is the clock that its times come from."""
        self._view = view
        self._now_ns = now_ns
        self._read_runtime = read_runtime

    def describe(self) -> Iterator[Metric]:
        """Name nothing in advance: registering must not read what is not wired yet."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Give every family with the samples that are known now."""
        now_ns = self._now_ns()
        reading = self._read_runtime()
        yield from self._money(reading, now_ns)
        yield from self._at_risk(reading, now_ns)
        yield from self._markets(now_ns)
        yield from self._funding(now_ns)
        yield from self._legs(now_ns)
        yield from self._open_orders(now_ns)
        yield from self._flows(reading, now_ns)
        yield from self._permission(now_ns)
        yield from self._measured(reading, now_ns)
        yield from self._mailboxes(reading, now_ns)
        yield from self._counters(reading)

    def _gauge(self, now_ns: int, name: str, meaning: str, *labels: str) -> _Gauge:
        return _Gauge(name, meaning, labels, self._view.account, now_ns)

    def _counter(self, name: str, meaning: str, *labels: str) -> CounterMetricFamily:
        return CounterMetricFamily(PREFIX + name, meaning, labels=("account", *labels))

    def _each(self) -> Iterator[tuple[str, InstrumentView]]:
        return iter(self._view.instruments.items())

    def _money(self, reading: RuntimeReading, now_ns: int) -> Iterator[Metric]:
        """Give the account's money and worth, each family with no sample while they are not known."""
        wallet = self._gauge(now_ns, "wallet_quote", "Wallet without unrealised profit.")
        realised = self._gauge(now_ns, "realised_pnl_quote", "Realised profit since the account began.")
        fees = self._gauge(now_ns, "fees_paid_quote", "Fees since the account began.")
        funding = self._gauge(now_ns, "funding_paid_quote", "Funding since the account began, net.")
        equity = self._gauge(now_ns, "equity_quote", "Wallet and unrealised profit.")
        unrealised = self._gauge(now_ns, "unrealised_pnl_quote", "Unrealised profit at the mark, both legs.")
        peak = self._gauge(now_ns, "equity_peak_quote", "Highest equity, less what was drawn since.")
        drawdown = self._gauge(now_ns, "drawdown_ratio", "Loss of equity from its peak.")
        held = self._gauge(now_ns, "maintenance_margin_quote", "Equity that must be held.")
        margin = self._gauge(now_ns, "margin_ratio", "Maintenance margin / equity.")
        day = self._gauge(now_ns, "daily_loss_quote", "Equity lost since midnight UTC (negative: won).")
        session = self._gauge(now_ns, "session_loss_quote", "Equity lost since the last reset (negative: won).")
        money = None if reading.account is None else reading.account.money
        if money is not None:
            wallet.put(quote(money.wallet_e8), money.at_ns)
            realised.put(quote(money.realised_e8), money.at_ns)
            fees.put(quote(money.fees_e8), money.at_ns)
            funding.put(quote(money.funding_e8), money.at_ns)
        worth = None if reading.account is None else reading.account.worth
        if worth is not None:
            equity.put(quote(worth.equity_e8), worth.at_ns)
            unrealised.put(quote(worth.unrealised_e8), worth.at_ns)
            peak.put(quote(worth.peak_e8), worth.at_ns)
            drawdown.put(ratio(worth.drawdown_ppm), worth.at_ns)
            held.put(quote(worth.maintenance_e8), worth.at_ns)
            margin.put(ratio(worth.margin_ppm), worth.at_ns)
            day.put(quote(worth.day_loss_e8), worth.at_ns)
            session.put(quote(worth.session_loss_e8), worth.at_ns)
        for gauge in (wallet, realised, fees, funding, equity, unrealised, peak, drawdown, held, margin, day, session):
            yield from gauge.families()

    def _at_risk(self, reading: RuntimeReading, now_ns: int) -> Iterator[Metric]:
        """Give what the account is exposed to as it is held; a distance only where some move liquidates."""
        gross = self._gauge(now_ns, "gross_notional_quote", "Both legs of all instruments as held, others' part too.")
        net = self._gauge(now_ns, "net_notional_quote", "One leg as held less the other, added over instruments.")
        leverage = self._gauge(now_ns, "leverage_ratio", "Gross notional as held / equity.")
        distance = self._gauge(
            now_ns, "liquidation_distance_ratio", "How far all marks may move against the account as held."
        )
        at_risk = self._gauge(now_ns, "value_at_risk_quote", "Value at risk of what is held, by [risk.var].")
        held = None if reading.account is None else reading.account.at_risk
        if held is not None:
            gross.put(quote(held.gross_e8), held.at_ns)
            net.put(quote(held.net_e8), held.at_ns)
            leverage.put(ratio(held.leverage_ppm), held.at_ns)
            distance.put(ratio(held.distance_ppm), held.at_ns)
            at_risk.put(quote(held.var_e8), held.at_ns)
        for gauge in (gross, net, leverage, distance, at_risk):
            yield from gauge.families()

    def _markets(self, now_ns: int) -> Iterator[Metric]:
        bid = self._gauge(now_ns, "bid_price", "Best bid in quote.", "instrument")
        ask = self._gauge(now_ns, "ask_price", "Best ask in quote.", "instrument")
        mark = self._gauge(now_ns, "mark_price", "Mark price in quote.", "instrument")
        event = self._gauge(
            now_ns, "market_event_timestamp_seconds", "The exchange's time of the newest price.", "instrument"
        )
        bar = self._gauge(now_ns, "bar_end_timestamp_seconds", "End of the newest closed bar.", "instrument")
        center = self._gauge(now_ns, "grid_center_price", "Center of the grid in quote.", "instrument")
        generation = self._gauge(now_ns, "grid_generation", "Times that the grid was centered.", "instrument")
        for name, one in self._each():
            bid.put(price(one.rules, one.bid_ticks), one.quote_ns, name)
            ask.put(price(one.rules, one.ask_ticks), one.quote_ns, name)
            mark.put(price(one.rules, one.mark_ticks), one.mark_ns, name)
            event.put(seconds(one.event_ns), one.event_told_ns, name)
            bar.put(seconds(one.bar_end_ns), one.bar_ns, name)
            center.put(price(one.rules, one.center_ticks), one.grid_ns, name)
            generation.put(one.generation, one.grid_ns, name)
        for gauge in (bid, ask, mark, event, bar, center, generation):
            yield from gauge.families()

    def _funding(self, now_ns: int) -> Iterator[Metric]:
        rate = self._gauge(now_ns, "funding_rate_ratio", "Rate of the next settlement, one interval.", "instrument")
        due = self._gauge(now_ns, "next_funding_timestamp_seconds", "Time of the next settlement.", "instrument")
        interval = self._gauge(now_ns, "funding_interval_seconds", "Time between settlements.", "instrument")
        cost = self._gauge(
            now_ns,
            "projected_funding_quote",
            "What the next settlement costs a leg at this rate and mark (negative: it receives).",
            "instrument",
            "leg",
        )
        for name, one in self._each():
            rate.put(None if one.rate_e8 is None else one.rate_e8 / CASH_SCALE, one.funding_ns, name)
            due.put(seconds(one.next_funding_ns), one.funding_ns, name)
            interval.put(seconds(one.funding_interval_ns), one.funding_ns, name)
            for leg, leg_name in LEGS:
                projected = projected_funding(one, leg)
                cost.put(quote(projected), oldest(one.funding_ns, one.mark_ns, one.legs[leg].at_ns), name, leg_name)
        for gauge in (rate, due, interval, cost):
            yield from gauge.families()

    def _legs(self, now_ns: int) -> Iterator[Metric]:
        position = self._gauge(now_ns, "position_base", "Position of a leg, not signed.", "instrument", "leg")
        entry = self._gauge(now_ns, "position_entry_price", "Average entry in quote.", "instrument", "leg")
        worth = self._gauge(now_ns, "position_notional_quote", "Worth of a leg at the mark.", "instrument", "leg")
        bare = self._gauge(
            now_ns, "unprotected_base", "What a leg holds beyond its acknowledged stops.", "instrument", "leg"
        )
        foreign = self._gauge(now_ns, "foreign_position_base", "What is not ours of a leg.", "instrument", "leg")
        for name, one in self._each():
            for leg, leg_name in LEGS:
                held = one.legs[leg]
                position.put(qty(one.rules, held.qty_lots), held.at_ns, name, leg_name)
                average = average_entry(one.rules, held)
                entry.put(None if average is None else float(average), held.at_ns, name, leg_name)
                worth.put(quote(leg_notional(one, leg)), oldest(one.mark_ns, held.at_ns), name, leg_name)
                left = None if one.orders_ns is None else self._view.unprotected_lots(name, leg)
                bare.put(qty(one.rules, left), oldest(held.at_ns, one.orders_ns), name, leg_name)
                foreign.put(qty(one.rules, one.foreign_lots[leg]), one.foreign_ns, name, leg_name)
        for gauge in (position, entry, worth, bare, foreign):
            yield from gauge.families()

    def _open_orders(self, now_ns: int) -> Iterator[Metric]:
        view = self._view
        resting = self._gauge(now_ns, "open_orders", "Our open orders.", "instrument", "leg", "purpose")
        for name, one in self._each():
            for leg, leg_name in LEGS:
                for purpose, purpose_name in PURPOSES:
                    count = view.orders.count(name, leg, purpose)
                    resting.put(count, one.orders_ns, name, leg_name, purpose_name)
        unknown = self._gauge(now_ns, "unknown_orders", "Orders whose outcome is not known.")
        told = [one.orders_ns for _, one in self._each() if one.orders_ns is not None]
        unknown.put(view.orders.unknown, max(told, default=None))
        foreign = self._gauge(now_ns, "foreign_orders", "Open orders that are not ours.")
        foreign.put(view.foreign_orders, view.foreign_ns)
        for gauge in (resting, unknown, foreign):
            yield from gauge.families()

    def _flows(self, reading: RuntimeReading, now_ns: int) -> Iterator[Metric]:
        by_order = ("instrument", "leg", "purpose")
        fills = self._counter("fills", "Fills.", *by_order)
        approved = self._counter("orders_approved", "Orders that passed the risk gate.", *by_order)
        sent = self._counter("orders_sent", "Orders that were handed to the exchange.", *by_order)
        bars = self._counter("bars", "Bars that closed in this run.", "instrument")
        account = self._view.account
        for name, one in self._each():
            bars.add_metric((account, name), one.bars)
            for leg, leg_name in LEGS:
                for purpose, purpose_name in PURPOSES:
                    labels = (account, name, leg_name, purpose_name)
                    fills.add_metric(labels, one.fills[leg][purpose])
                    approved.add_metric(labels, one.approved[leg][purpose])
                    if reading.sent is not None:
                        sent.add_metric(labels, reading.sent(name, leg, purpose))
        yield from (fills, approved, sent, bars)
        last = self._view.last_fill
        newest = self._gauge(now_ns, "last_fill_timestamp_seconds", "The exchange's time of the newest fill.")
        if last is not None:
            newest.put(seconds(last.fill.ts_ns), last.at_ns)
        yield from newest.families()

    def _permission(self, now_ns: int) -> Iterator[Metric]:
        view = self._view
        state = self._gauge(now_ns, "permission_state", "1 for the mode that trading is in, else 0.", "state")
        if view.mode is not None:
            for mode in MODES:
                state.put(mode == view.mode, view.mode_ns, mode)
        standing = self._gauge(now_ns, "pause_reasons", "1 for each reason that stands.", "reason", "scope")
        for (reason, scope), raised_ns in view.reasons.items():
            standing.put(1, raised_ns, reason, scope)
        throttle = self._gauge(now_ns, "throttle_ratio", "The operator's factor on the quantity of new entries.")
        throttle.put(ratio(view.throttle_ppm), view.throttle_ns)
        for gauge in (state, standing, throttle):
            yield from gauge.families()

    def _measured(self, reading: RuntimeReading, now_ns: int) -> Iterator[Metric]:
        probe = reading.probe
        for name, meaning, value_ns in (
            ("loop_lag_seconds", "Longest delay of the event loop in the last two seconds.", probe.loop_lag_ns),
            ("clock_skew_seconds", "The exchange's clock less ours.", probe.clock_skew_ns),
        ):
            yield from self._gauge(now_ns, name, meaning).put(seconds(value_ns), now_ns).families()

    def _mailboxes(self, reading: RuntimeReading, now_ns: int) -> Iterator[Metric]:
        depth = self._gauge(now_ns, "mailbox_depth", "Messages that wait.", "actor", "lane")
        peak = self._gauge(now_ns, "mailbox_peak_depth", "Most messages that ever waited.", "actor", "lane")
        capacity = self._gauge(now_ns, "mailbox_capacity", "Messages that may wait.", "actor", "lane")
        for box in reading.mailboxes:
            depth.put(box.depth, now_ns, box.name, "ordinary").put(box.control_depth, now_ns, box.name, "control")
            peak.put(box.peak_depth, now_ns, box.name, "ordinary")
            peak.put(box.control_peak_depth, now_ns, box.name, "control")
            capacity.put(box.capacity, now_ns, box.name, "ordinary")
            capacity.put(box.control_capacity, now_ns, box.name, "control")
        for gauge in (depth, peak, capacity):
            yield from gauge.families()

    def _counters(self, reading: RuntimeReading) -> Iterator[Metric]:
        view, account = self._view, self._view.account
        received = self._counter("messages_received", "Messages that a mailbox took.", "actor")
        conflated = self._counter("messages_conflated", "Messages that a newer one replaced.", "actor")
        for box in reading.mailboxes:
            received.add_metric((account, box.name), box.received)
            conflated.add_metric((account, box.name), box.conflated)
        restarts = self._counter("actor_restarts", "Restarts after a failure.", "actor")
        for child in every_child(reading.children):
            restarts.add_metric((account, child.id), child.restarts)
        refusals = self._counter("risk_refusals", "Orders that the risk gate refused.", "control")
        for control, count in view.refusals.items():
            refusals.add_metric((account, control), count)
        rejections = self._counter("orders_rejected", "Orders that the exchange refused.", "reason")
        for reason, count in view.rejections.items():
            rejections.add_metric((account, reason), count)
        alerts = self._counter("alerts", "Alerts by what became of them.", "outcome")
        if reading.alerts is not None:
            for outcome, count in attrs.asdict(reading.alerts).items():
                alerts.add_metric((account, outcome), count)
        yield from (received, conflated, restarts, refusals, rejections, alerts)
        dead = reading.router.dead_letters if reading.router is not None else None
        for name, meaning, total in (
            ("dead_letters", "Messages that nobody could take.", dead),
            ("journal_rows", "Messages in the journal.", reading.journal_rows),
            ("incidents", "Things that a person should know.", view.incidents),
        ):
            if total is not None:
                counter = self._counter(name, meaning)
                counter.add_metric((account,), total)
                yield counter


def registry(
    view: AccountView, *, now_ns: Callable[[], int], read_runtime: Callable[[], RuntimeReading]
) -> CollectorRegistry:
    """Make a registry of its own for one account; nothing of the interpreter's is in it."""
    made = CollectorRegistry(auto_describe=False)
    made.register(AccountCollector(view, now_ns=now_ns, read_runtime=read_runtime))
    return made


def render(of: CollectorRegistry) -> bytes:
    """Write a registry in the text format of ``CONTENT_TYPE``."""
    return generate_latest(of)
