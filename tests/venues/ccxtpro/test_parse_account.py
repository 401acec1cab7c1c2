"""Tests of the account on the wire: wallets, positions by leg, settings, rights."""

import copy
from typing import Any

import pytest

from hedgegrid.model.account import Position
from hedgegrid.model.order import Leg
from hedgegrid.units import NS_PER_MS
from hedgegrid.venues.ccxtpro.parse_account import (
    AccountConfig,
    AccountReport,
    AssetRow,
    IncomeRow,
    LeverageChanged,
    ListenKeyExpired,
    MarginCall,
    MarginCallRow,
    MultiAssetsChanged,
    SymbolConfig,
    TradingLock,
    WalletChange,
    account,
    account_config,
    countdown,
    fee_burn,
    hedge_mode,
    income_rows,
    key_rights,
    listen_key,
    multi_assets,
    parse_private,
    position_rows,
    symbol_configs,
    trading_locks,
)
from hedgegrid.venues.ccxtpro.parse_market import Unknown
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError
from tests.venues.ccxtpro.wire_payloads import BTC, SCALES, T_MS, payloads

STREAM, POSITIONS, SETTINGS = payloads("account_stream"), payloads("position_lists"), payloads("settings")
NAME = BTC.instrument


def report(case: str) -> AccountReport:
    """Read an account's report."""
    update = parse_private(STREAM[case], SCALES)
    assert isinstance(update, AccountReport)
    return update


def test_both_legs_and_the_wallet() -> None:
    """A SHORT leg is below zero on the wire; cost is of the average entry, the wallet exact."""
    seen = report("order")
    assert seen.reason == "ORDER"
    assert seen.wallets == (
        WalletChange(asset="USDT", wallet_e8=420_843_752_587, cross_e8=420_843_752_587, change_e8=0),
    )
    assert [one.position() for one in seen.positions] == [
        Position(instrument=NAME, leg=Leg.LONG, qty_lots=20, cost_e8=122_469_000_000),
        Position(instrument=NAME, leg=Leg.SHORT, qty_lots=7, cost_e8=43_058_850_000),
    ]
    assert [one.unrealised_e8 for one in seen.positions] == [-800_000, 194_650_000]


def test_funding_and_transfers_name_their_change() -> None:
    """What is no result of trading shifts baselines: its amount and word are kept apart."""
    for case in ("funding", "funding without positions"):
        assert (report(case).reason, report(case).wallets[0].change_e8) == ("FUNDING_FEE", -12_250_000)
        assert report(case).positions == ()
    assert (report("transfer").reason, report("transfer").wallets[0].change_e8) == ("DEPOSIT", 500 * 10**8)


def test_positions_elsewhere_are_named_where_they_hold_something() -> None:
    """A position in an instrument that is not traded here counts; an empty one does not."""
    assert report("elsewhere").elsewhere == ("XRPUSDT",)


def test_one_way_mode_has_no_leg() -> None:
    """The amount is told, and asking for a leg is refused."""
    (seen,) = report("one-way mode").positions
    assert (seen.leg, seen.signed_lots) == (None, -20)
    with pytest.raises(BadPayloadError, match="one-way"):
        seen.position()
    (row,) = position_rows(POSITIONS["one-way mode"], SCALES).rows
    with pytest.raises(BadPayloadError, match="one-way"):
        row.position()


@pytest.mark.parametrize(
    ("at", "change"), [(0, {"pa": "-0.020"}), (1, {"pa": "0.007"}), (0, {"ep": "0"}), (0, {"ep": "-5"})]
)
def test_a_leg_of_the_wrong_sign_is_refused(at: int, change: dict[str, Any]) -> None:
    """A LONG below zero, a SHORT above, or a position that cost nothing is a payload that was read wrong."""
    spoilt = copy.deepcopy(STREAM["order"])
    spoilt["a"]["P"][at].update(change)
    with pytest.raises(BadPayloadError):
        parse_private(spoilt, SCALES)


def test_warnings_and_changes_of_settings() -> None:
    """A margin call, a leverage, the asset mode, the end of a listen key: each is its own word."""
    at = (T_MS + 7) * NS_PER_MS
    row = MarginCallRow(symbol="BTCUSDT", leg=Leg.LONG, maintenance_e8=161_444_500, unrealised_e8=-116_607_400)
    assert parse_private(STREAM["margin call"], SCALES) == MarginCall(positions=(row,), ts_ns=at)
    assert parse_private(STREAM["leverage"], SCALES) == LeverageChanged(symbol="BTCUSDT", leverage=25, ts_ns=at)
    assert parse_private(STREAM["multi-assets"], SCALES) == MultiAssetsChanged(on=True, ts_ns=at)
    for case in ("listen key expired", "listen key expired, as text"):
        assert parse_private(STREAM[case], SCALES) == ListenKeyExpired(ts_ns=(T_MS + 8) * NS_PER_MS)


