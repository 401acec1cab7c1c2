"""How risk follows the exchange's word on money and holdings that are no result of our orders.

Invariants: money that came or went moves what results are measured from; what is not ours counts in exposure; the age
of the wallet's figures is that of the exchange's last word.
"""

from hedgegrid.actors.risk_book import RiskBook
from hedgegrid.actors.risk_session import SessionControls
from hedgegrid.messages.events import AccountChanged, ForeignSeen, WalletRead

AccountWord = AccountChanged | WalletRead | ForeignSeen
"""What the executor tells of the account."""


def follow(message: AccountWord, book: RiskBook, session: SessionControls) -> None:
    """Take a word into the book, and into what the session controls measure from."""
    match message:
        case AccountChanged():
            book.hear_of_wallet(message.ts_recv_ns)
            if message.delta_e8 != 0:
                book.wallet_e8 += message.delta_e8
                session.shift(message.delta_e8)
        case WalletRead(wallet_e8=None):
            book.hear_of_wallet(message.ts_recv_ns)
        case WalletRead(wallet_e8=int() as wallet_e8):
            book.set_wallet(wallet_e8, message.ts_recv_ns)
        case ForeignSeen():
            book.set_foreign(message)
