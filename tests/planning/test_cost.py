"""What is counted in compiled programs, against closed forms: live ones on eight devices, and recorded TPU text."""

import jax
import jax.numpy as jnp
import pytest

from sgm_jax import meshes
from sgm_jax.planning import cost, hlo

WIDTH, ROWS = 64, 16
# A TPU's program, shortened: S(1) is its memory on the chip; a loop of five turns, each of which sums gradients.
RECORDED = """HloModule jit_step, is_scheduled=true, num_partitions=8

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[]{:T(128)} parameter(0)
  %b = f32[]{:T(128)} parameter(1)
  ROOT %sum = f32[]{:T(128)} add(%a, %b)
}

%fused (p.0: bf16[64,32], p.1: bf16[32,16]) -> f32[64,16] {
  %p.0 = bf16[64,32]{1,0:T(8,128)(2,1)} parameter(0)
  %p.1 = bf16[32,16]{1,0:T(8,128)(2,1)S(1)} parameter(1)
  ROOT %product = f32[64,16]{1,0:T(8,128)S(1)} convolution(%p.0, %p.1), dim_labels=bf_io->bf
}

%condition (state: (s32[], f32[64,16])) -> pred[] {
  %limit = s32[]{:T(128)} constant(5)
  %state.1 = (s32[]{:T(128)}, f32[64,16]{1,0:T(8,128)S(1)}) parameter(0)
  %turn = s32[]{:T(128)} get-tuple-element(%state.1), index=0
  ROOT %less = pred[]{:T(512)} compare(%turn, %limit), direction=LT
}

%body (state: (s32[], f32[64,16])) -> (s32[], f32[64,16]) {
  %state.2 = (s32[]{:T(128)}, f32[64,16]{1,0:T(8,128)S(1)}) parameter(0)
  %turn.1 = s32[]{:T(128)} get-tuple-element(%state.2), index=0
  %value = f32[64,16]{1,0:T(8,128)S(1)} get-tuple-element(%state.2), index=1
  %summed = f32[64,16]{1,0:T(8,128)S(1)} all-reduce(%value), channel_id=1, replica_groups=mesh['x'=2,'y'=4] {'y'}, \
use_global_device_ids=true, to_apply=%add
  ROOT %next = (s32[]{:T(128)}, f32[64,16]{1,0:T(8,128)S(1)}) tuple(%turn.1, %summed)
}

ENTRY %main (x: bf16[64,32], w: bf16[32,16]) -> f32[512,16] {
  %x = bf16[64,32]{1,0:T(8,128)(2,1)} parameter(0)
  %w = bf16[32,16]{1,0:T(8,128)(2,1)} parameter(1)
  %zero = s32[]{:T(128)} constant(0)
  %near = (bf16[32,16]{1,0:T(8,128)(2,1)S(1)}, bf16[32,16]{1,0:T(8,128)(2,1)}, u32[]{:S(2)}) copy-start(%w)
  %w.1 = bf16[32,16]{1,0:T(8,128)(2,1)S(1)} copy-done(%near)
  %fusion = f32[64,16]{1,0:T(8,128)S(1)} fusion(%x, %w.1), kind=kOutput, calls=%fused
  %start = (s32[]{:T(128)}, f32[64,16]{1,0:T(8,128)S(1)}) tuple(%zero, %fusion)
  %loop = (s32[]{:T(128)}, f32[64,16]{1,0:T(8,128)S(1)}) while(%start), condition=%condition, body=%body
  %last = f32[64,16]{1,0:T(8,128)S(1)} get-tuple-element(%loop), index=1
  %all = (f32[64,16]{1,0:T(8,128)S(1)}, f32[512,16]{1,0:T(8,128)}) all-gather-start(%last), dimensions={0}, \
replica_groups=[1,8]<=[8]
  ROOT %done = f32[512,16]{1,0:T(8,128)} all-gather-done(%all)
}
"""

# Calls of a GPU's libraries: a 3 x 3 convolution of 2 images with its gradients, and a product.
CALLS = """HloModule jit_step

ENTRY %main (x: bf16[2,8,8,4], w: bf16[6,3,3,4], g: bf16[2,8,8,6], a: bf16[16,32], b: bf16[8,16]) -> bf16[32,8] {
  %x = bf16[2,8,8,4]{3,2,1,0} parameter(0)
  %w = bf16[6,3,3,4]{3,2,1,0} parameter(1)
  %g = bf16[2,8,8,6]{3,2,1,0} parameter(2)
  %a = bf16[16,32]{1,0} parameter(3)
  %b = bf16[8,16]{1,0} parameter(4)
  %cudnn-conv.1 = (bf16[2,8,8,6]{3,2,1,0}, u8[9]{0}) custom-call(%x, %w), window={size=3x3 pad=1_1x1_1}, \
dim_labels=b01f_o01i->b01f, custom_call_target="__cudnn$convBiasActivationForward"
  %cudnn-conv-bw-filter.1 = (bf16[6,3,3,4]{3,2,1,0}, u8[9]{0}) custom-call(%x, %g), window={size=3x3 pad=1_1x1_1}, \
dim_labels=b01f_o01i->b01f, custom_call_target="__cudnn$convBackwardFilter"
  %cudnn-conv-bw-input.1 = (bf16[2,8,8,4]{3,2,1,0}, u8[9]{0}) custom-call(%g, %w), window={size=3x3 pad=1_1x1_1}, \
dim_labels=b01f_o01i->b01f, custom_call_target="__cudnn$convBackwardInput"
  ROOT %custom-call.1 = (bf16[32,8]{0,1}, s8[9]{0}) custom-call(%a, %b), custom_call_target="__cublas$lt$matmul", \
backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_batch_dimensions":[],\
"lhs_contracting_dimensions":["0"],"rhs_contracting_dimensions":["1"]}}}
}
"""


