"""The arithmetic of a study: pure functions of arrays, numpy and scipy only.

Every file is one noun: `passk` (pass@k, maj@k, logits), `slopes` (test-time compute), `rl_curve`
(reward against RL compute), `bootstrap` (intervals), `curves` (bands), `persistence` (retention),
`verdicts` (the rules that turn intervals into words), `matching` (what the arms spent).

The metric numbers in the docstrings, such as (metric 4), count one list for the whole package:
1 pass@k, 2 maj@k, 4 parallel test-time slope, 6 RL curve, 9 persistence, 13 statistics.
"""
