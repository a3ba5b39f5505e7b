"""The text of what a plastic projection's synapses do: its rules with their traces and parameters put in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mpi_engine.dynamics.functions import Function, Functions, call, parameter_class
from mpi_engine.dynamics.plasticity import Trace, only_scales_traces, rule_functions, rule_parameters
from mpi_engine.experiment import Experiment, Normalisation, UserRule
from mpi_engine.user import arguments_of

SIDES = ("pre", "post")
"""Of a synapse, in the order of `rule_functions`."""


class Learning:
    """Which traces all rules of an experiment follow, and the functions of each plastic projection.

    Attributes
    ----------
    presynaptic, postsynaptic : dict of Trace to int
        All traces, numbered.
    sampled : dict of str to list of Trace
        By population, the postsynaptic traces that a rule reads at postsynaptic spikes.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.e = experiment
        followed = [trace for name in experiment.plastic for trace in self.traces(name).items()]
        self.presynaptic = _number(trace for (_, side), trace in followed if side.endswith("_pre"))
        self.postsynaptic = _number(trace for (_, side), trace in followed if side.endswith("_post"))
        self.sampled: dict[str, list[Trace]] = {}
        for name, p in experiment.plastic.items():
            wanted = self.sampled.setdefault(p.target, [])
            for (rule, side), trace in self.traces(name).items():
                _, on_post = rule_functions(experiment, rule)
                if side.endswith("_post") and on_post and side in arguments_of(on_post) and trace not in wanted:
                    wanted.append(trace)

    def rules(self, projection: str) -> list[str]:
        """Names of a projection's rules that act at spikes."""
        names = self.e.projections[projection].rules
        return [name for name in names if not isinstance(self.e.plasticity[name], Normalisation)]

    def traces(self, projection: str) -> dict[tuple[str, str], Trace]:
        """Traces that a projection's rules follow, by rule and name."""
        p, found = self.e.projections[projection], {}
        for rule in self.rules(projection):
            described = self.e.plasticity[rule]
            pairing = getattr(described, "pairing", "all_to_all")
            for name, tau_ms in described.traces.items():
                found[rule, name] = Trace(p.source if name.endswith("_pre") else p.target, tau_ms, pairing)
        return found

    def parameters(self, projection: str, step: int) -> list[float]:
        """Parameters of all of a projection's rules, in one row, in the steps after a given one."""
        rows = [rule_parameters(self.e, projection, rule, step).values() for rule in self.rules(projection)]
        return [value for row in rows for value in row]

    def arguments(self, projection: str) -> dict[str, str]:
        """Names of what a projection's functions read, and how a block kernel writes them."""
        p, traces = self.e.projections[projection], self.traces(projection).values()
        pre = [f"pre_{self.presynaptic[trace]}" for trace in traces if trace in self.presynaptic]
        post = [f"post_{self.postsynaptic[trace]}" for trace in traces if trace in self.postsynaptic]
        names = {name: name for name in (*pre, *post, f"history_{p.target}", f"rules_{projection}")}
        names[f"V_{p.target}"] = f"neurons_{p.target}.V"
        names[f"epoch_{projection}"] = f"synapses_{projection}.epoch"
        return names

    def drifts(self, projection: str) -> bool:
        """Whether a projection's weights change between spikes."""
        return any("drift0" in rule_parameters(self.e, projection, rule, 0) for rule in self.rules(projection))

    def n_seen(self, projection: str) -> int:
        """Most that the rules of a projection see of a synapse at an event."""
        return max(len(self._seen(projection, side)) for side in SIDES)

    def text(self, projection: str, functions: Functions) -> str:
        """Write the functions of a projection's rules, and the kernel that brings its weights up to date."""
        names = self.arguments(projection)
        p, taken = f"_{projection}", ", ".join(names)
        lines: list[str] = []
        for number, rule in enumerate(self.rules(projection)):
            lines += parameter_class(f"p{p}_{number}", list(rule_parameters(self.e, projection, rule, 0)))
        look_up = {"pre": "trace_of({}, source)", "post": "traces_of({})"}
        of_source = ", ".join(look_up.get(name.split("_")[0], "{}").format(name) for name in names)
        history = f"history_{self.e.projections[projection].target}"
        # no name here begins another: projections X and post_X may both learn
        functions_of = {
            "see_post": ("seen, k, target, n, depth", self._see(projection, "post")),
            "on_post": ("w, seen, k", self._change(projection, "post", functions)),
            "see_pre": ("seen, k, target, n", self._see(projection, "pre")),
            "on_pre": ("w, seen, k", self._change(projection, "pre", functions)),
            "bring_post": ("w, target, n, depth", self._drift(projection, "depth + 1")),
            "bring_now": ("w, target, n", self._drift(projection, "0")),
            "rests": ("", self._rest(projection)),
        }
        lines += ["", "", "@part", f"def at{p}(source, learn):", f"    {taken} = learn", f"    return {of_source}"]
        for kind, (arguments, body) in functions_of.items():
            given = ", ".join(filter(None, [arguments, "here"]))
            lines += ["", "", "@part", f"def {kind}{p}({given}):", f"    {taken} = here",
                      *(f"    {line}" for line in body), *(["    return w"] if arguments.startswith("w,") else [])]
        rules = ["None" if not body and not kind.startswith("see") else f"{kind}{p}"
                 for kind, (_, body) in functions_of.items()]
        lines += ["", "", f"deliver{p}, make_room{p}, refresh{p} = "
                          f"visits_of(Learn(at{p}, {', '.join(rules)}))"]
        lines += ["", "", "@kernel", f"def catch_up{p}(n, weights, synapses, {taken}):",
                  f"    refresh{p}(synapses, {history}, n, ({taken}), weights)", ""]
        return "\n".join(lines)

    def _seen(self, projection: str, side: str) -> dict[tuple[str, str], str]:
        """What rules see of a synapse at a spike of one side, by rule and argument, as a kernel writes it."""
        target = self.e.projections[projection].target
        found: dict[tuple[str, str], str] = {}
        for rule, function in self._functions(projection, side).items():
            known = {"V": f"V_{target}[target]"}
            for (of, name), trace in self.traces(projection).items():
                if of != rule:
                    continue
                if name.endswith("_pre"):
                    known[name] = f"trace_at(pre_{self.presynaptic[trace]}, n)"
                elif side == "pre":
                    post = f"post_{self.postsynaptic[trace]}"
                    known[name] = f"{post}.value[target] * {post}.unit"
                elif trace in self.sampled[target]:
                    row = f"row_of(history_{target}, target, depth)"
                    known[name] = f"history_{target}.samples[{self.sampled[target].index(trace)}, {row}, target]"
            found |= {(rule, name): known[name] for name in arguments_of(function) if name in known}
        return found

    def _functions(self, projection: str, side: str) -> dict[str, Function]:
        """What each rule does at a spike of one side, if it does."""
        both = {rule: rule_functions(self.e, rule)[SIDES.index(side)] for rule in self.rules(projection)}
        return {rule: function for rule, function in both.items() if function is not None}

    def _see(self, projection: str, side: str) -> list[str]:
        """Write what puts the k-th synapse's part of what rules see into its column."""
        rows = dict.fromkeys(self._seen(projection, side).values())
        return [f"seen[{row}, k] = {value}" for row, value in enumerate(rows)]

    def _change(self, projection: str, side: str, functions: Functions) -> list[str]:
        """Write the change of a weight by all rules, one after the other."""
        seen, lines = self._seen(projection, side), []
        rows = list(dict.fromkeys(seen.values()))
        for rule, function in self._functions(projection, side).items():
            known = {name: f"seen[{rows.index(value)}, k]" for (of, name), value in seen.items() if of == rule}
            lines += self._apply(projection, rule, function, f"on_{side}_{rule}", {"w": "w", **known}, functions)
        return lines

    def _apply(self, projection: str, rule: str, function: Function, alias: str, known: Mapping[str, str],
               functions: Functions) -> list[str]:
        """Write a rule's change of the weight, rounded to its number format; a conductance stays at least zero."""
        described = self.e.plasticity[rule]
        alias = functions.name(function, alias)
        changed = call(function, alias, {**known, "p": "p"})
        if isinstance(described, UserRule) and described.schedule:
            changed = f"w + p.schedule_factor * ({changed} - w)"
        return [self._p(projection, rule), f"w = {self._rounded(projection, changed)}"]

    def _drift(self, projection: str, depth: str) -> list[str]:
        """Write the change from a weight's last event to step n, by all rules that have one; nothing if none has."""
        if not self.drifts(projection):
            return []
        p = self.e.projections[projection]
        pre = next(self.presynaptic[trace] for (_, name), trace in self.traces(projection).items()
                   if name.endswith("_pre"))
        since = f"last_event(history_{p.target}, pre_{pre}, epoch_{projection}, target, {depth})"
        lines = [f"steps = n - {since}"]
        for rule in self.rules(projection):
            if "drift0" in rule_parameters(self.e, projection, rule, 0):
                changed = self._rounded(projection, "drifted(w, steps, p.drift0, p.drift1)")
                lines += [self._p(projection, rule), f"w = {changed}"]
        return lines

    def _rest(self, projection: str) -> list[str]:
        """Write from which step on postsynaptic spikes change nothing, since what they scale has faded."""
        rules = self._functions(projection, "post")
        scale_only = all(only_scales_traces(self.e, projection, rule) for rule in rules)
        if not rules or not scale_only or self.drifts(projection):
            return []
        traces = {self.traces(projection)[read] for read in self._seen(projection, "post") if read[1].endswith("_pre")}
        fade = [f"fades(pre_{number})" for trace, number in self.presynaptic.items() if trace in traces]
        return [f"return max({', '.join(fade)})" if len(fade) > 1 else f"return {fade[0]}"]

    def _p(self, projection: str, rule: str) -> str:
        """Write the construction of a rule's ``p`` from its part of the row of parameters."""
        rules = self.rules(projection)
        number = rules.index(rule)
        begin, end = (sum(len(rule_parameters(self.e, projection, other, 0)) for other in rules[:k])
                      for k in (number, number + 1))
        row = f"rules_{projection}"
        return f"p = p_{projection}_{number}({', '.join(f'{row}[{k}]' for k in range(begin, end))})"

    def _rounded(self, projection: str, weight: str) -> str:
        rounded = f"np.{self.e.run.weight_dtype}({weight})"
        conducts = self.e.conducts(self.e.projections[projection].synapse)
        return f"max({rounded}, np.{self.e.run.weight_dtype}(0))" if conducts else rounded


def _number(traces: Iterable[Trace]) -> dict[Trace, int]:
    return {trace: number for number, trace in enumerate(dict.fromkeys(traces))}
