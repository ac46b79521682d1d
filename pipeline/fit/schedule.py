"""Learning rates step by step, and what watches the validation: pure functions of what happened so far."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.fit.config import Cosine, EarlyStopping, Exponential, FitConfig, Plateau, Step


def rates(config: FitConfig, steps_per_epoch: int) -> np.ndarray:
    """Return the learning rate of every step, float32 [epochs * steps_per_epoch], before any plateau's factor.

    Warm-up rises linearly to the peak (Goyal et al. 2017); cosine falls over what is left of the epochs then, the other
    schedules count epochs from the start.
    """
    steps = np.arange(config.epochs * steps_per_epoch, dtype=np.float64)
    warmup = round(config.schedule.warmup_epochs * steps_per_epoch)
    share = np.minimum(1.0, (steps + 1) / warmup) if warmup else np.ones_like(steps)
    match config.schedule:
        case Step(every_epochs=every, factor=factor):
            share *= factor ** (steps // (every * steps_per_epoch))
        case Exponential(factor=factor):
            share *= factor ** (steps / steps_per_epoch)
        case Cosine(final_factor=final):
            progress = np.clip((steps - warmup) / max(1, len(steps) - 1 - warmup), 0, 1)
            share *= final + (1 - final) * (1 + np.cos(np.pi * progress)) / 2
    return np.asarray(config.optimizer.learning_rate * share, dtype=np.float32)


@dataclass(frozen=True)
class Watch:
    """What early stopping and the plateau remember from epoch to epoch; epochs count from 1, 0 means none yet."""

    best_epoch: int = 0
    best: float = 0.0
    stop: bool = False
    lr_factor: float = 1.0
    plateau_epoch: int = 0
    plateau_best: float = 0.0
    wait: int = field(default=0)

    def after(self, epoch: int, metrics: dict[str, float], config: FitConfig) -> Watch:
        """Return what is remembered after `epoch`.

        Args:
            metrics: of the validation split, by what the config can name as `monitor`: less of val_loss is better, more
                of all else.
        """
        rule = config.early_stopping or EarlyStopping(patience=config.epochs)
        new = self
        if epoch >= rule.from_epoch:
            value = metrics[rule.monitor]
            if not self.best_epoch or _better(value, self.best, rule.monitor, rule.min_delta):
                new = replace(new, best_epoch=epoch, best=value)
            new = replace(new, stop=epoch - new.best_epoch >= rule.patience)
        if isinstance(config.schedule, Plateau) and epoch > config.schedule.warmup_epochs:
            new = new._plateau(epoch, metrics[config.schedule.monitor], config.schedule)
        return new

    def _plateau(self, epoch: int, value: float, rule: Plateau) -> Watch:
        if not self.plateau_epoch or _better(value, self.plateau_best, rule.monitor, rule.min_delta):
            return replace(self, plateau_epoch=epoch, plateau_best=value, wait=0)
        if self.wait + 1 < rule.patience:
            return replace(self, wait=self.wait + 1)
        return replace(self, wait=0, lr_factor=max(rule.min_factor, self.lr_factor * rule.factor))


def _better(value: float, best: float, monitor: str, min_delta: float) -> bool:
    gain = best - value if monitor == "val_loss" else value - best
    return gain > min_delta
