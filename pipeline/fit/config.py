"""How a model is fitted, as types: optimizer, schedule, stopping, teacher. The section `train` and what later stages
add to it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline.config import NEUTRAL, Frozen
from pipeline.fit.teach import TeachConfig

# folder of the TensorBoard logs, beside the checkpoints
TENSORBOARD = "tensorboard"

# val_accuracy stands for what models are judged by (data.metric), whichever way is better
Monitor = Literal["val_loss", "val_accuracy"]


class _Optimizer(Frozen):
    learning_rate: float = Field(gt=0, description="peak learning rate, which the schedule scales")


class Sgd(_Optimizer):
    """Stochastic gradient descent without momentum."""

    name: Literal["sgd"] = "sgd"
    learning_rate: float = Field(default=0.1, gt=0, description="peak learning rate, which the schedule scales")


class Momentum(_Optimizer):
    """Gradient descent with momentum (Polyak 1964)."""

    name: Literal["momentum"] = "momentum"
    learning_rate: float = Field(default=0.05, gt=0, description="peak learning rate, which the schedule scales")
    momentum: float = Field(default=0.9, gt=0, lt=1, description="share of the last step that is taken again")


class Nesterov(_Optimizer):
    """Gradient descent with Nesterov's momentum (Sutskever et al. 2013)."""

    name: Literal["nesterov"] = "nesterov"
    learning_rate: float = Field(default=0.05, gt=0, description="peak learning rate, which the schedule scales")
    momentum: float = Field(default=0.9, gt=0, lt=1, description="share of the last step that is taken again")


class Adagrad(_Optimizer):
    """Adagrad (Duchi et al. 2011)."""

    name: Literal["adagrad"] = "adagrad"
    learning_rate: float = Field(default=0.05, gt=0, description="peak learning rate, which the schedule scales")
    initial_accumulator: float = Field(default=0.1, ge=0, description="where the sums of squares start")
    epsilon: float = Field(default=1e-7, gt=0, description="keeps divisions finite")


class RmsProp(_Optimizer):
    """RMSprop (Tieleman and Hinton 2012)."""

    name: Literal["rmsprop"] = "rmsprop"
    learning_rate: float = Field(default=1e-3, gt=0, description="peak learning rate, which the schedule scales")
    rho: float = Field(default=0.9, ge=0, lt=1, description="how slowly the mean of squares forgets")
    momentum: float = Field(default=0.0, ge=0, lt=1, description="share of the last step that is taken again")
    epsilon: float = Field(default=1e-7, gt=0, description="keeps divisions finite")


class Adam(_Optimizer):
    """Adam (Kingma and Ba 2015)."""

    name: Literal["adam"] = "adam"
    learning_rate: float = Field(default=1e-3, gt=0, description="peak learning rate, which the schedule scales")
    beta_1: float = Field(default=0.9, ge=0, lt=1, description="how slowly the mean gradient forgets")
    beta_2: float = Field(default=0.999, ge=0, lt=1, description="how slowly the mean of squares forgets")
    epsilon: float = Field(default=1e-7, gt=0, description="keeps divisions finite")


class AdamW(_Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019); biases and batch norm are not decayed."""

    name: Literal["adamw"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0, description="peak learning rate, which the schedule scales")
    weight_decay: float = Field(
        default=4e-3, ge=0, description="share of a kernel taken away each step, times learning rate"
    )
    beta_1: float = Field(default=0.9, ge=0, lt=1, description="how slowly the mean gradient forgets")
    beta_2: float = Field(default=0.999, ge=0, lt=1, description="how slowly the mean of squares forgets")
    epsilon: float = Field(default=1e-7, gt=0, description="keeps divisions finite")


Optimizer = Annotated[Sgd | Momentum | Nesterov | Adagrad | RmsProp | Adam | AdamW, Field(discriminator="name")]


class _Schedule(Frozen):
    warmup_epochs: float = Field(default=0.0, ge=0, description="epochs in which the rate rises linearly from 0")


class Constant(_Schedule):
    """The same learning rate throughout."""

    name: Literal["constant"] = "constant"


class Step(_Schedule):
    """The learning rate falls by a factor every so many epochs."""

    name: Literal["step"] = "step"
    every_epochs: int = Field(default=10, ge=1, description="epochs between two falls")
    factor: float = Field(default=0.1, gt=0, le=1, description="what the rate is multiplied by")


class Cosine(_Schedule):
    """Half a cosine from the peak to the final rate, without restarts (Loshchilov and Hutter 2017)."""

    name: Literal["cosine"] = "cosine"
    final_factor: float = Field(default=0.0, ge=0, le=1, description="the last step's rate, as a share of the peak")


class Exponential(_Schedule):
    """The learning rate falls smoothly by a factor an epoch."""

    name: Literal["exponential"] = "exponential"
    factor: float = Field(default=0.95, gt=0, le=1, description="what an epoch multiplies the rate by")


class Plateau(_Schedule):
    """The learning rate falls when the validation stops getting better."""

    name: Literal["plateau"] = "plateau"
    monitor: Monitor = Field(
        default="val_loss", description="what has to get better; val_accuracy: data.metric, whatever that is"
    )
    factor: float = Field(default=0.5, gt=0, lt=1, description="what the rate is multiplied by")
    patience: int = Field(default=5, ge=1, description="epochs without improvement before it falls")
    min_delta: float = Field(default=0.0, ge=0, description="what counts as an improvement: more than this")
    min_factor: float = Field(default=0.01, gt=0, le=1, description="it does not fall below this share of the peak")


Schedule = Annotated[Constant | Step | Cosine | Exponential | Plateau, Field(discriminator="name")]


class EarlyStopping(Frozen):
    """Stop when the validation stops getting better; the best epoch's weights are restored, also at the last epoch."""

    monitor: Monitor = Field(
        default="val_loss", description="what has to get better; val_accuracy: data.metric, whatever that is"
    )
    patience: int = Field(default=10, ge=1, description="epochs without improvement before it stops")
    min_delta: float = Field(default=0.0, ge=0, description="what counts as an improvement: more than this")
    from_epoch: int = Field(
        default=1, ge=1, description="first epoch that counts (later while something else still ramps up)"
    )


