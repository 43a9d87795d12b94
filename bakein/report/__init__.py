"""The report of a study, built from its records alone: results.json, plots, page, terminal."""
