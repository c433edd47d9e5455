"""Botorch's models, recommendation and batches, for `acquisition.py`; needs botorch when called."""

from typing import Any

import numpy as np

from mfal.acquisition.problems import Problem
from mfal.acquisition.queries import Asked


def fidelity_value(kernel: str, fidelity: int, last: int) -> float:
    """The number by which a kernel knows a fidelity: 0 to 1, or its index."""
    return fidelity / last if kernel == "default" else float(fidelity)


def botorch_model(problem: Problem, asked: Asked, kernel: str) -> Any:
    """A fitted model: of the top alone, with botorch's fidelity kernel, or with a learned one."""
    import torch
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP, SingleTaskMultiFidelityGP
    from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
    from gpytorch.kernels import IndexKernel
    from gpytorch.mlls import ExactMarginalLogLikelihood

    size, last = problem.dimension, len(problem.costs) - 1
    if kernel == "single":
        rows = asked.fidelity == last
        x = torch.as_tensor(asked.x[rows])
        model = SingleTaskGP(x, torch.as_tensor(asked.value[rows])[:, None])
    else:
        column = [fidelity_value(kernel, int(m), last) for m in asked.fidelity]
        x = torch.as_tensor(np.column_stack([asked.x, column]))
        value = torch.as_tensor(asked.value)[:, None]
        if kernel == "default":
            model = SingleTaskMultiFidelityGP(x, value, data_fidelities=[size])
        else:
            of_points = get_covar_module_with_dim_scaled_prior(
                ard_num_dims=size, active_dims=list(range(size))
            )
            between = IndexKernel(last + 1, rank=last + 1, active_dims=[size])
            model = SingleTaskGP(x, value, covar_module=of_points * between)
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    return model


def botorch_recommend(model: Any, size: int, top: float) -> np.ndarray:
    """The point of greatest posterior mean at the top."""
    import torch
    from botorch.acquisition import PosteriorMean
    from botorch.acquisition.fixed_feature import FixedFeatureAcquisitionFunction
    from botorch.optim import optimize_acqf

    mean = PosteriorMean(model)
    if model.train_inputs[0].shape[-1] > size:
        mean = FixedFeatureAcquisitionFunction(mean, d=size + 1, columns=[size], values=[top])
    bounds = torch.tensor([[0.0] * size, [1.0] * size], dtype=torch.double)
    x, _ = optimize_acqf(mean, bounds, q=1, num_restarts=6, raw_samples=256)
    return np.asarray(x[0].numpy())


def botorch_batch(
    problem: Problem, model: Any, asked: Asked, acquisition: str, kernel: str, batch: int
) -> np.ndarray:
    """A batch by sequential greedy maximisation, [B, D] or [B, D + 1] with the fidelity's value."""
    import torch
    from botorch.acquisition.cost_aware import InverseCostWeightedUtility
    from botorch.acquisition.logei import qLogNoisyExpectedImprovement
    from botorch.acquisition.max_value_entropy_search import (
        qLowerBoundMaxValueEntropy,
        qMultiFidelityLowerBoundMaxValueEntropy,
    )
    from botorch.acquisition.utils import project_to_target_fidelity
    from botorch.models.deterministic import GenericDeterministicModel
    from botorch.optim import optimize_acqf, optimize_acqf_mixed

    size, last = problem.dimension, len(problem.costs) - 1
    bounds = torch.tensor([[0.0] * size, [1.0] * size], dtype=torch.double)
    points = torch.rand(512, size, dtype=torch.double)
    if kernel == "single":
        if acquisition == "LogNEI":
            at_top = torch.as_tensor(asked.x[asked.fidelity == last])
            rule = qLogNoisyExpectedImprovement(model, X_baseline=at_top, prune_baseline=True)
        else:
            rule = qLowerBoundMaxValueEntropy(model, candidate_set=points)
        x, _ = optimize_acqf(
            rule, bounds, q=batch, num_restarts=4, raw_samples=128, sequential=True
        )
        return np.asarray(x.numpy())
    values = [fidelity_value(kernel, m, last) for m in range(last + 1)]
    levels, costs = torch.tensor(values), torch.tensor(problem.costs, dtype=torch.double)
    price = GenericDeterministicModel(
        lambda x: costs[(x[..., -1:] - levels).abs().argmin(-1, keepdim=True)]
    )
    rule = qMultiFidelityLowerBoundMaxValueEntropy(
        model,
        candidate_set=torch.cat([points, torch.full((512, 1), values[-1])], dim=1),
        cost_aware_utility=InverseCostWeightedUtility(cost_model=price),
        project=lambda x: project_to_target_fidelity(x, {size: values[-1]}, size + 1),
    )
    ends = torch.tensor([[0.0], [values[-1]]], dtype=torch.double)
    chosen: list[Any] = []
    for _ in range(batch):  # the mixed optimiser's own sequential mode asks for a joint value
        x, _ = optimize_acqf_mixed(
            rule,
            torch.cat([bounds, ends], dim=1),
            q=1,
            num_restarts=2,
            raw_samples=64,
            fixed_features_list=[{size: value} for value in values],
            options={"maxiter": 50},
        )
        chosen.append(x)
        rule.set_X_pending(torch.cat(chosen))
    return np.asarray(torch.cat(chosen).numpy())