class Clip(Frozen):
    """Gradient clipping, one way of three."""

    by: Literal["global_norm", "norm", "value"] = Field(
        default="global_norm", description="over all gradients together, each tensor's norm, or each value"
    )
    limit: float = Field(default=1.0, gt=0, description="largest norm or absolute value that stays as it is")


ClassWeights = Literal["balanced"] | dict[str, Annotated[float, Field(gt=0)]]


class FitConfig(Frozen):
    """How a model is fitted to the training split."""

    epochs: int = Field(default=30, ge=1, description="passes over the training split at most")
    batch_size: int = Field(default=32, ge=1, description="samples a step")
    optimizer: Optimizer = Field(default=Adam(), description="one of sgd momentum nesterov adagrad rmsprop adam adamw")
    schedule: Schedule = Field(default=Constant(), description="one of constant step cosine exponential plateau")
    loss: Literal["mse", "mae", "huber"] | None = Field(
        default=None,
        description="of values, standardized: mean squared or absolute error, or Huber's; null: mse, and of labels "
        "their cross-entropy",
    )
    huber_delta: float = Field(
        default=1.0, gt=0, description="huber: up to here errors are squared; in standard deviations of the values"
    )
    class_weights: ClassWeights | None = Field(
        default=None,
        description="how much a class counts in the loss, validation loss included: balanced (n / (k count), by the "
        "training split; multilabel: samples without the label for one that has it), or {NAME: weight}, others 1",
    )
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="share of each label spread over all classes")
    early_stopping: EarlyStopping | None = Field(
        default=None, description="null: train all epochs, keep the last weights"
    )
    clip: Clip | None = Field(default=None, description="gradient clipping; null: none")
    tensorboard: bool = Field(default=True, description="write TensorBoard logs beside the checkpoints")

    @model_validator(mode="after")
    def _epochs_suffice(self) -> FitConfig:
        if self.schedule.warmup_epochs >= self.epochs:
            raise ValueError(
                f"schedule.warmup_epochs must be less than epochs ({self.epochs}), but is "
                f"{self.schedule.warmup_epochs:g}: the learning rate would never reach its peak"
            )
        if self.early_stopping and self.early_stopping.from_epoch > self.epochs:
            raise ValueError(
                f"early_stopping.from_epoch must be at most epochs ({self.epochs}), but is "
                f"{self.early_stopping.from_epoch}: no epoch would count"
            )
        return self


class FineTuning(FitConfig):
    """How a model that comes in is fitted on, and what it must not lose."""

    epochs: int = Field(default=20, ge=1, description="passes over the training split at most")
    tensorboard: bool = Field(default=False, description="write TensorBoard logs beside the model")
    teach: TeachConfig | None = Field(default=None, description="the first model goes on teaching; null: labels alone")
    alone: bool = Field(
        default=False, description="do the same once more without the teacher, on the same budget, to compare"
    )
    # the bound and what follows from it are looked at anew in every run, so that another bound trains nothing again
    max_accuracy_loss: Annotated[float, NEUTRAL] = Field(
        default=0.02,
        ge=0,
        description="most that may be lost of data.metric on the validation split against the model that came in; 0.02 "
        "is two points, or 0.02 of an error's own unit",
    )
    on_regression: Annotated[Literal["stop", "keep_best", "continue"], NEUTRAL] = Field(
        default="stop",
        description="where more is lost: end with exit 4, go on with the best epoch, or go on as it is; both are said",
    )

    @model_validator(mode="after")
    def _compared_with_a_teacher(self) -> FineTuning:
        if self.alone and self.teach is None:
            raise ValueError("alone compares with a teacher, but teach is null: set teach, or leave alone out")
        return self

    def decisive(self) -> dict[str, Any]:
        """Return what the weights depend on: of `on_regression` only whether the best epoch's are kept."""
        return super().decisive() | {"keeps_best": self.on_regression == "keep_best"}


class Compressing(FineTuning):
    """How a technique that works layer by layer is applied, and where it is not."""

    exclude: tuple[str, ...] | Literal["auto"] = Field(
        default=(),
        description="layers that are left as they are, by name or pattern (conv_*); auto: the most sensitive ones, as "
        "the stage sensitivity finds them",
    )
    exclude_budget: float = Field(
        default=0.1,
        ge=0,
        description="exclude auto: what all layers that are not left out may cost together, each by itself, on the "
        "validation split, before any fine-tuning, which wins most of it back; 0.1 is ten points",
    )
