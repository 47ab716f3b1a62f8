"""Groups of API operations: the panel's own, and those of pipelines.

The package that a pipeline names in `mailslot.service.pipeline.PanelPackage` may have a module ``api`` with
``operations`` and, if they need them, ``path_parameters`` and ``schemas``. Our own pipelines do the same.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mailslot.entry_points import describe_error
from mailslot.exit_guard import ExitGuard
from mailslot.service.pipeline import panel_package
from mailslot.shortage import is_shortage
from mailslot_plugins.panel.api.operation import Operation
from mailslot_plugins.panel.pipelines import pipelines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import ModuleType

    from mailslot_plugins.panel.api.json_schema import Schema

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class OperationGroup:
    """Operations on one subject, with the parameters and schemas that they refer to.

    Attributes:
        name: the group's name in the OpenAPI document; of a pipeline's operations, the pipeline's.
        operations: the operations.
        path_parameters: the schemas of the parameters in their paths, by name.
        schemas: the schemas of their responses, by the name that `schema_ref` takes.
    """

    name: str
    operations: tuple[Operation, ...]
    path_parameters: Mapping[str, Schema] = field(default_factory=dict[str, "Schema"])
    schemas: Mapping[str, Schema] = field(default_factory=dict[str, "Schema"])


def load_pipeline_groups(own: Iterable[OperationGroup]) -> list[OperationGroup]:
    """Return the groups of pipelines; one that cannot be used is logged and left out.

    Args:
        own: the panel's groups. A pipeline cannot use their paths, nor names that they define.
    """
    groups = list(own)
    count = len(groups)
    for pipeline in pipelines():
        package = panel_package(pipeline)
        if package is None or not package.has_api:
            continue
        try:
            with ExitGuard():
                group = _group(pipeline.name, import_module(f"{package.name}.api"))
                _check(group, groups)
        except Exception as error:
            if is_shortage(error):
                raise
            logger.warning("The API of the pipeline %s is left out: %s", pipeline.name, describe_error(error))
            continue
        groups.append(group)
    return groups[count:]


def _group(name: str, module: ModuleType) -> OperationGroup:
    path_parameters: dict[str, Any] = getattr(module, "path_parameters", {})
    schemas: dict[str, Any] = getattr(module, "schemas", {})
    return OperationGroup(name, tuple(module.operations), path_parameters, schemas)


def _check(group: OperationGroup, others: Iterable[OperationGroup]) -> None:
    """Refuse a group that would change another one.

    Raises:
        TypeError: something in it is not an operation.
        ValueError: it defines something that another group has already.
    """
    if not all(isinstance(each, Operation) for each in group.operations):
        raise TypeError("operations may only hold objects of Operation")
    for other in others:
        for kind, name in _names(group) & _names(other):
            raise ValueError(f"there is a {kind} {name!r} already")


def _names(group: OperationGroup) -> set[tuple[str, str]]:
    """Return all that must be unique: first parts of paths, operation ids, path parameters, schemas."""
    return {
        *(("path", each.path.split("/")[1]) for each in group.operations),
        *(("operation", each.handler.__name__) for each in group.operations),
        *(("parameter", name) for name in group.path_parameters),
        *(("schema", name) for name in group.schemas),
    }
