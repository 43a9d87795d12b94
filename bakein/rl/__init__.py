"""Reinforcement learning: rollouts, rewards, advantages, policy losses and the RL step."""
