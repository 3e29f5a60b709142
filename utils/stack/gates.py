"""What gates let through: one function node on the CPU, where Chainer's own are up to eight."""

import functools
import operator

import numpy as np

from utils.stack import F, chainer
from utils.stack.fused_node import FusedNode, can_fuse
from utils.stack.lstm import sigmoid

summed = functools.partial(functools.reduce, operator.add)  # of arrays or Variables


def gated(x, *gates):
    """tanh(x) * sigmoid(gates), a Variable like x.

    gates: their sum is the gate's input; all arrays or Variables of x's shape.
    """
    return apply(Gate(), x, *gates)


def renewed(memory, *gates):
    """A memory (B, K, ...) that has forgotten something and let something in, like an LSTM's cell:
    sigmoid(forget gate) * memory + sigmoid(input gate) * tanh(candidate).

    gates: their sum, (B, 3 * K, ...), is candidate, input gate and forget gate, one below the
    other.
    """
    return apply(Renewal(), memory, *gates)


def apply(node, *inputs):
    x, *gates = inputs = list(map(chainer.as_variable, inputs))
    alike = {gate.shape for gate in gates} == {node.shape_of_gates(*x.shape)}  # none is broadcast
    if type(x.array) is np.ndarray and alike and can_fuse(*inputs):
        return node.apply(inputs)[0]
    return node.by_nodes(*inputs)[0]


class Gate(FusedNode):
    """x, gates... -> tanh(x) * sigmoid(gates)."""

    def shape_of_gates(self, *shape):
        return shape

    def forward(self, inputs):
        self.retain_inputs(range(len(inputs)))
        x, *gates = inputs
        self.kept = x, gate = np.tanh(x), sigmoid(summed(gates))
        return (x * gate,)

    def gradients(self, indexes, grad):
        x, gate = self.kept
        gx, ggate = grad * gate * (1 - x * x), grad * x * gate * (1 - gate)
        return {0: gx} | dict.fromkeys(indexes - {0}, ggate)

    def by_nodes(self, x, *gates):
        return [F.tanh(x) * F.sigmoid(summed(gates))]


class Renewal(FusedNode):
    """memory, gates... -> the memory renewed."""

    def shape_of_gates(self, batch, maps, *size):
        return batch, 3 * maps, *size

    def forward(self, inputs):
        self.retain_inputs(range(len(inputs)))
        memory, *gates = inputs
        candidate, input_gate, forget_gate = np.split(summed(gates), 3, axis=1)
        self.kept = memory, np.tanh(candidate), sigmoid(input_gate), sigmoid(forget_gate)
        return (self.kept[2] * self.kept[1] + self.kept[3] * memory,)

    def gradients(self, indexes, grad):
        memory, candidate, input_gate, forget_gate = self.kept
        to_gates = [
            grad * input_gate * (1 - candidate * candidate),
            grad * candidate * input_gate * (1 - input_gate),
            grad * memory * forget_gate * (1 - forget_gate),
        ]
        found = dict.fromkeys(indexes - {0}, np.concatenate(to_gates, axis=1))
        return found | {0: grad * forget_gate}

    def by_nodes(self, memory, *gates):
        candidate, input_gate, forget_gate = F.split_axis(summed(gates), 3, axis=1)
        return [F.sigmoid(forget_gate) * memory + F.sigmoid(input_gate) * F.tanh(candidate)]