def compiled(function, *shapes, split=()):
    """Compile on eight devices, the arguments numbered in `split` split along their first axis, the result whole."""
    mesh = meshes.make_mesh()
    whole, along = meshes.replicated(mesh), meshes.batch_sharding(mesh)
    shardings = tuple(along if number in split else whole for number in range(len(shapes)))
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    lowered = jax.jit(function, in_shardings=shardings, out_shardings=whole).lower(*arguments)
    return hlo.read(lowered.compile().as_text())


def test_recorded_program_is_counted_as_by_hand():
    program = hlo.read(RECORDED)
    assert cost.flops(program) == 2 * 64 * 32 * 16
    # The fusion reads x from far, the copy w; the sums stay near; each turn compares two integers.
    assert cost.moved(program) == 2 * 64 * 32 + 2 * 32 * 16 + 5 * (4 + 4 + 1)
    assert cost.collectives(program) == {
        "all-gather": cost.Messages(1, 4 * 512 * 16, 4 * 64 * 16 * 7),
        "all-reduce": cost.Messages(5, 5 * 4 * 64 * 16, 5 * 2 * 4 * 64 * 16 * 3 / 4),
    }
    assert program.unbounded == 0


def test_calls_of_libraries_on_gpus_count_too():
    # Of three taps along an axis of eight pixels the first meets no pixel once, and the last.
    convolution = 2 * 2 * 4 * 6 * (3 * 8 - 2) ** 2
    assert cost.flops(hlo.read(CALLS)) == 3 * convolution + 2 * 32 * 8 * 16


def test_loops_count_as_often_as_they_run():
    def function(w, x):
        body = lambda carry, _: (jnp.tanh(carry @ w), None)
        return jax.lax.scan(body, x @ w, None, length=7)[0].sum()

    program = compiled(function, (WIDTH, WIDTH), (8 * ROWS, WIDTH), split=(1,))
    assert cost.flops(program) == 8 * 2 * ROWS * WIDTH**2
    until = lambda x: jax.lax.while_loop(lambda x: x.sum() < 1, lambda x: x @ x, x)
    program = compiled(until, (WIDTH, WIDTH))
    assert cost.flops(program) == 2 * WIDTH**3 and program.unbounded == 1


def test_gradient_of_a_product_sums_over_devices():
    loss = lambda w, x: jnp.square(x @ w).mean()
    program = compiled(jax.grad(loss), (WIDTH, WIDTH), (8 * ROWS, WIDTH), split=(1,))
    assert cost.flops(program) == 2 * 2 * ROWS * WIDTH**2
    size = 4 * WIDTH**2
    assert cost.collectives(program) == {"all-reduce": cost.Messages(1, size, 2 * size * 7 / 8)}


@pytest.mark.parametrize(("stride", "size"), [(1, 9), (2, 8)])
def test_convolutions_and_their_gradients_leave_padding_out(stride, size):
    def convolve(w, x):
        dimensions = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, w, (stride, stride), "SAME", dimension_numbers=dimensions)

    shapes = (3, 3, 4, 6), (2, size, size, 4)
    # Each output meets as many inputs along an axis as ones do when they are convolved with ones.
    ones = convolve(jnp.ones((3, 1, 1, 1)), jnp.ones((1, size, 1, 1)))
    reference = 2 * 2 * 4 * 6 * float(ones[0, :, 0, 0].sum()) ** 2
    assert cost.flops(compiled(convolve, *shapes)) == reference
    grads = jax.grad(lambda w, x: jnp.tanh(convolve(w, x)).sum(), argnums=(0, 1))
    assert cost.flops(compiled(grads, *shapes)) == 3 * reference


def test_elementwise_kernel_reads_and_writes_each_number_once():
    program = compiled(lambda x: jnp.tanh(x) + 1, (WIDTH, WIDTH))
    assert cost.moved(program) == 2 * 4 * WIDTH**2 and cost.flops(program) == 0


@pytest.mark.parametrize(
    ("attributes", "members"),
    [
        ("replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%add", 4),
        ("channel_id=1, replica_groups=[4,2]<=[2,4]T(1,0)", 2),
        ("replica_groups=mesh['axis_0'=8] {'axis_0'}", 8),
        ("replica_groups=mesh['x'=2,'y'=4] {'x', 'y':(1)2}", 4),
        ("replica_groups={}, to_apply=%add", 16),
        ("to_apply=%add", 16),
    ],
)
def test_groups_of_devices(attributes, members):
    assert cost.group_size(attributes, 16) == members
