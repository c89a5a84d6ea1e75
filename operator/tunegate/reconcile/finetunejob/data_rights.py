"""May this data be used: its class, the day until which it may be kept, and what the namespace's policy wants stated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from functools import cache

from license_expression import ExpressionError, Licensing, get_spdx_licensing

from tunegate.api.finetunejob.spec import Dataset
from tunegate.api.markers import DataClass
from tunegate.reconcile.finetunejob.observed import Observed

OWN_LICENSE = re.compile(r"(DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-[A-Za-z0-9.-]+")


def not_cleared(seen: Observed) -> Iterator[str]:
    """Yield who does not allow data of this class."""
    data = seen.job.spec.dataset.classification
    elsewhere = "Create a new job with a server and pool that are cleared for it"
    places: list[tuple[str, list[DataClass], str]] = []
    if seen.policy:
        advice = "Create a new job with data of an allowed class, or ask the policy's owner to allow this one first"
        places.append((f"ApprovalPolicy {seen.policy.name} allows", seen.policy.spec.allowed_data, advice))
    if seen.base_model:
        places.append((f"BaseModel {seen.base_model.name} is cleared for", seen.base_model.spec.cleared_for, elsewhere))
    pools = {pool.name: pool for pool in (seen.pool, seen.server_pool) if pool}
    places += [(f"ComputePool {pool.name} is cleared for", pool.spec.cleared_for, elsewhere) for pool in pools.values()]
    for place, allowed, advice in places:
        if data not in allowed:
            yield f"The data is classified {data}, but {place} {', '.join(allowed)} only. {advice}."


def not_stated(seen: Observed) -> Iterator[str]:
    """Yield what the policy wants to know of the data and the job does not say."""
    dataset = seen.job.spec.dataset
    if seen.policy is None:
        return
    asks = f"ApprovalPolicy {seen.policy.name} asks"
    required = seen.policy.spec.required_rights
    if "Steward" in required and not dataset.steward.strip():
        yield f"{asks} who answers for the data. Create a new job with spec.dataset.steward."
    if "Retention" in required and dataset.expiration_date is None:
        yield f"{asks} how long the data may be kept. Create a new job with spec.dataset.expirationDate, a day as YYYY-MM-DD."
    if "SpdxLicense" in required and (wrong := no_spdx(dataset.license)):
        yield (
            f"{asks} for an SPDX license expression in spec.dataset.license: {wrong}. Create a new job with one such as "
            "CC-BY-4.0 or LicenseRef-contract-17 (https://spdx.org/licenses)."
        )


def past_retention(dataset: Dataset, today: date) -> str | None:
    """Return why data must not be used any more; None: it may."""
    if dataset.expiration_date is None or today.isoformat() <= dataset.expiration_date:
        return None
    return (
        f"The data may be kept until {dataset.expiration_date} (spec.dataset.expirationDate), and today is {today}: nothing is "
        "trained on it any more. Create a new job with data that may be used."
    )


@cache
def _licenses() -> Licensing:
    return get_spdx_licensing()


def no_spdx(expression: str) -> str | None:
    """Return why this is no SPDX license expression (SPDX 2.3, annex D); names of one's own begin with `LicenseRef-`."""
    try:
        parsed = _licenses().parse(expression, strict=True)
    except ExpressionError as error:
        return str(error)
    if parsed is None:
        return "it is empty"
    unknown = [key for key in _licenses().unknown_license_keys(parsed) if not OWN_LICENSE.fullmatch(key)]
    return f"nobody knows {', '.join(unknown)}" if unknown else None
