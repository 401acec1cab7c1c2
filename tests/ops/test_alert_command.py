"""`hedgegrid alert-test` and the names of events in a config, as their user meets them."""

from pathlib import Path

from tests.command import complaint, invoke
from tests.live.commanding import free_port
from tests.ops.alert_service import alert_service


def config_at(folder: Path, urls: str, rest: str = "") -> Path:
    """The built-in demo's settings with alerts."""
    kept = folder / "urls"
    kept.touch(mode=0o600)
    kept.write_text(urls, encoding="utf-8")
    path = folder / "account.toml"
    demo = (Path(__file__).parents[2] / "hedgegrid" / "config" / "demo.toml").read_text(encoding="utf-8")
    path.write_text(f'{demo}\n[alerts]\nurls = {{ file = "{kept}" }}\n{rest}', encoding="utf-8")
    return path


def test_alert_test_says_which_service_took_it(tmp_path: Path) -> None:
    """One alert arrives, as the event that was named; what failed is named by its kind, and the exit code says so."""
    with alert_service() as service:
        told = invoke("alert-test", "--config", config_at(tmp_path, service.url), "--event", "tripped")
        assert (told.exit_code, told.stdout) == (0, "sent: address 1, json\n")
        assert service.events() == ["tripped"]
        service.status = 500
        nobody = f"json://watcher:pa55word@127.0.0.1:{free_port()}/hidden-path"
        urls = f"# ours\n{service.url}\nnosuch://pa55word\n{nobody}"
        failed = invoke("alert-test", "--config", config_at(tmp_path, urls))
        assert failed.exit_code == 1
        first, second, third = failed.stderr.splitlines()
        assert first.startswith("NOT SENT: address 1, json: ")
        assert "500" in first
        assert second == "NOT SENT: address 2, nosuch: not an address that apprise knows"
        assert third.startswith("NOT SENT: address 3, json: ")
        assert "onnection" in third
        assert not any(word in failed.output for word in ("pa55word", "watcher", "hidden-path"))


def test_alert_test_without_addresses_says_so(tmp_path: Path) -> None:
    """Nobody is told anything: that is bad input, not success."""
    assert "[alerts] urls is not set" in complaint(invoke("alert-test"))
    assert "the nearest is fill" in complaint(invoke("alert-test", "--event", "filled"))
    assert "urls" in complaint(invoke("alert-test", "--config", config_at(tmp_path, "")))


def test_unknown_event_is_refused_with_the_nearest(tmp_path: Path) -> None:
    """A slip in an event's name is found at load, with the name that was meant."""
    path = config_at(tmp_path, "json://localhost", 'events = { recentred = "off" }\n')
    told = complaint(invoke("check", "--config", path))
    assert "no event is named recentred; the nearest valid name is recentered" in told
