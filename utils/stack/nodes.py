"""Function nodes on the CPU without the checks that NumPy arrays do not need.

These checks take longer than the arithmetic of small arrays.
"""

import functools
import weakref

import numpy as np


def install(chainer):
    """Let `chainer`'s nodes apply to NumPy arrays without checking devices, layouts and ChainerX,
    unless in debug mode or with function hooks.

    Even properties of Variables check for ChainerX, so the attributes behind them are read.
    """
    node, variable, config = chainer.FunctionNode, chainer.Variable, chainer.config
    original, make = node.apply, variable._init_unchecked

    def needs_checks(self, inputs):
        for x in inputs:
            if type(x._data[0]) is not np.ndarray or x._layout is not None:
                return True
        watched = chainer.get_function_hooks() or self._local_function_hooks or config.debug
        return not inputs or bool(watched) or config.schedule_func is not None

    @functools.wraps(original)
    def apply(self, inputs):
        inputs = [x if isinstance(x, variable) else chainer.as_variable(x) for x in inputs]
        if needs_checks(self, inputs):
            return original(self, inputs)
        arrays = tuple([x._data[0] for x in inputs])
        self._input_layouts = (None,) * len(inputs)
        if config.type_check:
            self._check_data_type_forward(arrays)
        self._input_indexes_to_retain = self._output_indexes_to_retain = None
        ys = self.forward(arrays)
        if type(ys) is not tuple or not all(isinstance(y, np.ndarray) for y in ys):
            raise TypeError(f"{self.label}: forward returned {type(ys)}, not a tuple of arrays")
        self._output_count, self._output_layouts = len(ys), (None,) * len(ys)
        grad = any(x._requires_grad for x in inputs)
        outputs = tuple([make(y, requires_grad=grad, is_chainerx_array=False) for y in ys])
        if config.enable_backprop:
            connect(self, inputs, outputs)
            self.lazy_grad_sum = config.lazy_grad_sum
        return outputs

    node.apply = apply


def connect(node, inputs, outputs):
    """Connect a node with its Variables in the graph; keep the arrays that it asked to retain."""
    node.inputs = tuple([x._node for x in inputs])
    node.rank = rank = max([x._rank for x in node.inputs])
    output_nodes = [y._node for y in outputs]
    for y in output_nodes:
        y._creator_node, y._rank = node, rank + 1
    node.outputs = tuple([weakref.ref(y) for y in output_nodes])
    for k in node._input_indexes_to_retain or ():
        inputs[k]._node._data = inputs[k]._data[0]
    if node._output_indexes_to_retain is not None:
        for k in node._output_indexes_to_retain:
            output_nodes[k]._data = outputs[k]._data[0]
        kept = [output_nodes[k]._data for k in node._output_indexes_to_retain]
        node._retained_output_data = tuple(kept)
