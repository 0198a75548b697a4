"""Real networks as Systems: any Equinox module with an Optax optimiser, and data to train on."""

from nsh.networks.digits import Digits, digits, subclasses
from nsh.networks.for_digits import digit_cnn, digit_linear, digit_mlp
from nsh.networks.models import CNN, MLP, Linear
from nsh.networks.network import Network, NetworkState, Samples

__all__ = [
    "CNN",
    "MLP",
    "Digits",
    "Linear",
    "Network",
    "NetworkState",
    "Samples",
    "digit_cnn",
    "digit_linear",
    "digit_mlp",
    "digits",
    "subclasses",
]
