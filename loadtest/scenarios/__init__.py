"""Scripted markets in venue time, through the real engine, journal, fund and fund worker: `margrave scenario`."""
