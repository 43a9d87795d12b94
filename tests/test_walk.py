"""The walk over a DAG, with an executor that does what the test says."""

import dataclasses

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
        log: what was asked of it.
    """

    slots: int = 2
    choose: callable = min
    fails: str = ""
    log: list = dataclasses.field(default_factory=list)

    def submit(self, node):
        self.log.append(f"+{node.id}")
        return node.id

    def wait(self, running):
        assert 0 < len(running) <= self.slots
        id = self.choose(sorted(running))
        self.log.append(f"-{id}")
        if id == self.fails:
            raise OSError("the disk is full")
        return [id]

    def __enter__(self):
        self.log.append("enter")
        return self

    def __exit__(self, kind, error, trace):
        self.log.append(f"exit {error}")


def test_nodes_run_when_their_parents_are_finished_as_many_as_there_are_slots():
    fake = Fake(choose=max)
    walk(TREE, fake)
    assert " ".join(fake.log) == "enter +a +e -e -a +b +c -c -b +d -d exit None"


def test_a_parent_that_is_not_to_do_is_finished():
    fake = Fake(slots=1)
    walk(TREE[1:4], fake)
    assert " ".join(fake.log) == "enter +b -b +c -c +d -d exit None"


def test_the_first_failure_stops_the_walk():
    fake = Fake(fails="a")
    with pytest.raises(OSError, match="full"):
        walk(TREE, fake)
    assert " ".join(fake.log) == "enter +a +e -a exit the disk is full"


def test_nothing_to_do_asks_for_nothing():
    fake = Fake()
    walk((), fake)
    assert fake.log == ["enter", "exit None"]


@given(parents=st.lists(st.integers(0, 9), max_size=10), slots=st.integers(1, 4), data=st.data())
def test_any_tree_is_walked_once_and_in_order(parents, slots, data):
    # Node i hangs from one before it, or from none.
    nodes = [node(str(i), str(p) if p < i else "") for i, p in enumerate(parents)]
    fake = Fake(slots, lambda running: data.draw(st.sampled_from(running)))
    walk(nodes, fake)
    steps = fake.log[1:-1]
    assert sorted(steps) == sorted(f"{sign}{n.id}" for n in nodes for sign in "+-")
    for n in nodes:
        assert steps.index(f"+{n.id}") < steps.index(f"-{n.id}")
        assert not n.parent or steps.index(f"-{n.parent}") < steps.index(f"+{n.id}")
