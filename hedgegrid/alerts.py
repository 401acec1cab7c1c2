"""Alerts of one account as its settings have them: who is told, of what, and what must never be said.

Invariant: the addresses are read when they are needed and handed to ``ops.alerting`` alone; the texts of alerts are
masked by every secret that the settings know.
"""

import time
from collections.abc import Iterator, Sequence

from loguru import logger

from hedgegrid.config.params import breaker_limits, session_limits
from hedgegrid.config.schema import AccountConfig
from hedgegrid.config.secrets import SecretError
from hedgegrid.core import session_reasons
from hedgegrid.core.pause import Reason
from hedgegrid.errors import Fatal
from hedgegrid.model.instrument import Instrument
from hedgegrid.ops.alert_events import EVENTS, Alert, AlertWords
from hedgegrid.ops.alert_services import Services, Trial
from hedgegrid.ops.alerting import Alerting
from hedgegrid.ops.logs import Masker


def open_alerting(config: AccountConfig, instruments: Sequence[Instrument]) -> Alerting | None:
    """Begin to tell people; None where nobody is to be told. Raises Fatal where the addresses cannot be read."""
    urls = urls_of(config)
    if not urls:
        return None
    alerting = Alerting(
        account=config.account.name,
        urls=urls,
        default=config.alerts.default,
        events=config.alerts.events,
        words=AlertWords({one.name: one for one in instruments}, _actions(config)),
        masker=Masker([*urls, *_secrets(config)]),
        now_s=time.monotonic,  # ambient: people and services live by the wall, whatever the market's clock does
        warn=logger.warning,
    )
    alerting.start()
    return alerting


def tell_early(config: AccountConfig, text: str) -> None:
    """Tell people of a start that has no house yet; it leaves by itself. Raises Fatal as ``open_alerting`` does."""
    alerting = open_alerting(config, ())
    if alerting is not None:
        alerting.tell(Alert("incident", text))
        alerting.close()


def urls_of(config: AccountConfig) -> list[str]:
    """Give the addresses, one a line in their secret. Raises Fatal where it cannot be read."""
    reference = config.alerts.urls
    if reference is None:
        return []
    try:
        text = reference.resolve().reveal()
    except SecretError as error:
        raise Fatal(f"alerts.urls: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


def send_one(config: AccountConfig, event: str) -> tuple[Trial, ...]:
    """Tell every service that this is a trial of ``event``; give what became of it at each address.

    Raises Fatal where there is nobody to tell.
    """
    urls = urls_of(config)
    if not urls:
        raise Fatal("[alerts] urls is not set: nobody is told anything")
    services = Services(urls)
    level = config.alerts.events.get(event, config.alerts.default)
    text = f"a trial by hedgegrid alert-test: {EVENTS[event].meaning}"
    title = f"hedgegrid {config.account.name}: {event.replace('_', ' ')}"
    return services.trial(title, text, EVENTS[event].severity, silent=level == "silent")


def _actions(config: AccountConfig) -> dict[str, str]:
    """Give what each session control and the kill switch do, by the reason that they raise."""
    actions = {
        **session_reasons.actions(session_limits(config)),
        Reason.CIRCUIT_BREAKER: breaker_limits(config).action,
    }
    return {Reason.KILL: config.risk.kill_switch.action} | {reason: one.value for reason, one in actions.items()}


def _secrets(config: AccountConfig) -> Iterator[str]:
    """Give every other secret of the settings that can be read."""
    for one in (config.ops.read_token, config.ops.control_token, config.venue.api_key, config.venue.api_secret):
        if one is not None:
            yield one.resolve().reveal()
