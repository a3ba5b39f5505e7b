"""The model of the program's own scaling: what it counts, and that it finds the costs that times were made of."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import analysis
from analysis.performance import Timing, Work, breaks_first, memory_mb, predict
from analysis.performance_costs import FROM_MEMORY, UNITS, Cost, Measurement, Point, fit, read_costs
from analysis.performance_report import main, performance_report
from mpi_engine.experiment import Experiment, load_experiment
from mpi_engine.output.reader import RunError

HOMEOSTATIC = Path(analysis.__file__).parent / "studies" / "akil2021" / "homeostatic.toml"
RATES_HZ = {"E": 10.0, "I": 20.0, "X": 10.0}
LATENCY_S = 1e-6
ALL = [unit for units in UNITS.values() for unit in units]
NS = {unit: 1e-9 * (1 + k) for k, unit in enumerate(ALL)}
STEP_S = {part: 1e-7 * (1 + k) for k, part in enumerate(UNITS)}


def point(neuron_bytes: float, times: float) -> Point:
    extra = {unit: 0.3 * times * NS[unit] for unit in FROM_MEMORY}
    return Point(neuron_bytes, (1e6, 1e9), {unit: times * cost for unit, cost in NS.items()}, extra)


TRUE = Cost(
    [point(1e5, 1.0), point(1e7, 2.0)], [point(1e5, 1.5), point(1e7, 3.0)], STEP_S, LATENCY_S
)


def work(scale: float = 1.0, *overrides: str) -> Work:
    sizes = {"populations.E.size": 4000, "populations.I.size": 1000, "inputs.X.size": 1000}
    overrides += tuple(f"{key}={round(n * scale)}" for key, n in sizes.items())
    experiment = load_experiment(HOMEOSTATIC, overrides)
    assert isinstance(experiment, Experiment)
    return Work(experiment, RATES_HZ)


def timing(of: Work, ranks: int, cost: Cost = TRUE) -> Timing:
    """Times that a number of ranks takes at some cost."""
    return Timing(f"on-{ranks}", f"{of.neurons}", ranks, predict(cost, of, ranks), of, 200.0)


def measurements(cost: Cost = TRUE) -> list[Measurement]:
    """What two sizes with random amounts of all work take at some cost, and one with nothing to do."""
    rng, measured = np.random.default_rng(1), []
    for busy in (1, 2):
        for neurons, neuron_bytes in ((16, 1e3), (5000, 1e5), (500_000, 1e7)):
            for synapse_bytes in np.geomspace(1e6, 1e9, 12):
                amounts = {unit: float(rng.uniform(1e5, 1e6)) if neurons > 16 else 0.0 for unit in ALL}
                costs = cost.units(busy, neuron_bytes, synapse_bytes)
                seconds = {part: 1e4 * STEP_S[part] + sum(amounts[unit] * costs[unit] for unit in units)
                           for part, units in UNITS.items()}
                measured.append(Measurement("", busy, neurons, neuron_bytes, float(synapse_bytes),
                                            amounts | {"step": 1e4}, seconds))
    return measured


def test_work_is_counted_by_hand() -> None:
    amounts = work(1.0, "projections.E_to_E.probability=0.05").on(1)
    assert amounts["eif update"] == 5000 * 10_000
    assert amounts["sample"] == amounts["statistics sample"] == 5000 * 1000          # every millisecond
    assert amounts["input spike"] == 1000 * 10
    assert amounts["spike"] == 40_000 + 20_000 + 10_000
    assert amounts["plastic arrival"] == pytest.approx(1000 * 20 * 400)              # I to E, p = 0.1
    assert amounts["replay"] == pytest.approx(1000 * 400 * 10)
    assert amounts["noted spike"] == 40_000
    assert amounts["trace update"] == 4000 * 10_000
    assert amounts["recorded weight"] == pytest.approx(1000 * 400 * 2)
    assert amounts["arrival"] == pytest.approx(40_000 * 200)                         # E to E alone is sparse
    assert amounts["pair"] == pytest.approx(40_000 * 1000 + 20_000 * 1000 + 10_000 * 5000)
    assert (amounts["plastic piece"], amounts["piece"]) == (20_000, 40_000 * 2 + 20_000 + 10_000 * 2)
    assert work().synapses == pytest.approx(0.1 * 5000 * 6000)


def test_ranks_divide_all_but_rows_steps_and_spikes() -> None:
    one, ten = work().on(1), work().on(10)
    same = {unit for unit in one if one[unit] == ten[unit]}
    assert same == {"piece", "plastic piece", "step", "spike"} | {unit for unit in one if not one[unit]}
    assert all(ten[unit] == pytest.approx(one[unit] / 10) for unit in one.keys() - same)


def test_a_row_has_a_piece_for_each_block_of_targets() -> None:
    sparse = [f"projections.{name}.probability=0.001" for name in work().experiment.projections]
    large = work(40.0, *sparse)     # 160 000 and 40 000 targets: 3 blocks and 1
    assert large.on(1)["plastic piece"] == pytest.approx(3 * 40 * 20_000)
    assert large.on(2)["plastic piece"] == pytest.approx(2 * 40 * 20_000)


def test_costs_are_found_again() -> None:
    found = fit(measurements(), LATENCY_S)
    assert found.step_s == pytest.approx(STEP_S)
    for points, true in ((found.alone, TRUE.alone), (found.together, TRUE.together)):
        for at, expected in zip(points, true, strict=True):
            assert at.cached == pytest.approx(expected.cached, rel=1e-6)
            assert at.extra == pytest.approx(expected.extra, rel=1e-6)


def test_between_sizes_costs_follow_the_logarithm_of_bytes() -> None:
    unit = "plastic arrival"
    assert TRUE.units(1, 1e6, 1e6)[unit] == pytest.approx(1.5 * NS[unit])
    assert TRUE.units(1, 1e2, 1e6)[unit] == pytest.approx(NS[unit])
    assert TRUE.units(2, 1e9, 1e6)[unit] == pytest.approx(3 * NS[unit])
    assert TRUE.units(1, 1e5, 1e12)[unit] == pytest.approx(1.3 * NS[unit])
    assert TRUE.units(1, 1e5, 1e12)["replay"] == pytest.approx(NS["replay"])


def test_each_limit_is_named_where_it_is_the_first() -> None:
    def at(step_s: float = 0.0, piece_s: float = 0.0, latency_s: float = 0.0) -> str:
        points = [replace(p, cached=p.cached | {"piece": piece_s, "plastic piece": 0.0}) for p in TRUE.alone]
        return breaks_first(Cost(points, points, dict.fromkeys(UNITS, step_s), latency_s), work())[1]

    assert "volume" in at()
    assert "latency" in at(latency_s=1e-4)
    assert "rows" in at(piece_s=1e-6)
    assert "once a step" in at(step_s=1e-5)


def test_what_was_not_measured_is_not_predicted() -> None:
    points = [replace(p, cached={unit: s for unit, s in p.cached.items() if unit != "eif update"}) for p in TRUE.alone]
    with pytest.raises(RunError, match="eif update: was not measured"):
        predict(replace(TRUE, alone=points), work(), 1)


def test_memory_is_divided_but_for_rows_and_messages() -> None:
    sparse = work(1.0, *(f"projections.{name}.probability=0.05" for name in work().experiment.projections))
    one, many = memory_mb(sparse, 1), memory_mb(sparse, 1000)
    assert one > 8e-6 * sparse.synapses / 6 > many
    assert memory_mb(sparse, 100_000) > many


def test_every_rank_has_memory_for_all_spikes_of_a_segment() -> None:
    longer = memory_mb(work(1.0, "recording.segment_ms=2000.0"), 1000) - memory_mb(work(), 1000)
    assert longer == pytest.approx(8e-6 * work().spikes, rel=0.05)     # time step and id: four bytes each


def test_the_page_lays_efficiency_beside_the_prediction() -> None:
    half = [f"projections.{name}.probability=0.05" for name in work().experiment.projections]
    timings = [timing(work(), 1), timing(work(), 2), timing(work(2.0, *half), 2), timing(work(2.0), 2)]
    page = performance_report(timings, TRUE, work(), "on-1")
    strong = 100 * timings[0].total / 2 / timings[1].total
    weak = 100 * timings[0].total / timings[2].total
    assert f"{strong:.0f} %" in page
    assert page.count("% (weak)") == page.count(f"{weak:.0f} % (weak)") == 1
    assert "nothing is fitted to the runs above" in page
    assert "plastic arrival from memory" in page


@pytest.mark.parametrize("text", ["", "{}\n", '{"latency_s": 1e-06}\n{"cpu": 1}\n', '{"latency_s": 1e-06}\n'])
def test_parts_that_are_none_are_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = tmp_path / "parts.jsonl"
    parts.write_text(text)
    assert main(["none", "--parts", str(parts)]) == 4
    assert f"`python -m benchmarks.parts -o {parts}` measures them" in capsys.readouterr().err


def test_a_run_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = tmp_path / "parts.jsonl"
    parts.write_text("\n".join([json.dumps({"latency_s": LATENCY_S}), *(m.line() for m in measurements())]))
    assert read_costs(parts).latency_s == LATENCY_S
    assert main([str(tmp_path / "none"), "--parts", str(parts)]) == 4
    assert "does not exist" in capsys.readouterr().err


def test_an_experiment_without_a_run_is_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(HOMEOSTATIC)])
    assert "name at least one run" in capsys.readouterr().err
