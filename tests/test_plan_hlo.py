"""Reading compiled modules: loops, collectives and bytes, of texts and of what XLA makes here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from bakein import mesh as mesh_lib
from bakein.plan import hlo, traffic
from bakein.plan.topology import make_topology, parse

LOOP = """\
HloModule jit_f, is_scheduled=true

%body (p: (s32[], f32[8,16])) -> (s32[], f32[8,16]) {
  %p = (s32[]{:T(128)}, f32[8,16]{1,0:T(8,128)}, /*index=2*/s32[]{:T(128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  %x = f32[8,16]{1,0:T(8,128)} get-tuple-element(%p), index=1
  %n = s32[]{:T(128)} get-tuple-element(%p), index=2
  %step = s32[] constant(STEP)
  %next = s32[]{:T(128)} add(%i, %step)
  %g = f32[64,16]{1,0} all-gather(%x), channel_id=1, replica_groups=[1,8]<=[8], dimensions={0}
  %y = f32[8,16]{1,0} reduce-scatter(%g), replica_groups={{0,1,2,3,4,5,6,7}}, to_apply=%sum
  ROOT %out = (s32[], f32[8,16], s32[]) tuple(%next, %y, %n)
}

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %c = f32[] add(%a, %b)
}

%condition (q: (s32[], f32[8,16])) -> pred[] {
  %q = (s32[], f32[8,16], s32[]) parameter(0)
  %j = s32[] get-tuple-element(%q), index=0
  BOUND
  ROOT %lt = pred[] compare(%j, %bound), direction=LT
}

ENTRY %main (x: f32[8,16]) -> f32[8,16] {
  %x.1 = f32[8,16]{1,0} parameter(0)
  %zero = s32[] constant(START)
  %twelve = s32[] constant(12)
  %start = s32[] copy(%zero)
  %t = (s32[], f32[8,16], s32[]) tuple(%start, %x.1, %twelve)
  %w = (s32[], f32[8,16], s32[]) while(%t), condition=%condition, body=%body, \
metadata={op_name="jit(f)/decode/while" stack_frame_id=3}
  %r = f32[8,16]{1,0} get-tuple-element(%w), index=1
  ROOT %sum.1 = f32[8,16]{1,0} all-reduce(%r), replica_groups=[2,4]<=[4,2]T(1,0), to_apply=%sum
}
"""
CONSTANT = "%bound = s32[] constant(12)"
CARRIED = "%bound = s32[] get-tuple-element(%q), index=2"


def loop(bound=CONSTANT, start="0", step="1"):
    text = LOOP.replace("BOUND", bound).replace("START", start).replace("STEP", step)
    return hlo.parse(text)


def while_of(module):
    return next(p for p in hlo.walk(module, 1) if p.instruction.op == "while")


@pytest.mark.parametrize(
    ("how", "turns"),
    [
        ({}, 12),
        ({"bound": CARRIED}, 12),
        ({"start": "2"}, 10),
        ({"step": "5"}, 3),
        ({"start": "40"}, 0),
        ({"bound": "%bound = s32[] parameter(1)"}, None),
    ],
)
def test_turns_are_read_off_the_counter(how, turns):
    module = loop(**how)
    assert hlo.trips(module, "main", while_of(module).instruction) == turns


def test_what_the_compiler_says_of_a_loop_goes_first():
    text = LOOP.replace("BOUND", CONSTANT).replace("START", "0").replace("STEP", "1")
    known = 'backend_config={"known_trip_count":{"n":"7"}}'
    text = text.replace("body=%body, ", f"body=%body, {known}, ")
    module = hlo.parse(text)
    assert hlo.trips(module, "main", while_of(module).instruction) == 7


def test_a_computation_ends_at_its_own_bracket():
    """Not at one of attributes over several lines; what it runs on may stand behind it."""
    side = '%side (x: f32[]) -> f32[] {\n  ROOT %x = f32[] parameter(0)\n}, execution_thread="y"'
    text = LOOP.replace("%body (p", f"{side}\n\n%body (p", 1)
    text = text.replace("constant(STEP)", "constant(STEP), attributes={\n}, metadata={}}", 1)
    module = hlo.parse(text)
    assert [*module.computations] == ["side", "body", "sum", "condition", "main"]
    assert [*module.computations["side"]] == ["x"]
    assert module.root("body").name == "out"


def test_collectives_in_a_loop_count_once_a_turn_and_know_their_scope():
    found = traffic.collectives(loop(), devices=8, unknown=99)
    assert [(c.kind, c.times, c.loops) for c in found] == [
        ("all-gather", 12, ("jit(f)/decode/while",)),
        ("reduce-scatter", 12, ("jit(f)/decode/while",)),
        ("all-reduce", 1, ()),
    ]
    block = 8 * 16 * 4  # bytes of a device's part
    assert [c.bytes for c in found] == [7 * block, 7 * block, 2 * block * 3 / 4]
    # T(1,0) of [4, 2]: every other device.
    assert [c.group for c in found] == [tuple(range(8)), tuple(range(8)), (0, 2, 4, 6)]


def test_the_tpu_compilers_reduce_scatter_is_no_all_reduce():
    """The gradient of a weight whose rows are shared out: gathered once, and summed to its rows."""
    devices = np.array(make_topology(parse("v5e:2x2")).devices)
    rows = NamedSharding(jax.sharding.Mesh(devices, ("fsdp",)), PartitionSpec("fsdp"))

    def loss(weights, x):
        return jnp.sum((x @ weights).astype(jnp.float32) ** 2)

    step = jax.jit(jax.grad(loss), in_shardings=(rows, rows), out_shardings=rows)
    weights, x = (jax.ShapeDtypeStruct((n, 1024), jnp.bfloat16) for n in (1024, 64))
    module = hlo.parse(step.lower(weights, x).compile().as_text())
    sent = {each.kind: each.bytes for each in traffic.collectives(module, 4, 1)}
    share = 2 * 1024 * 1024 * 3 / 4
    assert sent == {"all-gather": share, "reduce-scatter": share}


@pytest.mark.parametrize(
    ("transfer", "target", "kind", "share"),
    [
        ("ALL_REDUCE", '"{1,2}x{0:3}"', "all-reduce", 1.0),
        ("ALL_REDUCE", '"{1,2,3,4}x{0:3}"', "all-reduce", 1.5),
        ("ALL_GATHER", '"{1,2,3}x{0:3}"', "all-gather", 2.0),
        ("REDUCE_SCATTER", '"{1,2}x{0:3}"', "reduce-scatter", 0.5),
        ("ONE_TO_ONE", "{{200000->100003},{100001->200000}}", "collective-permute", 1.0),
    ],
)
def test_what_goes_between_slices_is_read_off_what_the_hosts_send(transfer, target, kind, share):
    """As libtpu 0.0.42 writes it."""
    text = LOOP.replace("BOUND", CONSTANT).replace("START", "0").replace("STEP", "1")
    sent = (
        "  %send = (f32[8,16]{1,0}, u32[], token[]) send(%x, %after), channel_id=4, "
        'is_host_transfer=true, frontend_attributes={_xla_host_transfer_handler_name="'
        f'xla_megascale_runtime",_xla_megascale_target={target},_xla_megascale_transfer_type='
        f'"{transfer}"}}\n'
    )
    text = text.replace("  %n = ", f"  %after = token[] after-all()\n{sent}  %n = ", 1)
    found = traffic.collectives(hlo.parse(text), devices=8, unknown=99)
    [between] = [each for each in found if each.between]
    assert (between.kind, between.times, between.loops) == (kind, 12, ("jit(f)/decode/while",))
    assert between.bytes == share * 8 * 16 * 4
    assert len(found) == 4  # those inside a slice are what they were


def test_an_unknown_loop_takes_the_number_that_it_is_given():
    found = traffic.collectives(loop(bound="%bound = s32[] parameter(1)"), 8, unknown=5)
    assert [c.times for c in found] == [5, 5, 1]
    places = hlo.walk(loop(bound="%bound = s32[] parameter(1)"), 5)
    assert {p.instruction.name for p in places if p.guessed} >= {"g", "y"}


@pytest.mark.parametrize(
    ("attributes", "group"),
    [
        ("replica_groups={{0,4},{1,5}}, x=1", (0, 4)),
        ("replica_groups=[4,2]<=[8]", (0, 1)),
        ("replica_groups=[2,4]<=[2,2,2]T(2,0,1)", (0, 2, 4, 6)),
        ("replica_groups=mesh['a'=2,'b'=4] {'b'}, use_global_device_ids=true", (0, 1, 2, 3)),
        ("replica_groups=mesh['a'=2,'b'=2,'c'=2] {'a','c'}", (0, 1, 4, 5)),
        ("source_target_pairs={{0,3},{1,0},{2,1},{3,2}}, x={1}", (0, 3, 2, 1)),
        ("source_target_pairs={{0,1},{1,0},{2,3},{3,2}}", (0, 1)),
        ("replica_groups={}", ()),
        ("replica_groups=mesh['a'=2,'b'=4], device_ids=[3,1,2] {'b'}", ()),
    ],
)
def test_groups_are_read_in_every_way_that_they_are_written(attributes, group):
    line = f"  %r = f32[8]{{0}} collective-permute(%x), channel_id=1, {attributes}"
    found = hlo._instruction(line)
    assert traffic._group(found, 8) == group


def test_layouts_tell_which_memory_an_array_lies_in():
    assert hlo.arrays("(f32[2,3]{1,0:T(8,128)S(1)}, bf16[4]{0:T(128)(2,1)}, pred[])") == [
        (24, False),
        (8, True),
        (1, True),
    ]
    assert hlo.size("s4[3]{0}") == 2
    assert hlo.size("f8e4m3fn[5]{0}") == 5


FUSION = """\
ENTRY %main (a: f32[32,64], b: f32[64]) -> f32[32,64] {
  %a = f32[32,64]{1,0} parameter(0)
  %b = f32[64]{0} parameter(1)
  %i = s32[] parameter(2)
  %f = f32[64]{0} fusion(%a, %b, %i), kind=kLoop, calls=%fused
  ROOT %u = f32[32,64]{1,0} fusion(%a, %f, %i), kind=kLoop, calls=%update
}

%fused (p0: f32[32,64], p1: f32[64], p2: s32[]) -> f32[64] {
  %p0 = f32[32,64]{1,0} parameter(0)
  %p1 = f32[64]{0} parameter(1)
  %p2 = s32[] parameter(2)
  %c = f32[32,64]{1,0} bitcast(%p0)
  %s = f32[1,64]{1,0} dynamic-slice(%c, %p2, %p2), dynamic_slice_sizes={1,64}
  %r = f32[64]{0} reshape(%s)
  ROOT %m = f32[64]{0} multiply(%r, %p1)
}

%update (q0: f32[32,64], q1: f32[64], q2: s32[]) -> f32[32,64] {
  %q0 = f32[32,64]{1,0} parameter(0)
  %q1 = f32[64]{0} parameter(1)
  %q2 = s32[] parameter(2)
  %v = f32[1,64]{1,0} reshape(%q1)
  ROOT %d = f32[32,64]{1,0} dynamic-update-slice(%q0, %v, %q2, %q2)
}
"""


def test_a_fusion_moves_the_slice_that_it_takes_and_the_update_that_it_makes():
    row = 64 * 4
    # %f reads a row of %a, %b and %i and writes a row; %u reads %f and %i and writes a row.
    assert traffic.moved(hlo.parse(FUSION), 1) == {(): (3 * row + 4) + (2 * row + 4)}


def scanned_and_unrolled(layers):
    """Text of a stack of layers with weights split over 8 devices, as a scan and as a loop."""
    mesh = mesh_lib.make_mesh(data=1, fsdp=8, tensor=1)
    split = NamedSharding(mesh, PartitionSpec(None, "fsdp"))
    rows = mesh_lib.batch_sharding(mesh)

    def layer(x, w):
        return jax.lax.with_sharding_constraint(jnp.tanh(x @ w), rows), None

    def scanned(x, w_LDD):
        return jax.lax.scan(layer, x, w_LDD)[0].sum()

    def unrolled(x, w_LDD):
        return jax.lax.scan(layer, x, w_LDD, unroll=True)[0].sum()

    shapes = (
        jax.ShapeDtypeStruct((16, 32), jnp.float32),
        jax.ShapeDtypeStruct((layers, 32, 32), jnp.float32),
    )
    for stack in (scanned, unrolled):
        # Of both: else the unrolled one leaves out what leads to the gradient of x.
        gradient = jax.grad(stack, argnums=(0, 1))
        step = jax.jit(gradient, in_shardings=(rows, split), out_shardings=(rows, split))
        yield hlo.parse(step.lower(*shapes).compile().as_text())


def test_a_scanned_and_an_unrolled_module_send_the_same_bytes():
    def sent(module):
        total = {}
        for each in traffic.collectives(module, 8, unknown=99):
            total[each.kind] = total.get(each.kind, 0) + each.bytes * each.times
        return total

    scanned, unrolled = scanned_and_unrolled(layers=5)
    loops = [p for p in hlo.walk(scanned, 99) if p.instruction.op == "while"]
    assert len(loops) == 2
    assert not any(p.instruction.op == "while" for p in hlo.walk(unrolled, 99))
    assert sent(scanned)
    assert sent(scanned) == sent(unrolled)


@pytest.mark.parametrize(
    ("called", "scope", "times"),
    [
        ("branch_computations={%two, %three}", "jit(f)/layers_by_branch_1_3/cond", [0.25, 0.75]),
        # As XLA writes it of a truth: what is 0 is false.
        ("true_computation=%three, false_computation=%two", "layers_by_branch_1_3/x", [0.25, 0.75]),
        ("branch_computations={%two, %three}", "jit(f)/cond", [1.0, 1.0]),
    ],
)
def test_branches_count_as_often_as_layers_take_them(called, scope, times):
    text = f"""HloModule m

%two (a: f32[2]) -> f32[2] {{
  ROOT %a = f32[2] parameter(0)
}}

%three (b: f32[2]) -> f32[2] {{
  ROOT %b = f32[2] parameter(0)
}}

ENTRY %main (i: s32[], x: f32[2]) -> f32[2] {{
  %i = s32[] parameter(0)
  %x = f32[2] parameter(1)
  ROOT %c = f32[2] conditional(%i, %x, %x), {called}, metadata={{op_name="{scope}"}}
}}
"""
    places = {place.computation: place.times for place in hlo.walk(hlo.parse(text), 1)}
    assert [places["two"], places["three"]] == times
