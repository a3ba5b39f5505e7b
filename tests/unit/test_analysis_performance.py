"""The model of the program's own scaling: what it counts, and that it finds the costs that times were made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import analysis
from analysis.performance import DIVIDED, Cost, Timing, Work, breaks_first, fit, memory_mb, predict, work_of
from analysis.performance_report import main, performance_report
from mpi_engine.experiment import load_experiment
from mpi_engine.output.reader import RunError

HOMEOSTATIC = Path(analysis.__file__).parent / "studies" / "akil2021" / "homeostatic.toml"
RATES_HZ = {"E": 10.0, "I": 20.0, "X": 10.0}
TRUE = Cost(
    dict(zip(DIVIDED, (1e-8, 4e-9, 1e-9, 5e-9, 1e-9, 1e-9, 1e-10), strict=True)),
    dict(zip(DIVIDED, (1e-7, 1e-7, 2e-8, 3e-8, 5e-8, 1e-7, 1e-8), strict=True)),
    latency_s=3e-6,
)


def work(scale: float = 1.0, *overrides: str) -> Work:
    sizes = {"populations.E.size": 4000, "populations.I.size": 1000, "inputs.X.size": 1000}
    overrides += tuple(f"{key}={round(n * scale)}" for key, n in sizes.items())
    return work_of(load_experiment(HOMEOSTATIC, overrides), RATES_HZ)


def timing(of: Work, ranks: int, cost: Cost = TRUE) -> Timing:
    """Times that a number of ranks takes at some cost."""
    seconds = {part: cost.divided[part] * of.amounts[shared] / ranks + cost.everywhere[part] * of.amounts[own]
               for part, (shared, own) in DIVIDED.items()}
    foretold = predict(cost, of, ranks)
    seconds["exchange"] = foretold["latency"] + foretold["volume"]
    return Timing(f"on-{ranks}", f"{of.neurons}", ranks, seconds, of, 200.0)


def test_work_is_counted_by_hand() -> None:
    amounts = work().amounts
    assert amounts["neuron-step"] == 5000 * 10_000
    assert amounts["input spike"] == 1000 * 10
    assert amounts["plastic arrival"] == pytest.approx(1000 * 20 * 400)              # I to E, p = 0.1
    assert amounts["arrival"] == pytest.approx(40_000 * 500 + 20_000 * 100 + 10_000 * 500)
    assert (amounts["plastic row"], amounts["row"]) == (20_000, 40_000 * 2 + 20_000 + 10_000 * 2)
    assert work().synapses == pytest.approx(0.1 * 5000 * 6000)


def test_costs_are_found_again_and_foretell_other_ranks_and_sizes() -> None:
    timings = [timing(work(), 1), timing(work(), 2), timing(work(2.0), 2)]
    found = fit(timings)
    for part in DIVIDED:
        assert found.divided[part] == pytest.approx(TRUE.divided[part], rel=1e-6)
        assert found.everywhere[part] == pytest.approx(TRUE.everywhere[part], rel=1e-6)
    assert found.latency_s == pytest.approx(3e-6)
    large = work(4.0)
    assert sum(predict(found, large, 100).values()) == pytest.approx(timing(large, 100).total)


def test_each_limit_is_named_where_it_is_the_first() -> None:
    free = replace(TRUE, everywhere=dict.fromkeys(DIVIDED, 0.0), latency_s=0.0)
    assert "volume" in breaks_first(free, work())[1]
    assert "latency" in breaks_first(replace(free, latency_s=1e-4), work())[1]
    assert "rows" in breaks_first(replace(free, everywhere=free.everywhere | {"deliver": 1e-6}), work())[1]
    assert "once a step" in breaks_first(replace(free, everywhere=free.everywhere | {"other": 1e-5}), work())[1]


def test_memory_is_divided_but_for_rows_and_messages() -> None:
    of = work()
    one, many = memory_mb(of, 1), memory_mb(of, 1000)
    assert one > 8e-6 * of.synapses / 6 > many
    assert memory_mb(of, 100_000) > many


def test_every_rank_has_memory_for_all_spikes_of_a_segment() -> None:
    longer = memory_mb(work(1.0, "recording.segment_ms=2000.0"), 1000) - memory_mb(work(), 1000)
    assert longer == pytest.approx(8e-6 * work().spikes, rel=0.05)     # time step and id: four bytes each


def test_runs_on_one_number_of_ranks_tell_no_scaling() -> None:
    with pytest.raises(RunError, match="add a run of the same experiment on another number of ranks"):
        fit([timing(work(), 2), timing(work(2.0), 2)])


def test_the_page_lays_efficiency_beside_the_prediction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    as_many_synapses = [f"projections.{name}.probability=0.05" for name in work().experiment.projections]
    timings = [timing(work(), 1), timing(work(), 2), timing(work(2.0, *as_many_synapses), 2), timing(work(2.0), 2)]
    page = performance_report(timings, work(), "on-1")
    strong = 100 * timings[0].total / 2 / timings[1].total
    weak = 100 * timings[0].total / timings[2].total
    assert f"{strong:.0f} %" in page
    assert page.count("% (weak)") == page.count(f"{weak:.0f} % (weak)") == 1
    assert "This is a prediction from 4 runs on 1, 2 ranks" in page
    assert main([str(tmp_path / "none")]) == 4
    assert "does not exist" in capsys.readouterr().err


def test_an_experiment_without_a_run_is_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(HOMEOSTATIC)])
    assert "name at least one run" in capsys.readouterr().err
