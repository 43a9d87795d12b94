"""What a run would do, as text: the tree of stages, what is done, what is shared, what it costs."""

from bakein.study.runner import Plan
from bakein.study.shop import work_of


def show_dry_run(plan: Plan) -> str:
    """One line per arm and stage, over all seeds, and one per probe."""
    dag, study = plan.dag, plan.shop.study
    todo = {node.id for node in plan.todo}
    seen: set[str] = set()
    lines = []
    for arm, stages in study.arms.items():
        lines.append(arm)
        for stage, config in stages.items():
            ids = [dag.places[arm, stage, seed] for seed in study.members]
            shared = sum(id in seen for id in ids)
            done = sum(id not in todo for id in ids)
            cost = sum(work_of(dag.nodes[id], plan.shop) for id in ids if id in todo - seen)
            seen.update(ids)
            depth = 1 + _depth(stages, config.parent)
            notes = [f"{len(ids)} seeds", f"{done} done"]
            notes += [f"{shared} shared"] if shared else []
            notes.append(f"{cost:.1e} FLOPs to go")
            lines.append(f"{'  ' * depth}{stage:<{24 - 2 * depth}} {', '.join(notes)}")
    for name, probe in study.probes.items():
        ids = set(dag.probes[name].values())
        cost = sum(work_of(dag.nodes[id], plan.shop) for id in ids & todo)
        notes = [f"{len(ids)} stages", f"{len(ids - todo)} done"]
        notes += [f"variants {', '.join(map(str, probe.variants))}", f"{cost:.1e} FLOPs to go"]
        lines.append(f"{'probe ' + name:<26}{', '.join(notes)}")
    evaluations = sum(node.kind in ("eval", "probe") for node in plan.todo)
    total = sum(work_of(node, plan.shop) for node in plan.todo)
    lines.append(
        f"{len(plan.todo)} of {len(dag.nodes)} stages to run, {evaluations} of them evaluations, "
        f"{total:.1e} FLOPs"
    )
    return "\n".join(lines)


def _depth(stages, parent: str) -> int:
    return 1 + _depth(stages, stages[parent].parent) if parent else 0
