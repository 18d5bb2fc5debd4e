"""Which kernels counted operators account for, worked out from a profile's events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.counting.attribution import ACCOUNTED, Event, Kind, Known, coverages
from auditor.formulas import Pricer
from auditor.tally import Entry, Phase, Purpose, Shape, Signature, Tally, encode_arguments


def _tally(*ops: str) -> Tally:
    """One call of each, as the counter notes it."""
    further = {"aten::add.Tensor": [1]}
    signatures = [Signature(op, encode_arguments([Shape((4, 4))] * 2 + further.get(op, []))) for op in ops]
    return Tally({Entry(signature, Phase.FORWARD, Purpose.PRE_TRAINING): 1 for signature in signatures})


@pytest.fixture
def known() -> Known:
    """A run in which a product was priced, and an operator of somebody's own was not."""
    known = Known()
    tally = _tally("aten::mm", "mylib::mine", "aten::add.Tensor")
    known.note(tally, Pricer().price(tally))
    return known


def host(name: str, number: int, start: int, end: int, thread: int = 1) -> Event:
    return Event(name, None, thread, start, end - start, id=number)


def kernel(name: str, link: int, time_ns: int, device: int = 0) -> Event:
    return Event(name, device, 7, 0, time_ns, link=link)


def test_a_kernel_is_explained_by_the_operator_that_launched_it_or_one_around_that(known):
    events = [
        host("aten::linear", 1, 0, 100),
        host("aten::mm", 2, 10, 90),
        host("mylib::mine", 3, 20, 80),  # part of a product, whose price is the price of all of it
        host("aten::copy_", 4, 110, 120),
        kernel("gemm", 2, 50),
        kernel("split_k", 3, 30),
        kernel("copy", 4, 5),
    ]
    (found,) = coverages(9, events, known).values()
    assert (found.what, found.step, found.busy_ns, found.explained_ns) == ("kernels", 9, 85, 85)
    assert found.share == 1


def test_what_no_counted_operator_launched_is_named_with_its_time(known):
    events = [
        host("mylib::mine", 1, 0, 100),
        host("aten::relu", 2, 200, 210),  # has a price, and no tally holds it: nobody counted it
        host("aten::mm", 3, 300, 400),
        kernel("theirs", 1, 40),
        kernel("relu", 2, 3),
        kernel("triton_kernel", 0, 50),
        kernel("triton_kernel", 77, 7),
        kernel("gemm", 3, 900),
        kernel("Memcpy DtoH (Device -> Pinned)", 0, 1000),
    ]
    (found,) = coverages(1, events, known).values()
    assert found.explained_ns == 1900
    assert list(found.unexplained_ns.items()) == [
        ("triton_kernel", 57),
        ("theirs (in mylib::mine)", 40),
        ("relu (in aten::relu)", 3),
    ]


def test_a_copy_or_an_operator_inside_an_unpriced_one_is_counted_for_itself(known):
    events = [
        host("mylib::mine", 1, 0, 100),
        host("aten::mm", 2, 10, 50),
        kernel("gemm", 2, 10),
        kernel("theirs", 1, 10),
    ]
    (found,) = coverages(1, events, known).values()
    assert (found.explained_ns, found.unexplained_ns) == (10, {"theirs (in mylib::mine)": 10})


def test_compiled_code_that_is_counted_explains_its_kernels_but_not_an_unpriced_operator_in_it(known):
    events = [
        host(ACCOUNTED, 1, 0, 100),
        host("triton_poi_fused_0", 2, 10, 20),
        host("mylib::mine", 3, 30, 60),
        host("triton_poi_fused_1", 4, 200, 210),  # nobody described the graph that this one is of
        *(kernel(f"k{number}", number, 10) for number in (1, 2, 3, 4)),
    ]
    (found,) = coverages(1, events, known).values()
    assert found.explained_ns == 20
    assert found.unexplained_ns == {"k3 (in mylib::mine)": 10, "k4": 10}


def test_operators_of_two_threads_are_not_inside_one_another(known):
    events = [
        host("aten::mm", 1, 0, 100, thread=1),
        host("mylib::mine", 2, 10, 20, thread=2),
        kernel("theirs", 2, 10),
    ]
    (found,) = coverages(1, events, known).values()
    assert found.explained_ns == 0


def test_each_device_has_a_coverage_of_its_own(known):
    events = [host("aten::mm", 1, 0, 10), kernel("gemm", 1, 10, device=0), kernel("mine", 0, 4, device=1)]
    found = coverages(1, events, known)
    assert {device: coverage.share for device, coverage in found.items()} == {0: 1, 1: 0}


def test_without_kernels_an_operators_own_time_counts(known):
    events = [
        host("autograd::engine::evaluate_function: MmBackward0", 1, 0, 1000),
        host("MmBackward0", 2, 100, 900),
        host("aten::linear", 3, 150, 600),
        host("aten::mm", 4, 200, 500),
        host("aten::copy_", 5, 300, 310),
        host("mylib::mine", 6, 700, 800),
        host("PythonDispatchMode", 7, 710, 790),  # what an operator does in it is the operator's
        host("aten::mm", 8, 720, 730),
    ]
    (found,) = coverages(1, events, known).values()
    assert (found.what, found.busy_ns, found.explained_ns) == ("operators", 400, 310)
    assert found.unexplained_ns == {"mylib::mine": 90}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::mm", Kind.COUNTED),
        ("aten::add_", Kind.COUNTED),  # noted as the plain form
        ("aten::view", Kind.COUNTED),  # moves data at most
        ("aten::bmm", Kind.UNPRICED),  # not in any tally
        ("mylib::mine", Kind.UNPRICED),
        ("aten::_flash_attention_forward", Kind.COUNTED),  # measured on the device: noted as units, once it has told
        ("aten::linear", Kind.FRAME),
        ("torch::autograd::AccumulateGrad", Kind.FRAME),
        ("MmBackward0", Kind.FRAME),
        ("profiler::_record_function_enter_new", Kind.FRAME),
        (ACCOUNTED, Kind.ACCOUNTED),
    ],
)
def test_what_an_event_of_the_host_is(known, name, kind):
    assert known.kind(name) is kind


NAMES = st.sampled_from(["aten::mm", "mylib::mine", "aten::copy_", "aten::linear", ACCOUNTED, "frame"])


@given(
    st.lists(st.tuples(NAMES, st.integers(0, 2), st.integers(0, 50), st.integers(0, 50)), max_size=12),
    st.lists(st.tuples(st.integers(0, 14), st.integers(0, 10**6), st.integers(0, 1)), max_size=12),
)
def test_all_kernel_time_is_either_explained_or_named(hosts, kernels):
    known = Known()
    tally = _tally("aten::mm", "mylib::mine")
    known.note(tally, Pricer().price(tally))
    events = [host(name, i + 1, start, start + size, thread) for i, (name, thread, start, size) in enumerate(hosts)]
    events += [kernel(f"k{i}", link, time_ns, device) for i, (link, time_ns, device) in enumerate(kernels)]
    found = coverages(1, events, known)
    if kernels:
        assert found.keys() == {device for _, _, device in kernels}
        assert sum(coverage.busy_ns for coverage in found.values()) == sum(time_ns for _, time_ns, _ in kernels)
    for coverage in found.values():
        assert 0 <= coverage.explained_ns <= coverage.busy_ns
        assert coverage.share is None or 0 <= coverage.share <= 1
