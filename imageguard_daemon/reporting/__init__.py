"""REPORT: counts -> tallies -> findings -> a report as table, JSON or CSV."""
