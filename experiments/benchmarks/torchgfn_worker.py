"""torchgfn's side of `gflownet.py`: trains as many steps as each line of its input says.

Not run by hand. Arguments: dimensions, side, batch, seed. A line "save PATH" writes the network's
kernels and biases.
"""

import sys
import time

import numpy
import torch
from gfn.gflownet import TBGFlowNet
from gfn.gym import HyperGrid
from gfn.modules import DiscretePolicyEstimator
from gfn.preprocessors import KHotPreprocessor
from gfn.utils.modules import MLP

dims, side, batch, seed = (int(x) for x in sys.argv[1:5])
torch.manual_seed(seed)
reward = {"R0": 1e-3, "R1": 0.5, "R2": 2.0}  # the others' constants; its own default R0 is 0.1
env = HyperGrid(ndim=dims, height=side, reward_fn_kwargs=reward)
pre = KHotPreprocessor(ndim=dims, height=side)
pf = MLP(input_dim=pre.output_dim, output_dim=env.n_actions, hidden_dim=256, n_hidden_layers=2)
pb = MLP(
    input_dim=pre.output_dim,
    output_dim=env.n_actions - 1,
    hidden_dim=256,
    n_hidden_layers=2,
    trunk=pf.trunk,
)
flow = TBGFlowNet(
    logZ=0.0,
    pf=DiscretePolicyEstimator(pf, env.n_actions, is_backward=False, preprocessor=pre),
    pb=DiscretePolicyEstimator(pb, env.n_actions, is_backward=True, preprocessor=pre),
)


def fresh():
    """New parameters in the same network, and their optimiser."""
    for layer in pf.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.reset_parameters()
    pb.last_layer.reset_parameters()
    with torch.no_grad():
        flow.logZ.zero_()
    return torch.optim.Adam(
        [
            {"params": flow.pf_pb_parameters(), "lr": 1e-3},
            {"params": flow.logz_parameters(), "lr": 0.1},
        ]
    )


def steps(count):
    """Train."""
    for _ in range(count):
        optimiser.zero_grad()
        drawn = flow.sample_trajectories(
            env, n=batch, save_logprobs=False, save_estimator_outputs=False, epsilon=0.1
        )
        loss = flow.loss(env, drawn, recalculate_all_logprobs=True)
        loss.backward()
        optimiser.step()


optimiser = fresh()
steps(5)
optimiser = fresh()
print("ready", flush=True)
for line in sys.stdin:
    if line.startswith("save"):
        linear = [m for m in pf.modules() if isinstance(m, torch.nn.Linear)]
        arrays = {
            f"{name}{n}": p.detach().numpy()
            for n, m in enumerate(linear)
            for name, p in (("kernel", m.weight.T), ("bias", m.bias))
        }
        numpy.savez(line.split(maxsplit=1)[1].strip(), **arrays)
        print("saved", flush=True)
        continue
    start, cpu = time.perf_counter(), time.process_time()
    steps(int(line))
    print(time.perf_counter() - start, time.process_time() - cpu, flush=True)
