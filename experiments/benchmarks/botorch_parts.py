"""Botorch's models, recommendation and batches, for `acquisition.py`; needs botorch when called."""

from collections.abc import Callable
from typing import Any

import numpy as np
from cube.problems import Problem
from cube.queries import Asked


def fidelity_value(kernel: str, fidelity: int, last: int) -> float:
    """The number by which a kernel knows a fidelity: 0 to 1, or its index."""
    return fidelity / last if kernel == "default" else float(fidelity)


def botorch_model(problem: Problem, asked: Asked, kernel: str, before: Any = None) -> Any:
    """A fitted model: of the target alone, with botorch's fidelity kernel, or with a learned one.

    Values are standardised here and not by the model: botorch's GIBBON takes one term of its
    repulsion in the model's units and the rest in the data's, which differ under an outcome
    transform. The learned kernel's fit takes some 800 evaluations; given the last turn's model it
    starts from there, with at most 500 steps. Of 16 fits begun so, without that limit, 14 ended at
    a likelihood as great as a fresh fit's or greater.

    Args:
      problem: what was asked.
      asked: the answers.
      kernel: "single", "default" or "learned".
      before: a model of the same kind to start the fit of a learned kernel from.
    """
    import torch
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP, SingleTaskMultiFidelityGP
    from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
    from botorch.utils.transforms import standardize
    from gpytorch.kernels import IndexKernel
    from gpytorch.mlls import ExactMarginalLogLikelihood

    size, last = problem.dimension, len(problem.costs) - 1
    rows = asked.fidelity == last if kernel == "single" else np.ones(len(asked.x), bool)
    value = standardize(torch.as_tensor(asked.value[rows])[:, None])
    if kernel == "single":
        model = SingleTaskGP(torch.as_tensor(asked.x[rows]), value, outcome_transform=None)
    else:
        column = [fidelity_value(kernel, int(m), last) for m in asked.fidelity]
        x = torch.as_tensor(np.column_stack([asked.x, column]))
        if kernel == "default":
            model = SingleTaskMultiFidelityGP(
                x, value, data_fidelities=[size], outcome_transform=None
            )
        else:
            of_points = get_covar_module_with_dim_scaled_prior(
                ard_num_dims=size, active_dims=list(range(size))
            )
            between = IndexKernel(last + 1, rank=last + 1, active_dims=[size])
            model = SingleTaskGP(x, value, covar_module=of_points * between, outcome_transform=None)
    options = {}
    if kernel == "learned" and before is not None:
        start = dict(before.named_parameters())
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(start[name])
        options = {"optimizer_kwargs": {"options": {"maxiter": 500}}}
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model), **options)
    return model


def botorch_recommend(model: Any, size: int, target: float) -> np.ndarray:
    """The point of greatest posterior mean at the target fidelity."""
    import torch
    from botorch.acquisition import PosteriorMean
    from botorch.acquisition.fixed_feature import FixedFeatureAcquisitionFunction
    from botorch.optim import optimize_acqf

    mean = PosteriorMean(model)
    if model.train_inputs[0].shape[-1] > size:
        mean = FixedFeatureAcquisitionFunction(mean, d=size + 1, columns=[size], values=[target])
    bounds = torch.tensor([[0.0] * size, [1.0] * size], dtype=torch.double)
    x, _ = optimize_acqf(mean, bounds, q=1, num_restarts=6, raw_samples=256)
    return np.asarray(x[0].numpy())


