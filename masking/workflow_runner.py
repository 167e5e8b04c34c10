"""How our workers run workflows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio.converter import StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

if TYPE_CHECKING:
    from temporalio.bridge.proto.workflow_activation import WorkflowActivation
    from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
    from temporalio.converter import SerializationContext
    from temporalio.worker._command_aware_visitor import CommandInfo
    from temporalio.workflow import Info


def workflow_runner() -> SandboxedWorkflowRunner:
    """Runs workflows in the SDK's sandbox, without what costs time there and serves nothing here.

    Their modules are not loaded anew for each: they read no clock and no chance, for which
    `tests/domain/test_purity.py` sees, and keep no state of their own. The workflow tests run in the
    whole sandbox all the same.
    """
    return _ContextFreeRunner(SandboxRestrictions.default.with_passthrough_modules("workflows"))


class _ContextFreeRunner(SandboxedWorkflowRunner):
    """Tells converters and codec nothing of what a payload belongs to; ours do not ask.

    The SDK would find that out inside the sandbox, with code compiled anew, up to three times for every payload:
    a sixth of a worker's time (`benchmarks/cost.py`).
    """

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return _ContextFreeInstance(super().create_instance(det))


class _ContextFreeInstance(WorkflowInstance):
    def __init__(self, instance: WorkflowInstance) -> None:
        self._instance = instance

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        return self._instance.activate(act)

    def get_serialization_context(self, command_info: CommandInfo | None) -> SerializationContext | None:
        return None

    def get_external_store_context(self, command_info: CommandInfo | None) -> StorageDriverStoreContext:
        return StorageDriverStoreContext()

    def get_info(self) -> Info:
        return self._instance.get_info()

    def get_thread_id(self) -> int | None:
        return self._instance.get_thread_id()
