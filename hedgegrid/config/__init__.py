"""An account's settings: one TOML file, read whole, checked whole, never changed afterwards.

Start at `load.load`, which gives an `schema.AccountConfig` or a `load.ConfigError` that names every fault of
the file at once. The invariants of this package:

- a setting is declared once (`fields`): its default, unit, meaning and limits feed the loader, the rendering,
  `hedgegrid init` and the catalogue alike;
- numbers stay `decimal.Decimal` or `int`: no binary float is ever made of a setting;
- a secret is only ever a reference (`secrets`); no rendering, message or hash can contain its value.
"""