def botorch_batch(
    problem: Problem, model: Any, asked: Asked, acquisition: str, kernel: str, batch: int
) -> np.ndarray:
    """A batch by sequential greedy maximisation, [B, D] or [B, D + 1] with the fidelity's value."""
    import torch
    from botorch.acquisition.logei import qLogNoisyExpectedImprovement
    from botorch.optim import optimize_acqf

    size, last = problem.dimension, len(problem.costs) - 1
    bounds = torch.tensor([[0.0] * size, [1.0] * size], dtype=torch.double)
    if acquisition == "LogNEI":
        at_target = torch.as_tensor(asked.x[asked.fidelity == last])
        rule = qLogNoisyExpectedImprovement(model, X_baseline=at_target, prune_baseline=True)
        x, _ = optimize_acqf(
            rule, bounds, q=batch, num_restarts=4, raw_samples=128, sequential=True
        )
        return np.asarray(x.numpy())
    if kernel == "single":
        levels, costs, restarts, raw = None, torch.ones(1, dtype=torch.double), 4, 128
    else:
        levels = torch.tensor([fidelity_value(kernel, m, last) for m in range(last + 1)])
        levels = levels.to(torch.double)
        costs, restarts, raw = torch.tensor(problem.costs, dtype=torch.double), 2, 64
        bounds = torch.cat([bounds, torch.stack([levels[:1], levels[-1:]])], dim=1)
    rule = gibbon_of_botorch(model, size, levels, costs)
    chosen = torch.zeros(0, bounds.shape[1], dtype=torch.double)
    for _ in range(batch):
        rule.set_X_pending(chosen if len(chosen) else None)
        fast = closed_gibbon(model, rule.posterior_max_values[:, 0], chosen, levels, costs)
        x = _climb_gibbon(rule, fast, bounds, levels, restarts, raw)
        chosen = torch.cat([chosen, x])
    return np.asarray(chosen.numpy())


def gibbon_of_botorch(model: Any, size: int, levels: Any, costs: Any) -> Any:
    """Botorch's own GIBBON, with its own sample of maxima: the target's, or per cost."""
    import torch
    from botorch.acquisition.cost_aware import InverseCostWeightedUtility
    from botorch.acquisition.max_value_entropy_search import (
        qLowerBoundMaxValueEntropy,
        qMultiFidelityLowerBoundMaxValueEntropy,
    )
    from botorch.acquisition.utils import project_to_target_fidelity
    from botorch.models.deterministic import GenericDeterministicModel

    points = torch.rand(512, size, dtype=torch.double)
    if levels is None:
        return qLowerBoundMaxValueEntropy(model, candidate_set=points)
    target = float(levels[-1])
    price = GenericDeterministicModel(lambda x: _price(x, levels, costs)[..., None])
    return qMultiFidelityLowerBoundMaxValueEntropy(
        model,
        candidate_set=torch.cat([points, torch.full((512, 1), target)], dim=1),
        cost_aware_utility=InverseCostWeightedUtility(cost_model=price),
        project=lambda x: project_to_target_fidelity(x, {size: target}, size + 1),
    )


def closed_gibbon(
    model: Any, maxima: Any, pending: Any, levels: Any, costs: Any
) -> Callable[[Any], Any]:
    """The same function of points [b, 1, d] as botorch's class, at a tenth of the cost or less.

    The class asks the model for three or four posteriors, at some 25 ms of module calls together;
    here one Cholesky factor of data and pending points and plain formulas of the kernels give them
    all. That the values agree is checked wherever it is used.

    Args:
      model: an exact process without transforms.
      maxima: [S], sampled.
      pending: [P, d].
      levels: values of the fidelities, the last column of points; none with one fidelity.
      costs: of each.
    """
    import torch
    from botorch.acquisition.max_value_entropy_search import CLAMP_LB
    from linear_operator.utils.cholesky import psd_safe_cholesky

    normal = torch.distributions.Normal(torch.zeros((), dtype=torch.double), 1.0)
    with torch.no_grad():
        known = torch.cat([model.train_inputs[0], pending])
        noise, mean = model.likelihood.noise, model.mean_module.constant
        kernel = _plain_kernel(model.covar_module, levels is not None)
        covariance = kernel(known[:, None], known)
        factor = psd_safe_cholesky(covariance + noise * torch.eye(len(known)))
        count = len(model.train_targets)
        white = torch.linalg.solve_triangular(
            factor[:count, :count], (model.train_targets - mean)[:, None], upper=False
        )

    def value(points: Any) -> Any:
        x = points[:, 0]
        at_target = x if levels is None else torch.cat([x[:, :-1], levels[-1].expand(len(x), 1)], 1)
        both, b = torch.cat([x, at_target]), len(x)
        v = torch.linalg.solve_triangular(factor, kernel(known[:, None], both), upper=False)
        reduced = (v[:count] ** 2).sum(0)
        prior = kernel(x, x) + noise
        after = prior - (v[:, :b] ** 2).sum(0)
        noisy = (prior - reduced[:b]).clamp_min(CLAMP_LB)
        variance = (kernel(at_target, at_target) - reduced[b:]).clamp_min(CLAMP_LB)
        shared = kernel(x, at_target) - (v[:count, :b] * v[:count, b:]).sum(0)
        if levels is None:
            shared = variance
        expected = mean + v[:count, b:].T @ white
        scaled = (maxima - expected) / variance.sqrt()[:, None]
        ratio = normal.log_prob(scaled).exp() / normal.cdf(scaled).clamp_min(CLAMP_LB)
        squared = (shared**2 / (noisy * variance))[:, None]
        inner = 1 - squared * ratio * (scaled + ratio)
        gain = -0.5 * inner.clamp_min(CLAMP_LB).log().mean(1)
        if len(pending):
            gain = gain + 0.5 * (after.clamp_min(1e-12 * noisy.detach()).log() - noisy.log())
        if levels is None:
            return gain
        price = _price(x, levels, costs)
        return torch.where(gain < 0, gain * price, gain / price)  # as botorch weighs losses

    return value


