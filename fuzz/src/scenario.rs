//! Scenario files, and the workloads and markets they describe.

use std::path::PathBuf;

use silvertine_engine::{
    event::validate,
    params::InvalidParams,
    source::{Row, Source},
    text::Name,
    time::Nanos,
};
use silvertine_scenarios::{manifest::Manifest, scenario::Scenario, sources::SourceSpec};
use silvertine_sim::log::workload::{Workload, WorkloadSource};
use silvertine_trading::generator::{Market, QuoteGenerator};

use super::{assert_one_line, manifest::check_manifest};

/// A scenario that parses has a manifest that keeps it and a file that says it, and its generators and workloads either
/// make sense or say what does not.
pub fn scenario(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let scenario = match Scenario::parse(text, "fuzz.toml", PathBuf::new()) {
        Ok(scenario) => scenario,
        Err(why) => return assert_one_line(&why),
    };
    let _limits = scenario.run.driver();
    check_manifest(&Manifest::of(&scenario));
    for source in &scenario.sources {
        if let Some(made) = generator(source.name, &source.spec) {
            check_generator(made);
        }
        if let SourceSpec::Workload(workload) = &source.spec {
            check_workload(source.name, workload);
        }
    }
    scenario.faults.iter().for_each(assert_one_line);
    check_file_of(&scenario);
}

/// What is written of a scenario is read as the same scenario.
fn check_file_of(scenario: &Scenario) {
    let text = match scenario.to_toml() {
        Ok(text) => text,
        Err(why) => return assert_one_line(&why),
    };
    let back = Scenario::parse(&text, "fuzz.toml", PathBuf::new()).expect(&text);
    assert_eq!(back.faults, scenario.faults, "{text}");
    assert_eq!(back.run, scenario.run, "{text}");
    assert_eq!(Manifest::of(&back).to_bytes(), Manifest::of(scenario).to_bytes(), "{text}");
    assert_eq!(back.to_toml().as_ref(), Ok(&text));
}

fn check_workload(name: Name, workload: &Workload) {
    let mut source = match WorkloadSource::new(name, workload.clone()) {
        Ok(source) => source,
        Err(why) => return assert_one_line(&why),
    };
    let mut rows = 0;
    for _ in 0..64 {
        let cursor = source.cursor();
        let Some(row) = source.next_row().expect("nothing to fail") else { break };
        match &row {
            Row::Event(input) => validate(&input.body).expect("workloads keep the rules"),
            Row::Bad(why) => assert_one_line(why),
        }
        let mut again = source.clone();
        again.seek(cursor).expect("its own cursor");
        assert_eq!(again.next_row().as_ref(), Ok(&Some(row)));
        rows += 1;
    }
    // All of them are made at once, so only of a few rows.
    if workload.events == rows {
        let messages = workload.messages(name);
        assert_eq!(messages.len() as u64, rows);
        for message in &messages {
            if let Ok(message) = message.codec.decode(&message.payload) {
                validate(&message.body).expect("workloads keep the rules");
            }
        }
    }
}

fn generator(name: Name, spec: &SourceSpec) -> Option<Result<QuoteGenerator, InvalidParams>> {
    let SourceSpec::Generator {
        symbols,
        events,
        seed,
        start_ns,
        interval_ns,
        start_price,
        tick,
        spread_ticks,
        trades_per_mille,
    } = spec
    else {
        return None;
    };
    let mut market = Market::new(seed.unwrap_or_default(), symbols.clone(), *events);
    market.start = Nanos(*start_ns);
    market.interval_ns = *interval_ns;
    market.start_price = *start_price;
    market.tick = *tick;
    market.spread_ticks = *spread_ticks;
    let made = QuoteGenerator::new(name, market);
    Some(made.and_then(|generator| generator.with_trades(*trades_per_mille)))
}

fn check_generator(made: Result<QuoteGenerator, InvalidParams>) {
    let mut generator = match made {
        Ok(generator) => generator,
        Err(why) => return assert_one_line(&why),
    };
    let mut time = Nanos::ZERO;
    for _ in 0..64 {
        let Some(row) = generator.next_row().expect("nothing to fail") else { break };
        let Row::Event(input) = row else { panic!("a generated row is bad: {row:?}") };
        validate(&input.body).expect("generated markets keep the rules");
        assert!(input.recv_time >= time, "time goes back");
        time = input.recv_time;
    }
}
