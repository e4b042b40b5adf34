"""Feeds: chains, index paths and surfaces outside the core; what they say enters as UPDATE_MARKS commands."""

from gateway.feeds.chain import ChainError, ChainSnapshot, default_rules, listing
from gateway.feeds.chain_file import read_chain, snapshot_keys
from gateway.feeds.composed import ComposedFeed
from gateway.feeds.composer import ComposerTerms, IndexComposer, Source
from gateway.feeds.index_path import IndexPath, PathError, read_index_path
from gateway.feeds.marks import Feed, MarkUpdate
from gateway.feeds.publisher import MarkPublisher
from gateway.feeds.replay import ReplayFeed, open_replay
from gateway.feeds.sim import SimFeed
from gateway.feeds.sim_path import Shock, SimParameters, SimUnderlying

__all__ = [
    "ChainError",
    "ChainSnapshot",
    "ComposedFeed",
    "ComposerTerms",
    "Feed",
    "IndexComposer",
    "IndexPath",
    "MarkPublisher",
    "MarkUpdate",
    "PathError",
    "ReplayFeed",
    "Shock",
    "SimFeed",
    "SimParameters",
    "SimUnderlying",
    "Source",
    "default_rules",
    "listing",
    "open_replay",
    "read_chain",
    "read_index_path",
    "snapshot_keys",
]
