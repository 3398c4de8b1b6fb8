//! What a run prints: facts for people, or one JSON object for programs.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    time::Duration,
};

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use silvertine_engine::{bus::Figure, halt::Halt, park::Parked, text::Name};
use silvertine_scenarios::runner::RunReport;
use silvertine_storage::LogAddress;

use crate::program::program;

/// Everything a summary shows.
pub(crate) struct Summary<'a> {
    /// The scenario file.
    pub scenario_path: &'a Path,
    /// The log.
    pub log: &'a LogAddress,
    /// What came of the run.
    pub report: &'a RunReport,
    /// How long it took.
    pub wall: Duration,
    /// Latency of its inputs, in nanoseconds.
    pub latency: &'a Histogram<u64>,
}

const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p999", 99.9)];
const BAR_WIDTH: u64 = 40;

impl Summary<'_> {
    fn events_per_second(&self) -> u64 {
        let per_second = u128::from(self.report.outcome.inputs_here) * 1_000_000_000
            / self.wall.as_nanos().max(1);
        u64::try_from(per_second).unwrap_or(u64::MAX)
    }

    /// One JSON object on stdout.
    pub(crate) fn print_json(&self) -> io::Result<()> {
        let Self { report, wall, latency, .. } = self;
        let (outcome, counts) = (&report.outcome, &report.outcome.counts);
        let amount = |figure| report.amount(figure).map(|amount| amount.to_string());
        let mut latencies = Map::new();
        for (name, percentile) in PERCENTILES {
            latencies.insert(name.to_owned(), latency.value_at_percentile(percentile).into());
        }
        latencies.insert("max".to_owned(), latency.max().into());
        let mut handlers = Map::new();
        for (handler, figure, value) in &report.figures {
            let figures = handlers.entry(handler.to_string()).or_insert_with(|| json!({}));
            let value = serde_json::to_value(value).unwrap_or(Value::Null);
            figures[*figure] = value;
        }
        let object = json!({
            "schema_version": 1,
            "scenario": report.scenario,
            "log": self.log.to_string(),
            "seed": report.seed,
            "end": if outcome.end == silvertine_engine::driver::End::Finished { "finished" } else { "stopped" },
            "events": counts.inputs,
            "entries": counts.entries,
            "signals": counts.signals,
            "orders": counts.orders,
            "fills": counts.fills,
            "rejected": counts.rejected,
            "refused_inputs": counts.refused_inputs,
            "duplicates": outcome.duplicates,
            "handler_failures": counts.handler_failures,
            "parked": parked_json(&report.parked),
            "realised_pnl": amount("realised_pnl"),
            "equity": amount("equity"),
            "digest": outcome.digest.to_string(),
            "head": outcome.head.to_string(),
            "replayed": outcome.replayed.map_or(0, |replayed| replayed.entries),
            "wall_seconds": wall.as_secs_f64(),
            "events_per_second": self.events_per_second(),
            "latency_ns": latencies,
            "handlers": handlers,
        });
        writeln!(io::stdout().lock(), "{object}")
    }

    /// A short summary and the latency histogram on stdout.
    pub(crate) fn print_text(&self) -> io::Result<()> {
        let (outcome, counts) = (&self.report.outcome, &self.report.outcome.counts);
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let (bold, dim, plain) =
            if colour { ("\x1b[1m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
        let mut out = io::stdout().lock();
        let name = self.report.scenario;
        writeln!(out, "{bold}{name}{plain} on {}, seed {}", self.log, self.report.seed)?;
        writeln!(out)?;
        let mut fact =
            |name: &str, value: String| writeln!(out, "  {dim}{name:<15}{plain} {value}");
        let rate = grouped(self.events_per_second());
        let seconds = format!("{:.3} s", self.wall.as_secs_f64());
        fact("events", format!("{} in {seconds} ({rate}/s)", grouped(counts.inputs)))?;
        fact("entries", grouped(counts.entries))?;
        fact("signals", grouped(counts.signals))?;
        let denied = if counts.rejected == 0 {
            String::new()
        } else {
            format!(", {} rejected", grouped(counts.rejected))
        };
        fact("orders", format!("{}{denied}", grouped(counts.orders)))?;
        fact("fills", grouped(counts.fills))?;
        for (name, count) in [
            ("refused inputs", counts.refused_inputs),
            ("duplicates", outcome.duplicates),
            ("failures", counts.handler_failures),
        ] {
            if count > 0 {
                fact(name, grouped(count))?;
            }
        }
        for parked in &self.report.parked {
            fact("parked", parked.to_string())?;
        }
        for (handler, figure, value) in &self.report.figures {
            let value = match value {
                Figure::Count(count) => grouped(*count),
                Figure::Amount(amount) => amount.to_string(),
                Figure::Text(text) => text.clone(),
            };
            fact(&figure.replace('_', " "), format!("{value:<24} {dim}{handler}{plain}"))?;
        }
        if let Some(replayed) = outcome.replayed {
            fact(
                "recovered",
                format!("{} entries re-executed and equal", grouped(replayed.entries)),
            )?;
        }
        fact("head", outcome.head.to_string())?;
        fact("digest", format!("{bold}{}{plain}", outcome.digest))?;
        let seed = self.report.seed;
        fact("again", format!("{} run {} --seed {seed}", program(), self.scenario_path.display()))?;
        self.print_histogram(&mut out)
    }

    /// Latency in powers of two, drawn.
    fn print_histogram(&self, out: &mut impl Write) -> io::Result<()> {
        if self.latency.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n  latency, input taken to commit acknowledged")?;
        let mut line = String::new();
        for (name, percentile) in PERCENTILES {
            line += &format!("{name} {}  ", duration(self.latency.value_at_percentile(percentile)));
        }
        writeln!(out, "  {line}max {}\n", duration(self.latency.max()))?;
        let rows: Vec<(u64, u64)> = self
            .latency
            .iter_log(64, 2.0)
            .map(|step| (step.value_iterated_to(), step.count_since_last_iteration()))
            .collect();
        let most = rows.iter().map(|&(_, count)| count).max().unwrap_or(1).max(1);
        let first = rows.iter().position(|&(_, count)| count > 0).unwrap_or(0);
        for &(up_to, count) in &rows[first..] {
            let length = (u128::from(count) * u128::from(BAR_WIDTH)).div_ceil(u128::from(most));
            let bar = "█".repeat(usize::try_from(length).unwrap_or(0));
            writeln!(out, "  ≤ {:>9} {bar} {}", duration(up_to), grouped(count))?;
        }
        Ok(())
    }
}

/// Prints one JSON object for a run that a failing handler halted: where, and why. `verify` gives the totals.
pub(crate) fn print_halt_json(scenario: Name, log: &LogAddress, halt: &Halt) -> io::Result<()> {
    let object = json!({
        "schema_version": 1, "scenario": scenario, "log": log.to_string(), "end": "halted",
        "head": halt.pos.to_string(), "halted": halt_json(halt),
    });
    writeln!(io::stdout(), "{object}")
}

/// Where a handler halted the run, and why.
pub(crate) fn halt_json(halt: &Halt) -> Value {
    json!({
        "pos": halt.pos.to_string(), "handler": halt.handler, "topic": halt.topic,
        "event": halt.event.to_string(), "reason": halt.reason, "parked": halt.parked,
    })
}

/// What is parked, for programs.
pub(crate) fn parked_json(parked: &[Parked]) -> Value {
    let object = |Parked { key, events, first, topic, reason }: &Parked| {
        json!({
            "key": key.to_string(), "handler": key.handler, "symbol": key.symbol, "events": events,
            "first": first.to_string(), "topic": topic, "reason": reason,
        })
    };
    parked.iter().map(object).collect()
}

/// A count with spaces between thousands.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Nanoseconds in the largest unit of which there is at least one.
fn duration(nanos: u64) -> String {
    let (unit, name) = match nanos {
        0..1_000 => return format!("{nanos} ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let tenths = nanos / (unit / 10);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_durations_scaled() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1 234 567");
        assert_eq!(duration(999), "999 ns");
        assert_eq!(duration(1_500), "1.5 µs");
        assert_eq!(duration(2_000_000_000), "2.0 s");
    }
}
