"""What changes from step to step: learning rate and regularizer weights. Functions of the step alone, so that a resumed fit agrees."""

import math

from wedge.fit.config import FitConfig, RegularizerChoice


def learning_rate_factor(config: FitConfig, step: int, num_steps: int) -> float:
    """Return the factor on ``config.learning_rate`` at ``step`` of ``num_steps``."""
    warmup_steps = config.warmup * num_steps
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    decay_steps = min(config.decay * num_steps, num_steps - warmup_steps)
    done = max(0.0, 1 - (num_steps - step) / max(decay_steps, 1))
    final = config.final_learning_rate
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "exponential":
        return final**done
    return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2


def regularizer_weight(choice: RegularizerChoice, step: int, num_steps: int) -> float:
    """Return the weight of a regularizer at ``step`` of ``num_steps``."""
    done = step / max(num_steps, 1)
    if done < choice.start or choice.weight == 0:
        return 0.0
    if choice.final_weight is None:
        return choice.weight
    fraction = (done - choice.start) / (1 - choice.start)
    return float(choice.weight * (choice.final_weight / choice.weight) ** fraction)
