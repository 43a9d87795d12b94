"""The walk over a DAG, with an executor that does what the test says."""

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakein.study.dag import Node
from bakein.study.walk import walk


def node(id, parent=""):
    return Node(id, "supervised", id, 0, "arm", parent, None, "", "")


TREE = (node("a"), node("b", "a"), node("c", "a"), node("d", "b"), node("e"))


@dataclasses.dataclass
class Fake:
    """Finishes the nodes in the order that `choose` says, and breaks down at `fails`.

    Attributes:
        held: node -> how often it is another process that runs it.
        log: what was asked of it.
        warnings: what the walk had to say.
    """

    slots: int = 2
    choose: Callable = min
    fails: str = ""
    held: dict = dataclasses.field(default_factory=dict)
    log: list = dataclasses.field(default_factory=list)
    warnings: list = dataclasses.field(default_factory=list)

    def walk(self, todo):
        walk(todo, self, self.warnings.append, patience=0.01)

    def submit(self, node):
        self.log.append(f"+{node.id}")
        return node.id

    def wait(self, running, timeout):
        assert 0 < len(running) <= self.slots
        assert timeout is None or 0 <= timeout <= 0.01
        id = self.choose(sorted(running))
        if self.held.get(id, 0):
            self.held[id] -= 1
            self.log.append(f"?{id}")
            return {id: False}
        self.log.append(f"-{id}")
        if id == self.fails:
            raise OSError("the disk is full")
        return {id: True}

    def __enter__(self):
        self.log.append("enter")
        return self

    def __exit__(self, kind, error, trace):
        self.log.append(f"exit {error}")


def test_nodes_run_when_their_parents_are_finished_as_many_as_there_are_slots():
    fake = Fake(choose=max)
    fake.walk(TREE)
    assert " ".join(fake.log) == "enter +a +e -e -a +b +c -c -b +d -d exit None"


def test_a_parent_that_is_not_to_do_is_finished():
    fake = Fake(slots=1)
    fake.walk(TREE[1:4])
    assert " ".join(fake.log) == "enter +b -b +c -c +d -d exit None"


def test_the_first_failure_stops_the_walk():
    fake = Fake(fails="a")
    with pytest.raises(OSError, match="full"):
        fake.walk(TREE)
    assert " ".join(fake.log) == "enter +a +e -a exit the disk is full"


def test_nothing_to_do_asks_for_nothing():
    fake = Fake()
    fake.walk(())
    assert fake.log == ["enter", "exit None"]


@given(parents=st.lists(st.integers(0, 9), max_size=10), slots=st.integers(1, 4), data=st.data())
def test_any_tree_is_walked_once_and_in_order(parents, slots, data):
    # Node i hangs from one before it, or from none.
    nodes = [node(str(i), str(p) if p < i else "") for i, p in enumerate(parents)]
    held = {n.id: data.draw(st.sampled_from([0, 0, 0, 1])) for n in nodes}
    fake = Fake(slots, lambda running: data.draw(st.sampled_from(running)), held=dict(held))
    fake.walk(nodes)
    steps = fake.log[1:-1]
    for n in nodes:
        if held[n.id]:  # the first time it was another's
            steps.remove(f"?{n.id}")
            steps.remove(f"+{n.id}")
    assert sorted(steps) == sorted(f"{sign}{n.id}" for n in nodes for sign in "+-")
    for n in nodes:
        assert steps.index(f"+{n.id}") < steps.index(f"-{n.id}")
        assert not n.parent or steps.index(f"-{n.parent}") < steps.index(f"+{n.id}")
