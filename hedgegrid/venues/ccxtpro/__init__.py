"""Binance USD-M futures through ccxt: the one place that knows the library and the exchange's own fields."""
