"""Real networks as Systems: any Equinox module with an Optax optimiser."""

from nsh.networks.for_digits import digit_cnn, digit_linear, digit_mlp
from nsh.networks.models import CNN, MLP, Convolution, Linear
from nsh.networks.network import Network, NetworkExamples, NetworkState
from nsh.networks.pruning import Pruned, magnitude_mask, masked, random_mask
from nsh.networks.schedules import PerStep, Schedule
from nsh.networks.tasks import Classification, Custom, MultiLabel, Regression, Task
from nsh.networks.taylor import Taylor

__all__ = [
    "CNN",
    "MLP",
    "Classification",
    "Convolution",
    "Custom",
    "Linear",
    "MultiLabel",
    "Network",
    "NetworkExamples",
    "NetworkState",
    "PerStep",
    "Pruned",
    "Regression",
    "Schedule",
    "Task",
    "Taylor",
    "digit_cnn",
    "digit_linear",
    "digit_mlp",
    "magnitude_mask",
    "masked",
    "random_mask",
]
