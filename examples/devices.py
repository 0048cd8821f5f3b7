"""Arrays where an experiment runs: on the host, or on Torch's current GPU."""

import numpy as np
import torch

import hpacml


def require(device):
    """Raise DeviceError if a device, "cpu" or "cuda", is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        reason = "this Torch is built without CUDA" if torch.version.cuda is None else "Torch finds no GPU"
        raise hpacml.DeviceError(f"the device is 'cuda', and {reason}: choose 'cpu', or install a Torch with CUDA")


def placed(value, device):
    """An array, or a tuple of what is an array or a number, such as a deck, on a device: "cpu" or "cuda".

    On a GPU arrays are Torch's. Raises DeviceError if there is none.
    """
    require(device)
    if device == "cpu":
        return value
    if isinstance(value, tuple):
        make = getattr(value, "_make", tuple)
        return make(placed(each, device) for each in value)
    return torch.from_numpy(value).to(device) if isinstance(value, np.ndarray) else value


def empty_like(array, shape):
    """An array of the dtype of an array, where that is."""
    return np.empty_like(array, shape=shape) if isinstance(array, np.ndarray) else array.new_empty(shape)


def zeros(shape, dtype, like):
    """An array of zeros of a dtype of NumPy's, where the array `like` is."""
    if isinstance(like, np.ndarray):
        return np.zeros(shape, dtype)
    return torch.zeros(shape, dtype=getattr(torch, np.dtype(dtype).name), device=like.device)


def on_host(array):
    """An array as NumPy's, for which a GPU is waited for."""
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()
