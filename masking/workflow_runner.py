"""How our workers run workflows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio.converter import StorageDriverStoreContext, WorkflowSerializationContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from masking.privacy.payload_codec import mark_bill, mark_for_caller

if TYPE_CHECKING:
    from temporalio.api.failure.v1 import Failure
    from temporalio.bridge.proto.workflow_activation import WorkflowActivation
    from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
    from temporalio.converter import SerializationContext
    from temporalio.worker._command_aware_visitor import CommandInfo
    from temporalio.workflow import Info


def workflow_runner() -> SandboxedWorkflowRunner:
    """Runs workflows in the SDK's sandbox, without what costs time there and serves nothing here.

    Their modules are not loaded anew for each: they read no clock and no chance, for which
    `tests/domain/test_purity.py` sees, and keep no state of their own. The tests of a session's course and
    the replays of sessions of today run in the whole sandbox all the same.
    """
    return _ConstantContextRunner(SandboxRestrictions.default.with_passthrough_modules("workflows"))


class _ConstantContextRunner(SandboxedWorkflowRunner):
    """Tells converters and codec of every payload that it belongs to its workflow; ours starts and signals no other.

    The SDK would find that out inside the sandbox, with code compiled anew, up to three times for every payload:
    a sixth of a worker's time (`benchmarks/cost.py`).
    """

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        context = WorkflowSerializationContext(namespace=det.info.namespace, workflow_id=det.info.workflow_id)
        return _ConstantContextInstance(super().create_instance(det), context)


class _ConstantContextInstance(WorkflowInstance):
    def __init__(self, instance: WorkflowInstance, context: SerializationContext) -> None:
        self._instance, self._context = instance, context

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        completion = self._instance.activate(act)
        if completion.HasField("successful"):
            _mark_answers(completion)
        return completion

    def get_serialization_context(self, command_info: CommandInfo | None) -> SerializationContext | None:
        return self._context

    def get_external_store_context(self, command_info: CommandInfo | None) -> StorageDriverStoreContext:
        return StorageDriverStoreContext()

    def get_info(self) -> Info:
        return self._instance.get_info()

    def get_thread_id(self) -> int | None:
        return self._instance.get_thread_id()


def _mark_answers(completion: WorkflowActivationCompletion) -> None:
    """Tell the codec which payloads are for whoever started the session: it may hold other keys than we do."""
    for command in completion.successful.commands:
        match command.WhichOneof("variant"):
            case "respond_to_query":
                answer = command.respond_to_query
                if answer.HasField("succeeded"):
                    mark_for_caller(answer.succeeded.response)
                else:
                    _mark_failure(answer.failed)
            case "update_response":
                if command.update_response.HasField("completed"):
                    mark_for_caller(command.update_response.completed)
                elif command.update_response.HasField("rejected"):
                    _mark_failure(command.update_response.rejected)
            case "complete_workflow_execution":
                if command.complete_workflow_execution.HasField("result"):
                    mark_bill(command.complete_workflow_execution.result)
            case "fail_workflow_execution":
                _mark_failure(command.fail_workflow_execution.failure)


def _mark_failure(failure: Failure) -> None:
    if failure.HasField("encoded_attributes"):
        mark_for_caller(failure.encoded_attributes)
    for payload in failure.application_failure_info.details.payloads:
        mark_for_caller(payload)
    if failure.HasField("cause"):
        _mark_failure(failure.cause)
