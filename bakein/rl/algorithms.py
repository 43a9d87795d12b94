"""Published algorithms as keys of an RL stage: `base.rl(**algorithms.dapo, parent="sft", …)`.

Each names every key that tells algorithms apart, with its paper's values; what a paper leaves to
the task (learning rate, rollouts, epochs and minibatches, rewards) is the study's. To change one:
`base.rl(**algorithms.dapo | {"refills": 1}, …)`. Where a rollout is learnt from once, its ratios
are all 1 and no clip bounds anything: algorithms that differ in the clip alone are then the same.
"""

from bakein.rl import advantages, losses

# Group relative policy optimization, arXiv 2402.03300.
grpo = {
    "loss": losses.clipped,
    "advantage": advantages.group,
    "clip_low": 0.2,
    "clip_high": 0.2,
    "kl": losses.k3,
    "kl_coefficient": 0.04,
    "aggregation": "sequence",
    "refills": 0,
}

# "GRPO done right", arXiv 2503.20783: no division by deviations or lengths, no KL.
dr_grpo = {
    **grpo,
    "advantage": advantages.centred,
    "kl_coefficient": 0.0,
    "aggregation": "fixed",
}

# Decoupled clip and dynamic sampling, arXiv 2503.14476. Its overlong punishment is a reward:
# rewards.total((rewards.exact, 1.0), (rewards.overlong(0.2), 1.0)). It sets no bound on refills.
# It drops groups of right or of wrong answers alone; here those of equal rewards are dropped, in
# which punishments count.
dapo = {
    **grpo,
    "clip_high": 0.28,
    "kl_coefficient": 0.0,
    "aggregation": "token",
    "refills": 9,
}

# REINFORCE leave-one-out, arXiv 2402.14740; the paper's KL is part of its reward and left out here.
rloo = {
    **grpo,
    "loss": losses.reinforce,
    "advantage": advantages.leave_one_out,
    "kl_coefficient": 0.0,
    "aggregation": "fixed",
}

# Group sequence policy optimization, arXiv 2507.18071.
gspo = {
    **grpo,
    "loss": losses.sequence_clipped,
    "clip_low": 3e-4,
    "clip_high": 4e-4,
    "kl_coefficient": 0.0,
}

# Clipped importance-sampling weights, arXiv 2506.13585, which has no lower bound and does not say
# its upper one; weights of at most 5 are common practice.
cispo = {
    **grpo,
    "loss": losses.cispo,
    "clip_low": float("inf"),
    "clip_high": 4.0,
    "kl_coefficient": 0.0,
    "aggregation": "token",
}

# REINFORCE [Williams 1992] with the batch's mean reward as its baseline.
reinforce = {
    **rloo,
    "advantage": advantages.batch,
}
