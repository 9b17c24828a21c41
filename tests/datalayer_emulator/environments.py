"""The environments that the account can use, in the shape of the service's recorded listing."""

from __future__ import annotations

from typing import Any

NOTHING = dict.fromkeys(
    (
        *("capabilities", "contents", "contents_build", "env", "example", "home", "icon"),
        *("resources", "resourcesRanges", "runtime", "sizeClass", "snippets", "description"),
    )
)
OWN_RATE = 0.01  # credits a second; what the listing does not say of a user's own environment


def _public(name: str, title: str, rate: float, **more: Any) -> dict[str, Any]:
    of_the_service = {"language": "python", "owner": "datalayer", "visibility": "public"}
    known = {"name": name, "title": title, "burning_rate": rate, **of_the_service}
    return {**NOTHING, **known, "dockerImage": f"jupyter-{name.removesuffix('-env')}:0.2.0", **more}


# How many GPUs an environment has is in its resources. Which, no field says: only the text does.
ENVIRONMENTS: tuple[dict[str, Any], ...] = (
    _public("python-cpu-env", "Python CPU", 0.008),
    _public(
        "ai-env",
        "AI Environment (NVIDIA T4)",
        0.05,
        description="Python and PyTorch on one NVIDIA T4 GPU.",
        resources={"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"},
    ),
    {
        "name": "ada/geo",
        "title": "Geospatial",
        "origin": "user",
        "owner": "01J9EMVLATRVSER00000000000",
        "language": "python",
        "visibility": "private",
        "uid": "01M2EMVLATRENV000000000000",
        "promotedVersion": {"uid": "01M2EMVLATRVERS10N0000000", "version": 2, "status": "ready"},
        "variants": ["datalayer"],
        "description": "Geospatial",
    },
)


def find(name: str) -> dict[str, Any] | None:
    """The environment of that name."""
    return next((one for one in ENVIRONMENTS if one["name"] == name), None)
