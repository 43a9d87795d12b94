"""Executors: what the nodes of a study run in. `bakein.study.walk` says what one is."""
