"""Which world an account lives in, and what is refused before one is made.

Invariant: real money, and the real market, only where the operator has said so in as many words.
"""

from hedgegrid.config.schema import AccountConfig
from hedgegrid.errors import Fatal
from hedgegrid.worlds.world import RunOptions, World


def world_of(config: AccountConfig, options: RunOptions) -> World:
    """Choose the world that the account's mode asks for. Raises Fatal for a mode that is not here."""
    mode = config.account.mode
    if mode != "live" and options.live:
        raise Fatal(f'--live goes with mode = "live", not with "{mode}"')
    # Here, not above: a simulation must not pay for a library that speaks to exchanges, nor a real market for the
    # readers of recorded ones.
    if mode == "sim":
        from hedgegrid.worlds.simulated import SimulatedWorld  # noqa: PLC0415

        return SimulatedWorld(config, options)
    _refuse_what_a_real_market_has_not(mode, options)
    if mode == "paper":
        if config.venue.environment == "production" and not options.allow_production_data:
            raise Fatal('paper on the real market: add --allow-production-data, or set venue.environment = "testnet"')
        from hedgegrid.worlds.paper import PaperWorld  # noqa: PLC0415

        return PaperWorld(config, options)
    if mode == "live" and not options.live:
        raise Fatal('mode = "live" trades real money: add --live to say that you mean it')
    from hedgegrid.worlds.exchange import ExchangeWorld  # noqa: PLC0415

    return ExchangeWorld(config, options)


def _refuse_what_a_real_market_has_not(mode: str, options: RunOptions) -> None:
    """Refuse options that only a simulated market can follow. Raises Fatal."""
    if options.market_files or options.allow_gaps:
        raise Fatal(f'--data and --allow-gaps are for recorded markets: mode = "{mode}" hears the exchange')
    if options.speed != 1.0:
        raise Fatal(f'--speed is for simulated markets: mode = "{mode}" goes at the pace of the exchange')
