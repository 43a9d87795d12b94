"""Studies: configuration, the DAG of arms × stages × seeds, the runner and its records."""
