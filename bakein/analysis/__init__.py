"""The arithmetic of a study: pure functions of arrays, numpy, scipy and sklearn only.

Every file is one noun. Scores of problems: `passk` (pass@k, maj@k, logits). Slopes: `slopes`
(parallel test-time compute), `budgets` (sequential), `conditional` (at equal pass@1), `rl_curve`
(reward against RL compute), `jailbreak` (attacks). Comparisons: `lifts` (shares of a gain),
`strategies` (switches of strategy), `persistence` (retention), `catch_up`, `frontier` (budgets),
`permanence` (aligning and misaligning), `mixtures`, `surface` and `pareto` (the search), `matching`
(what the arms spent). Statistics: `bootstrap` (intervals), `jackknife` (statistics that are no
means), `censored` (amounts), `curves` (bands), `projection` (least squares). `verdicts` holds the
rules that turn intervals into words, `published` what others printed.

The metric numbers in the docstrings, such as (metric 4), count one list for the whole package:
1 pass@k, 2 maj@k, 4 parallel test-time slope, 5 sequential test-time slope, 6 RL curve, 7 spurious
lift, 8 wrong-trace ratio, 9 persistence, 10 catch-up budget, 11 jailbreak, 12 permanence,
13 statistics.
"""