def _plain_kernel(module: Any, multi: bool) -> Callable[[Any, Any], Any]:
    """The covariance of points [..., d] and [..., d], broadcast, of the kernels used here."""
    import torch
    from gpytorch.kernels import RBFKernel, ScaleKernel

    def distance(kernel: Any) -> Callable[[Any, Any], Any]:
        length = kernel.lengthscale[0].detach()
        return lambda a, b: (((a - b) / length) ** 2).sum(-1).clamp_min(1e-30)

    def matern(kernel: Any) -> Callable[[Any, Any], Any]:
        far = distance(kernel)

        def value(a: Any, b: Any) -> Any:
            r = (5 * far(a, b)).sqrt()
            return (1 + r + r**2 / 3) * torch.exp(-r)

        return value

    def gauss(kernel: Any) -> Callable[[Any, Any], Any]:
        far = distance(kernel)
        return lambda a, b: torch.exp(-0.5 * far(a, b))

    if isinstance(module, RBFKernel) and not multi:
        return gauss(module)
    if isinstance(module, ScaleKernel):
        scale, truncated = module.outputscale.detach(), module.base_kernel.kernels[0]
        power = truncated.power.detach()
        unbiased, biased = (
            matern(truncated.covar_module_unbiased), matern(truncated.covar_module_biased)
        )  # fmt: skip

        def default(a: Any, b: Any) -> Any:
            x, z, s, t = a[..., :-1], b[..., :-1], a[..., -1], b[..., -1]
            bias = (1 - s) * (1 - t) * (1 + s * t) ** power
            return scale * (unbiased(x, z) + bias * biased(x, z))

        return default
    of_points, between = module.kernels
    points, tasks = gauss(of_points), between._eval_covar_matrix().detach()

    def learned(a: Any, b: Any) -> Any:
        pair = tasks[a[..., -1].long(), b[..., -1].long()]
        return pair * points(a[..., :-1], b[..., :-1])

    return learned


def _price(x: Any, levels: Any, costs: Any) -> Any:
    return costs[(x[..., -1:] - levels).abs().argmin(-1)]


def _climb_gibbon(
    rule: Any, fast: Callable[[Any], Any], bounds: Any, levels: Any, restarts: int, raw: int
) -> Any:
    """The best point [1, d] of climbs from `restarts` of `raw` points a fidelity, all in one batch.

    Raises:
      RuntimeError: if the closed form is not what botorch's class computes.
    """
    import torch
    from botorch.generation.gen import gen_candidates_scipy
    from botorch.optim.initializers import gen_batch_initial_conditions

    fixed = [None] if levels is None else [{bounds.shape[1] - 1: float(level)} for level in levels]
    starts = torch.cat(
        [
            gen_batch_initial_conditions(
                fast, bounds, q=1, num_restarts=restarts, raw_samples=raw, fixed_features=f
            )
            for f in fixed
        ]
    )
    with torch.no_grad():
        ours, theirs = fast(starts), rule(starts)
    if not torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6):
        message = f"closed form of GIBBON is off botorch's: {ours.tolist()}, {theirs.tolist()}"
        raise RuntimeError(message)
    x, worth = gen_candidates_scipy(
        starts,
        fast,
        lower_bounds=bounds[0],
        upper_bounds=bounds[1],
        fixed_features=None
        if levels is None
        else {bounds.shape[1] - 1: levels.repeat_interleave(restarts)},
        options={} if levels is None else {"maxiter": 50},
    )
    return x[worth.argmax()]
