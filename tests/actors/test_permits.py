"""Risk's word on each instrument, as the sender reads it."""

from hedgegrid.actors.permits import Permits


def test_each_instrument_has_its_own_word() -> None:
    """Nothing may be added unasked, and a pause of one instrument is none of another's."""
    permits = Permits()
    assert not permits.may_add("BTC")
    permits.tell("BTC", may_add=True)
    permits.tell("ETH", may_add=True)
    permits.tell("BTC", may_add=False)
    assert (permits.may_add("BTC"), permits.may_add("ETH")) == (False, True)
