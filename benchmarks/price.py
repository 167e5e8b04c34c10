"""What a workflow's history costs on Temporal Cloud, in Actions.

Counted as documented there (temporalio/documentation, evaluate/cloud/actions.mdx):

- a start of a workflow: 1
- an update: 1, with its own start on top where update-with-start began the workflow
- a signal: 1
- a timer: 1, also one that is cancelled
- an activity: 1, and 1 for each further try
- the local activities of one workflow task: 1 together
- an upsert of search attributes, a run by continue-as-new: 1 each; a child workflow: 2

Events that belong to workflow tasks, and those that tell how something ended, cost nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory

LIMIT_EVENTS, LIMIT_ACTIONS = 60, 25

_PREFIX = "EVENT_TYPE_"
_EACH = {
    "WORKFLOW_EXECUTION_STARTED": ("start", 1),
    "WORKFLOW_EXECUTION_UPDATE_ACCEPTED": ("updates", 1),
    "WORKFLOW_EXECUTION_UPDATE_REJECTED": ("updates", 1),
    "WORKFLOW_EXECUTION_SIGNALED": ("signals", 1),
    "TIMER_STARTED": ("timers", 1),
    "ACTIVITY_TASK_SCHEDULED": ("activities", 1),
    "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES": ("search attributes", 1),
    "WORKFLOW_EXECUTION_CONTINUED_AS_NEW": ("continue-as-new", 1),
    "START_CHILD_WORKFLOW_EXECUTION_INITIATED": ("child workflows", 2),
}


class Price(NamedTuple):
    """Events by type, and Actions by what they are for."""

    events: dict[str, int]
    actions: dict[str, int]

    @property
    def ok(self) -> bool:
        """Whether it keeps within the limits."""
        return sum(self.events.values()) <= LIMIT_EVENTS and sum(self.actions.values()) <= LIMIT_ACTIONS


def price(history: WorkflowHistory) -> Price:
    """Count a history."""
    events: Counter[str] = Counter()
    actions: Counter[str] = Counter()
    tasks = set()
    for event in history.events:
        name = EventType.Name(event.event_type).removeprefix(_PREFIX)
        events[name] += 1
        if name in _EACH:
            what, count = _EACH[name]
            actions[what] += count
        elif name == "ACTIVITY_TASK_STARTED":
            actions["activities"] += event.activity_task_started_event_attributes.attempt - 1
        elif name == "MARKER_RECORDED" and event.marker_recorded_event_attributes.marker_name == "core_local_activity":
            tasks.add(event.marker_recorded_event_attributes.workflow_task_completed_event_id)
    actions["local activities"] = len(tasks)
    return Price(dict(events.most_common()), {what: count for what, count in actions.items() if count})
