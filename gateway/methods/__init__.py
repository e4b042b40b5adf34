"""The methods of the API, by subject; `load()` fills the registry."""

from importlib import import_module

_SUBJECTS = (
    "connection", "market", "trading", "cancelling", "quoting", "protection", "orders", "account", "margin", "isolated",
    "parameters", "transfers", "auctions", "history", "block_trades", "combos", "risk", "stress",
    "offers", "subaccounts",
)  # fmt: skip
_loaded = False


def load() -> None:
    """Import every subject once, so that `gateway.registry.METHODS` is complete."""
    global _loaded
    if not _loaded:
        for subject in _SUBJECTS:
            import_module(f"gateway.methods.{subject}")
        _loaded = True
