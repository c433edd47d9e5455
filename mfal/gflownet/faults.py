"""What a training step may tell that makes going on pointless, in words."""

from typing import Any

import numpy as np

from mfal.errors import MfalError
from mfal.gflownet.config import Metrics
from mfal.gflownet.step import Parts

__all__ = ["refuse_faults"]

# From 2^23 on neighbouring float32 numbers differ by 1: no proportion of rewards is left to learn.
_COARSE = 2.0**23


def refuse_faults(parts: Parts, metrics: Metrics, before: int) -> None:
    """Raise for what shows that nothing, or something wrong, is being learned.

    Args:
      parts: of the trainer.
      metrics: of some steps, [n] each.
      before: number of steps before these, for the message.

    Raises:
      MfalError: if trajectories don't end as the environment's laws want, if rewards are zero and
        these are not to be learned, if no reward of a batch is a number, if rewards lie further
        apart than float32 can tell, or if loss or gradient are no longer finite.
    """
    config = parts.config
    seen: dict[str, Any] = {name: np.asarray(leaf) for name, leaf in metrics._asdict().items()}
    batch = config.batch_size

    def refuse(wrong: np.ndarray, what: str, remedy: str) -> None:
        if wrong.any():
            row = int(np.argmax(wrong))
            values = {name: leaf[row] for name, leaf in seen.items()}
            raise MfalError(
                f"training step {before + row + 1}: " + what.format(batch=batch, **values), remedy
            )

    refuse(
        seen["unended"] > 0,
        "{unended:.0f} of {batch} trajectories had no legal action before a terminal state, or "
        f"took more than max_steps = {parts.env.max_steps} steps",
        f"see which law {parts.env.name!r} breaks: mfal.envs.laws.broken_laws(env, key)",
    )
    if config.zero_reward_gap is None:
        refuse(
            seen["zero"] > 0,
            "{zero:.0f} of {batch} trajectories ended where the reward is zero (log R = -inf)",
            "set TrainConfig(zero_reward_gap=...) to teach the policy to leave such states, or "
            "bound the reward from below (mfal.gflownet.rewards.floor)",
        )
    refuse(
        seen["dropped"] == batch,
        "none of {batch} rewards is a number",
        "look at log_reward and its parameters",
    )
    refuse(
        seen["loss"] > _COARSE**2,
        "a loss of {loss:.3g}: log-rewards further apart than float32 can tell (beyond 2^23)",
        "scale the log-reward down, or bound it (mfal.gflownet.rewards.clip)",
    )
    refuse(
        ~np.isfinite(seen["loss"]) | ~np.isfinite(seen["grad_norm"]),
        "loss {loss} with a gradient of norm {grad_norm}",
        "go back to an earlier state, and lower the learning rate, set clip_norm, or look for "
        "rewards too large for float32",
    )