def test_a_type_that_nobody_reads_is_no_error() -> None:
    """A new kind of event must not stop trading; it is counted."""
    assert parse_private(STREAM["of no concern"], SCALES) == Unknown(event="STRATEGY_UPDATE")


def test_positions_by_rest() -> None:
    """Both legs with their margins; a liquidation price of 0 is none; an empty position elsewhere is none."""
    long, short = position_rows(POSITIONS["hedge mode"], SCALES).rows
    assert long.position() == Position(instrument=NAME, leg=Leg.LONG, qty_lots=20, cost_e8=122_469_000_000)
    assert short.position() == Position(instrument=NAME, leg=Leg.SHORT, qty_lots=7, cost_e8=43_058_850_000)
    assert (long.mark_ticks, long.liquidation_ticks, short.liquidation_ticks) == (612338, None, 6_550_194)
    assert (long.maintenance_e8, long.initial_e8, long.adl) == (489_870_776, 24_493_538_841, 2)
    foreign = position_rows(POSITIONS["foreign"], SCALES)
    assert (foreign.rows, foreign.elsewhere) == ((), ("XRPUSDT",))
    assert position_rows([], SCALES).rows == ()


def test_money_by_rest() -> None:
    """The wallet is exact; an asset that is not listed is unknown, not zero."""
    row = account(payloads("account")["account"])
    assert row.asset("USDT") == AssetRow(
        asset="USDT",
        wallet_e8=420_843_752_587,
        available_e8=396_544_064_948,
        unrealised_e8=193_851_202,
        margin_e8=421_037_603_789,
        maintenance_e8=489_870_776,
        initial_e8=24_493_538_841,
    )
    with pytest.raises(BadPayloadError):
        row.asset("USDC")


def test_income_by_rest() -> None:
    """Bookings by time, signed as received; a transfer belongs to no instrument."""
    funding, fee, transfer = income_rows(payloads("income")["income"])
    assert funding == IncomeRow(
        symbol="BTCUSDT",
        kind="FUNDING_FEE",
        amount_e8=-12_250_000,
        asset="USDT",
        tran_id=9689322393,
        trade_id=None,
        ts_ns=T_MS * NS_PER_MS,
    )
    assert (fee.kind, fee.amount_e8, fee.trade_id) == ("COMMISSION", -6_123_450, 536962673)
    assert (transfer.symbol, transfer.kind, transfer.amount_e8) == ("", "TRANSFER", 500 * 10**8)


def test_settings_by_rest() -> None:
    """Modes, margin and leverage as they are; the words true and false count as such."""
    assert hedge_mode(SETTINGS["position mode"])
    assert not hedge_mode({"dualSidePosition": "false"})
    assert not multi_assets(SETTINGS["multi-assets"])
    assert fee_burn(SETTINGS["fee burn"])
    assert account_config(SETTINGS["account config"]) == AccountConfig(
        hedge_mode=True, multi_assets=False, can_trade=True
    )
    assert symbol_configs(SETTINGS["symbol config"]) == (SymbolConfig(symbol="BTCUSDT", cross=True, leverage=21),)
    isolated = {**SETTINGS["symbol config"][0], "marginType": "ISOLATED"}
    assert not symbol_configs(isolated)[0].cross
    with pytest.raises(BadPayloadError):
        symbol_configs({**isolated, "marginType": "NEW_MODE"})
    assert countdown(SETTINGS["countdown"]) == ("BTCUSDT", 120_000)


def test_rights_that_are_not_told_of_are_feared() -> None:
    """A key whose right to withdraw is not denied is refused; one whose right to trade is not told cannot."""
    rights = key_rights(SETTINGS["key rights"])
    assert (rights.reads, rights.futures, rights.ip_bound) == (True, True, True)
    assert (rights.withdraws, rights.internal_transfer, rights.universal_transfer) == (False, False, False)
    nothing = key_rights({})
    assert nothing.withdraws
    assert nothing.internal_transfer
    assert nothing.universal_transfer
    assert (nothing.futures, nothing.reads) == (False, False)


def test_locks_of_the_quantitative_rules() -> None:
    """Only what is locked, with its end where that is told."""
    assert trading_locks(SETTINGS["trading status"]) == (
        TradingLock(symbol="ACCOUNT", indicator="TMV", until_ns=None),
        TradingLock(symbol="BTCUSDT", indicator="UFR", until_ns=1_790_003_600_000 * NS_PER_MS),
    )


def test_a_listen_key_is_read_and_never_shown() -> None:
    """A key that is none is refused without its text, which is a secret."""
    assert len(listen_key(SETTINGS["listen key"])) == 64
    with pytest.raises(BadPayloadError) as caught:
        listen_key({"listenKey": "se cret"})
    assert "se cret" not in str(caught.value)
