"""Adam on a GPU: one kernel launch for all parameters of a network."""

import functools

import numpy as np

from utils.stack import kernels, tables
from utils.stack.adam import is_adam, is_adams, is_plain

# The operations of utils/stack/adam.py in the same order; the learning rate may differ in its last
# bit, since CUDA's pow is not correctly rounded.
SOURCE = (
    tables.STRUCT
    + r"""
extern "C" __global__ void tick(
    long long* t, float* rate, const double* alpha, double beta1, double beta2) {
  *t += 1;
  *rate = *alpha * sqrt(1 - pow(beta2, (double)*t)) / (1 - pow(beta1, (double)*t));
}

extern "C" __global__ void adam(
    const Table arrays, const int* halted, const float* rate,
    float one_minus_beta1, float one_minus_beta2, float eps) {
  if (*halted) return;
  const float alpha = *rate;
  for (int k = 0; k < arrays.count; ++k) {
    float *param = arrays.at[0][k], *grad = arrays.at[1][k];
    float *ms = arrays.at[2][k], *vs = arrays.at[3][k];
    for (long long i = FIRST; i < arrays.size[k]; i += STEP) {
      float g = grad[i];
      float m = ms[i] + (g - ms[i]) * one_minus_beta1;
      float v = vs[i] + (g * g - vs[i]) * one_minus_beta2;
      ms[i] = m;
      vs[i] = v;
      param[i] -= alpha / (sqrtf(v) + eps) * m;
    }
  }
}
"""
)


def install(chainer):
    """Let `chainer`'s Adam update float32 parameters on a GPU all at once.

    The number of updates, which the bias correction needs, is counted on the GPU as well, so that
    an update can be captured in a CUDA graph; outside of a capture it is set to the host's count.
    The learning rate is on the GPU, too: see `send_rate`. No parameter changes while an
    optimizer's `halted`, an int32 on the GPU, is not 0. AMSGrad, AdaBound, weight decay and other
    dtypes are left to Chainer's own code.
    """
    adam = chainer.optimizers.Adam
    original = adam.update

    @functools.wraps(original)
    def update(self, lossfun=None, *args, **kwargs):
        params = list(self.target.params())
        if lossfun is not None or not can_update(self, params):
            original(self, lossfun, *args, **kwargs)
            return
        self.reallocate_cleared_grads()
        self.call_hooks("pre")
        self.t += 1
        for param in params:
            param.update_rule.t += 1
        with chainer.using_device(params[0].device):
            update_params(self, params)
        self.call_hooks("post")

    adam.update = update


def can_update(optimizer, params):
    """Whether `update_params` would do all that Chainer's own update does."""
    hp = optimizer.hyperparam
    if not tables.accepts(params) or optimizer._loss_scale is not None:
        return False
    rules = [param.update_rule for param in params]
    if not all(map(is_adams, rules)):
        return False
    alike = all(
        rule.enabled and rule.t == rules[0].t and rule.hyperparam.get_dict() == hp.get_dict()
        for rule in rules
    )
    hooks = any(r._hookable._pre_update_hooks or r._hookable._post_update_hooks for r in rules)
    # All must be contiguous: the kernel would write to copies of others.
    written = [array for p in params for array in (p.array, *(p.update_rule.state or {}).values())]
    whole = all(array.flags.c_contiguous for array in written)
    return alike and is_plain(hp) and not hooks and whole


def counts_on_the_host(optimizer):
    """Whether this is an Adam that Chainer's own code updates, which no CUDA graph may capture."""
    if not is_adam(optimizer):
        return False
    params = list(optimizer.target.params())
    return bool(params) and not can_update(optimizer, params)


def update_params(optimizer, params):
    """One step of Adam for all params."""
    xp, hp = params[0].xp, optimizer.hyperparam
    rules = [param.update_rule for param in params]
    for rule, param in zip(rules, params, strict=True):
        rule._init_states(param)
    if not hasattr(optimizer, "counter"):
        optimizer.counter, optimizer.rate = xp.zeros((), np.int64), xp.zeros((), np.float32)
        optimizer.gpu_alpha, optimizer.sent_alpha = xp.zeros((), np.float64), None
    if not hasattr(optimizer, "halted"):
        optimizer.halted = xp.zeros((), np.int32)
    if not kernels.capturing():
        optimizer.counter.fill(rules[0].t - 1)
        send_rate(optimizer)
    state = optimizer.counter, optimizer.rate, optimizer.gpu_alpha
    betas = map(np.float64, (hp.beta1, hp.beta2))
    kernels.compiled(SOURCE, "tick")((1,), (1,), (*state, *betas))
    numbers = [np.float32(x) for x in (1 - hp.beta1, 1 - hp.beta2, hp.eps)]
    columns = [p.array for p in params], [p.grad for p in params]
    columns += tuple([rule.state[name] for rule in rules] for name in ("m", "v"))
    for table, blocks in tables.launches(*columns):
        arguments = table, optimizer.halted, optimizer.rate, *numbers
        kernels.compiled(SOURCE, "adam")((blocks,), (tables.THREADS,), arguments)


def send_rate(optimizer):
    """Send the learning rate of the next step to a GPU on which `update_params` has taken steps, if
    it has changed."""
    if hasattr(optimizer, "sent_alpha") and optimizer.sent_alpha != optimizer.alpha:
        optimizer.gpu_alpha.fill(optimizer.alpha)
        optimizer.sent_alpha = optimizer.alpha
