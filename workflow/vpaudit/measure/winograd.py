"""Convolutions of 3 x 3 in fewer products, for LPIPS on a CPU: Winograd's F(4 x 4, 3 x 3) (Lavin & Gray 1509.09308).

A tile d of 6 x 6 values gives 4 x 4 results A' [(G w G') * (B' d B)] A: 36 products for a pair of channels, where the
plain sum has 144. Rounding errors are some ten times the plain sum's, 5e-5 of the results' standard deviation.
"""

import torch

B_TRANSPOSED = torch.tensor([
    [4.0, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
])  # fmt: skip
G = torch.tensor([[6.0, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
A_TRANSPOSED = torch.tensor([[1.0, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])
CHANNELS = 128  # fewer gain nothing: the products are then too few beside the transforms
VALUES_AT_ONCE = 2**22  # of the input; 4 times as many are held in between


class Winograd(torch.nn.Module):
    """`convolution`, of kernel 3 x 3, stride 1 and padding 1, for (N, C, H, W) in float32."""

    def __init__(self, convolution: torch.nn.Conv2d):
        super().__init__()
        kernels = torch.einsum("ij,ocjk,lk->ilco", G, convolution.weight.detach(), G)
        self.kernels, self.bias = kernels.flatten(0, 1).contiguous(), convolution.bias
        self.forwards, self.back = (torch.kron(matrix, matrix) for matrix in (B_TRANSPOSED, A_TRANSPOSED))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = [self._some(part) for part in x.split(max(1, VALUES_AT_ONCE // x[0].numel()))]
        return made[0] if len(made) == 1 else torch.cat(made)  # which copies

    def _some(self, x: torch.Tensor) -> torch.Tensor:
        count, channels, height, width = x.shape
        down, right = -(-height // 4), -(-width // 4)  # tiles
        edge = (0, 0, 1, 4 * right - width + 1, 1, 4 * down - height + 1)
        padded = torch.nn.functional.pad(x.permute(0, 2, 3, 1), edge)
        tiles = padded.unfold(1, 6, 4).unfold(2, 6, 4).permute(4, 5, 0, 1, 2, 3).reshape(36, -1)
        products = torch.bmm((self.forwards @ tiles).view(36, -1, channels), self.kernels)
        results = (self.back @ products.flatten(1)).view(4, 4, count, down, right, -1).permute(2, 3, 0, 4, 1, 5)
        whole = results.reshape(count, 4 * down, 4 * right, -1)[:, :height, :width] + self.bias
        return whole.permute(0, 3, 1, 2)


def quicken(network: torch.nn.Module) -> None:
    """Replace the convolutions of 3 x 3 between many channels, in place."""
    for name, layer in network.named_children():
        alike = isinstance(layer, torch.nn.Conv2d) and layer.kernel_size == (3, 3) and layer.padding == (1, 1)
        if alike and layer.stride == (1, 1) and layer.groups == 1 and layer.in_channels >= CHANNELS:
            setattr(network, name, Winograd(layer))
        else:
            quicken(layer)
