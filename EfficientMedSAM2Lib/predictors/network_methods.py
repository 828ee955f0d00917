"""What scripts call on SAM2's video predictor because it is a torch module: here handed on to the network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.predictors.pretrained import FromPretrained

if TYPE_CHECKING:
    from typing_extensions import Self


class NetworkMethods(FromPretrained):
    """Methods of a torch module, for a predictor that has one in its attribute `model`.

    An exported network has neither parameters nor devices: it stays on the CPU, and what asks for its parameters gets
    an AttributeError that says so.
    """

    @property
    def device(self) -> Any:
        """Where the network is."""
        return self.model.device

    @property
    def image_size(self) -> int:
        """Side of the square that the network sees, in its pixels."""
        size: int = self.model.config.image_size
        return size

    @property
    def training(self) -> bool:
        """Always False: a predictor does not train its network."""
        return False

    def eval(self) -> Self:
        """The predictor itself; its network is in evaluation mode always."""
        return self

    def train(self, mode: bool = True) -> Self:
        """The predictor itself, for `train(False)`.

        Raises:
            RuntimeError: `mode` is True.
        """
        if mode:
            raise RuntimeError("A predictor does not train its network; use `efficient-medsam2 distill`.")
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move the network to another device, or compute in another precision.

        Args:
            *args: A device or a torch dtype, in any order, as for a torch module.
            **kwargs: device, dtype; others are left to torch.
        """
        given = [*args, *(kwargs[name] for name in ("device", "dtype") if kwargs.get(name) is not None)]
        for value in given:
            if str(value).startswith("torch.") and hasattr(value, "is_floating_point"):
                self._torch_method("set_compute_dtype")(value)
            elif hasattr(self.model, "to"):
                self.model.to(value)
            elif str(value).split(":")[0] != "cpu":
                raise UserError(
                    f"An exported network computes on the CPU, not on {value}; build one with runtime='torch'."
                )
        return self

    def cuda(self, device: Any = None) -> Self:
        """Move the network to a CUDA device."""
        return self.to("cuda" if device is None else f"cuda:{device}" if isinstance(device, int) else device)

    def cpu(self) -> Self:
        """Move the network to the CPU."""
        return self.to("cpu")

    def parameters(self, recurse: bool = True) -> Iterator[Any]:
        """The network's parameters."""
        parameters: Iterator[Any] = self._torch_method("parameters")(recurse)
        return parameters

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, Any]]:
        """The network's parameters with their names."""
        named: Iterator[tuple[str, Any]] = self._torch_method("named_parameters")(*args, **kwargs)
        return named

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The network's weights."""
        weights: dict[str, Any] = self._torch_method("state_dict")(*args, **kwargs)
        return weights

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        """Give the network the weights of another one that was built for inference, as `state_dict` gives them."""
        return self._torch_method("load_state_dict")(state_dict, *args, **kwargs)

    def _torch_method(self, name: str) -> Any:
        method = getattr(self.model, name, None)
        if method is None:
            raise AttributeError(f"An exported network has no {name}; build the network with runtime='torch'.")
        return method


__all__ = ["NetworkMethods"]
